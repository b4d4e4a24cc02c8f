"""sarlab: how far can a SAR image be compressed, and what is lost?"""

from __future__ import annotations

from typing import Any

from sarlab._version import __version__

__all__ = ["__version__", "compress", "decompress"]


def __getattr__(name: str) -> Any:
    """`compress` and `decompress`, imported when they are asked for: the package itself imports nothing heavy."""
    if name in ("compress", "decompress"):
        from sarlab.codec import api

        return getattr(api, name)
    raise AttributeError(f"module 'sarlab' has no attribute '{name}'")
