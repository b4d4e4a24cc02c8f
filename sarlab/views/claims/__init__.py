"""The guide's claims, each with the predicate that judges it from the tables of the book."""

from sarlab.views.claims import images, latents, networks  # noqa: F401  (they register their claims)
from sarlab.views.claims.verdict import OUTCOMES, Claim, Evidence, Reading, Verdict, claims, overview, verdicts

__all__ = ["OUTCOMES", "Claim", "Evidence", "Reading", "Verdict", "claims", "overview", "verdicts"]
