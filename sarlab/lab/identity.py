"""Identity of a run: its specification, its data and the version of the experiment, hashed.

Runs with the same hash have the same rows. Device and executor do not count. Code does not count either, except that of
an architecture from outside this package: whoever changes the numbers that a specification leads to raises
`EXPERIMENT_VERSION`, and runs finished before are computed again.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Sequence
from typing import Any

from sarlab.specs import RunSpec, content_hash

#: Raise by one when a change of the code changes the results of runs: their hashes, and so their names, change with it.
EXPERIMENT_VERSION = 1


def run_hash(spec: RunSpec, data_digest: str) -> str:
    """Content hash of a run, 64 hexadecimal digits.

    Parameters
    ----------
    spec : RunSpec
    data_digest : str
        Digest of the scenes (`Split.digest`); the path they were read from does not count.
    """
    described = spec.to_dict()
    described["scenes"] = data_digest
    return content_hash(described, EXPERIMENT_VERSION, _plugin_digest(spec.model.architecture))


def run_id(spec: RunSpec, data_digest: str) -> str:
    """Name of a run: ``residual-r16-c16-f32-s0-1f3a9c``."""
    return f"{spec.label}-{run_hash(spec, data_digest)[:6]}"


def distinctions(specs: Sequence[RunSpec]) -> list[str]:
    """Fields in which each run differs from others of the same label: ``"learning_rate=0.001 steps=400"``.

    Returns
    -------
    list of str
        One per specification; empty for a label that only one of them has.
    """
    fields = [_fields(spec) for spec in specs]
    found = []
    for spec, own in zip(specs, fields, strict=True):
        twins = [other for item, other in zip(specs, fields, strict=True) if item.label == spec.label]
        differing = [name for name in own if len({repr(other[name]) for other in twins}) > 1]
        found.append(" ".join(f"{name.partition('.')[2] or name}={own[name]}" for name in differing))
    return found


def _fields(spec: RunSpec) -> dict[str, Any]:
    """Every field of a specification by its dotted name."""
    found: dict[str, Any] = {}
    for part, values in spec.to_dict().items():
        found |= (
            {f"{part}.{name}": value for name, value in values.items()} if isinstance(values, dict) else {part: values}
        )
    return found


@functools.cache
def _plugin_digest(architecture: str) -> str:
    """Digest of the source file that defines an architecture outside this package; empty for those inside.

    An architecture without a source file (defined in a notebook) counts by its qualified name.
    """
    from sarlab.models.autoencoders import architectures

    item = architectures[architecture]
    module = getattr(item, "__module__", "") or ""
    if module.partition(".")[0] == "sarlab":
        return ""
    try:
        source = inspect.getsource(inspect.getmodule(item) or item)
    except (OSError, TypeError):
        return f"{module}.{getattr(item, '__qualname__', architecture)}"
    return hashlib.sha256(source.encode()).hexdigest()
