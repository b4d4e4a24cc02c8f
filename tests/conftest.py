"""Fixtures that several wings share."""

import signal
from pathlib import Path

import pytest

# In the background of a shell without job control Ctrl-C is ignored, here and in every process that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of raw SAR scenes beside the checkout; tests that need them skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no development scenes at {SHARED}")
    return SHARED
