"""The learned codecs behind the protocol of `sarlab.codec.codec`; importing this module registers them.

Files made here hold no names, tags or georeference, as those of the classical codecs do not: their bytes are compared.
"""

from __future__ import annotations

import importlib

from sarlab.codec.codec import Availability, Capabilities, QualityScale, codecs
from sarlab.codec.learned import CURRENT, load_model, model_path
from sarlab.errors import SarlabError
from sarlab.scenes.scene import Scene

_MEANING = "PSNR of the quantizer alone in dB, in the range of the normalizers"
#: Qualities at 12 rates from 0.05 to 4 bpp on Sentinel-1 VV.
GRIDS = {
    "factorized": (11.0, 14.1, 16.8, 19.2, 21.6, 23.9, 26.4, 29.1, 32.2, 35.9, 40.8, 47.4),
    "hyper": (18.2, 19.6, 21.1, 22.6, 24.5, 26.6, 29.3, 32.4, 35.9, 40.0, 45.3, 53.0),
    "klt8": (11.0, 14.1, 16.8, 19.2, 21.6, 23.9, 26.4, 29.1, 32.2, 35.9, 40.8, 47.4),
}
_MEANINGS = {"hyper": "PSNR in dB of the quantizer whose price of a bit encoders follow; files have 0.3 to 1.5 dB less"}
_ABOUT = {
    "factorized": "dB through a wavelet, a KLT and learned corrections, one step for all channels",
    "hyper": "dB through a wavelet and turned KLT; parallel context predicts mean and scale of every value; trellis",
    "klt8": "dB through the KLT of 8×8 blocks, one step for all channels",
}


class LearnedCodec:
    """A model of `sarlab.codec.learned` as a codec; see `Codec`.

    Parameters
    ----------
    name : str
    """

    family = "learned"

    def __init__(self, name: str):
        self.name, self.domain = name, _ABOUT[name]
        scale = QualityScale(_MEANINGS.get(name, _MEANING), 0.0, 96.0, GRIDS[name])
        self.capabilities = Capabilities(scale, bits=32, deterministic=True, trained=True)

    def available(self) -> Availability:
        """Whether it can be used here, and the reason if not."""
        for package in ("torch", "constriction"):
            try:
                importlib.import_module(package)
            except Exception as error:
                return Availability(False, f"{package} cannot be imported ({error}); pip install {package}")
        try:
            load_model(model_path(self.name))
        except SarlabError as error:
            return Availability(False, str(error))
        return Availability(True)

    def version(self) -> str:
        """Model and its hash, which decide the bytes."""
        model = load_model(model_path(self.name))
        return f"{model.name} {model.hash.hex()}"

    def compress(self, scene: Scene, *, quality: float) -> bytes:
        """A whole file without metadata; see `Codec.compress`."""
        from sarlab.codec.api import compress

        quality = self.capabilities.quality.checked(quality, self.name)
        return compress(scene, codec=self.name, quality=quality, metadata=False)

    def decompress(self, data: bytes) -> Scene:
        """The scene of a file; see `Codec.decompress`."""
        from sarlab.codec.api import decompress

        return decompress(data)


for _name in CURRENT:
    codecs.register(_name)(LearnedCodec(_name))
