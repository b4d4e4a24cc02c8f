"""Fixtures that several wings share."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of raw SAR scenes beside the checkout; tests that need them skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no development scenes at {SHARED}")
    return SHARED
