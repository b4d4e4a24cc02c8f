"""Fixtures of the codecs' tests."""

import numpy as np
import pytest

from sarlab.scenes.scene import Georeference, Scene


@pytest.fixture(scope="session")
def speckled():
    """A scene of two bands, odd sizes, with edges, texture, bright targets, scattered and contiguous nodata: dB."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:203, :157]
    level = np.where(rows + 0.4 * columns > 140, -8.0, -16.0) + 2 * np.sin(columns / 9)
    data = np.stack([level, level - 6]) + 10 * np.log10(rng.gamma(4.4, 1 / 4.4, (2, 203, 157)))
    data[0, 50, 60:64] = 12
    data[:, 100:140, :30] = np.nan
    data[0][rng.random((203, 157)) < 0.002] = np.nan
    return Scene(
        data.astype(np.float32), "db", ("VV", "VH"), "speckled", looks=4.4, spacing=(10.0, 10.0), tags={"mission": "none"},
        georeference=Georeference("", (10.0, 0.0, 5e5, 0.0, -10.0, 4e6)),
    )  # fmt: skip


@pytest.fixture(scope="session")
def amplitudes():
    """Integer amplitude with exact zeros: 8 bit."""
    rng = np.random.default_rng(6)
    data = np.minimum(np.rint(6 * np.sqrt(rng.gamma(2.0, 0.5, (1, 130, 90)))), 255)
    data[:, :40, :50] = 0
    return Scene(data.astype(np.float32), "amplitude", ("HH",), "amplitudes", dtype="uint8", native_bits=8)
