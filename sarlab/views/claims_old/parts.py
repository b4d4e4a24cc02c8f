"""Claims of several readings: which of them hold, which do not, and what would decide those that are open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite

from sarlab.views.claims_old.verdict import DEPENDS, HELD, OPEN, REFUTED, Difference, Verdict, judged, together

#: Beyond so many times the measurements, a difference is called none.
MANY = 100


@dataclass(frozen=True)
class Part:
    """One reading of a claim.

    Parameters
    ----------
    what : str
        The reading, as what follows "held:" or "refuted:".
    outcome : str
        One of `OUTCOMES`.
    settle : str
        What would decide it, where it is open.
    """

    what: str
    outcome: str
    settle: str = ""


def compared(what: str, found: Difference, limit: float = 0.0, *, more: bool = True, trainings: int = 3) -> Part:
    """Reading that a difference lies beyond `limit`; see `judged`."""
    outcome = judged(found, limit, more=more, trainings=trainings)
    return Part(what, outcome, settles(found, limit, trainings) if outcome == OPEN else "")


def counted(what: str, right: Sequence[bool]) -> Part:
    """Reading that is right at every one of several places, at some of them or at none."""
    outcome = HELD if all(right) else REFUTED if not any(right) else DEPENDS
    return Part(f"{what} ({sum(right)} of {len(right)})" if len(right) > 1 else what, outcome)


def settles(found: Difference, limit: float = 0.0, trainings: int = 3) -> str:
    """What would decide whether a difference lies beyond `limit`.

    An interval shrinks with the root of the number of measurements: it leaves the limit out once that is (half its width ÷
    distance of the mean from the limit)² times as large.
    """
    if found.trainings < trainings:
        return f"{trainings - found.trainings} more trainings from other seeds"
    if not isfinite(found.low):
        return "scenes of three acquisitions or trainings from other seeds, for an interval"
    half = found.mean - found.low if found.mean > limit else found.high - found.mean
    distance = abs(found.mean - limit)
    times = (half / distance) ** 2 if distance else inf
    if times > MANY:
        return f"more than {MANY} times as many acquisitions and trainings: the difference is next to nothing"
    return f"about {max(2, ceil(times))} times as many acquisitions and trainings"


def because(parts: Sequence[Part]) -> tuple[str, ...]:
    """The readings of a claim by what became of them; what is open with what would decide it."""
    groups = {HELD: "held", REFUTED: "refuted", DEPENDS: "in part", OPEN: "open"}
    said = []
    for outcome, word in groups.items():
        members = [
            part.what + (f" – would take {part.settle}" if part.settle else "")
            for part in parts
            if part.outcome == outcome
        ]
        if members:
            said.append(f"{word}: {'; '.join(members)}")
    return tuple(said)


def concluded(parts: Sequence[Part], figure: str, interval: str = "", *, outcome: str = "") -> Verdict:
    """Verdict on all readings of a claim together, or the outcome given; says why where that is not one of all."""
    result = outcome or together([part.outcome for part in parts])
    return Verdict(result, figure, interval, because(parts) if result in (DEPENDS, OPEN) else ())
