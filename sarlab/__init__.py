"""SAR image compression: scenes, networks, quantizers, metrics and codecs.

The public names are imported on first use; everything else is reached by module, such as `sarlab.metrics`.
"""

import importlib
from typing import Any

from sarlab._version import __version__

#: Public name → module, and the name there if it differs.
_PUBLIC = {
    "Scene": "sarlab.scenes.scene:Scene",
    "compress": "sarlab.codec.api:compress",
    "decompress": "sarlab.codec.api:decompress",
    "evaluate": "sarlab.lab.evaluate:evaluate",
    "plot": "sarlab.views.plot",
    "quantize": "sarlab.lab.quickstart:quantize",
    "read": "sarlab.scenes.readers:read_scene",
    "scene": "sarlab.scenes.catalog:load_scene",
    "scene_names": "sarlab.lab.quickstart:scene_names",
    "score": "sarlab.lab.quickstart:score",
    "train": "sarlab.lab.quickstart:train",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'sarlab' has no attribute '{name}'")
    module, _, attribute = _PUBLIC[name].partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted(__all__)
