"""The same bytes and samples whatever the number of threads, the instruction set and the way in."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import hashlib, json, sys
import numpy as np
import sarlab
from sarlab.codec.api import compress, decompress
rng = np.random.default_rng(0)
scene = sarlab.scene("ben-33UUP-37-88")
large = sarlab.Scene(rng.gamma(4, 0.25, (1, 2100, 2050)).astype(np.float32), "intensity", ("VV",))
whole = sarlab.Scene(rng.poisson(300, (1, 90, 70)).astype(np.float32), "amplitude", ("VV",), dtype="uint16")
workers = int(sys.argv[1])
found = {}
for name, given, options in (
    ("lapped", scene, {"quality": 28.0, "radiometric": True}), ("lapped, tiles", scene, {"bpp": 0.5, "tile": 64}),
    ("lapped, large", large, {"quality": 24.0}), ("klt8", scene, {"codec": "klt8", "quality": 24.0}),
    ("factorized", scene, {"codec": "factorized", "quality": 24.0}), ("bounded", scene, {"max_error_db": 1.0}), ("lossless", whole, {"lossless": True}),
):
    stream = compress(given, workers=workers, **options)
    decoded = decompress(stream, workers=workers)
    part = decompress(stream, workers=workers, window=(3, 5, 60, 40)).data
    assert np.abs(part - decoded.data[:, 3:63, 5:45]).max() <= 1e-3 * np.abs(part).max()
    db = decoded.data if decoded.quantity == "db" else 10 * np.log10(np.maximum(decoded.data, 1e-12))
    found[name] = [hashlib.sha256(stream).hexdigest(), [float(v) for v in db[0, ::97, ::89].ravel()[:60]]]
print(json.dumps(found))
"""
OLD = "AVX2 FMA3 AVX512F"
#: Environments that change how the same arithmetic is carried out.
ENVIRONMENTS = {
    "two threads": {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
    "no vector instructions": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "NPY_DISABLE_CPU_FEATURES": OLD,
    },
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "other compiled code": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
}


def measured(workers, variables):
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    command = [sys.executable, "-c", SCRIPT, str(workers)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def usual():
    return measured(1, {})


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_files_and_samples_are_the_same(name, usual):
    found = measured(2, ENVIRONMENTS[name])
    for codec, (digest, samples) in usual.items():
        assert found[codec][0] == digest, f"{codec} writes another file with {name}"
        assert max(abs(a - b) for a, b in zip(samples, found[codec][1], strict=True)) <= 1e-3, codec
