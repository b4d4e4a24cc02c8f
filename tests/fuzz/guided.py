"""Coverage-guided fuzzing with atheris: python tests/fuzz/guided.py TARGET [-runs=N] [-max_total_time=SECONDS] [FOLDER]

Where atheris installs, it mutates by the same structure as the harness, and keeps what reaches new code in FOLDER.
"""

import contextlib
import random
import sys
import tempfile
from pathlib import Path

import atheris

# What Numba compiles must stay as it is.
COMPILED = [
    f"sarlab.codec.{name}" for name in ("entropy", "block_model", "trellis", "predictive", "latent_coding", "lapped")
]
with atheris.instrument_imports(include=["sarlab"], exclude=COMPILED):
    from targets import TARGETS

    import sarlab.codec.api
    import sarlab.lab.evaluate
    import sarlab.scenes.readers  # noqa: F401
    from sarlab.errors import SarlabError

target = TARGETS[sys.argv.pop(1)]


def mutate(data: bytes, most: int, seed: int) -> bytes:
    rng = random.Random(seed)
    return target.mutate(rng, data if len(data) > 8 else rng.choice(target.seeds()))[:most]


def examine(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(SarlabError):
        target.run(data, Path(folder))


options = ["-max_len=65536", "-len_control=0", "-rss_limit_mb=4000", "-timeout=60"]
atheris.Setup([sys.argv[0], *options, *sys.argv[1:]], examine, custom_mutator=mutate)
atheris.Fuzz()
