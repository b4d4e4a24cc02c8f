"""Classical codecs to compare with, and the registry of all codecs.

Nothing heavy is imported before a codec is used. A codec whose library is missing is listed with the reason.
"""

from collections.abc import Sequence
from typing import Any

from sarlab.codec.api import compress, decompress
from sarlab.codec.model_store import BUILT_IN, QUALITIES, load_model, model_path
from sarlab.errors import CodecError, SarlabError
from sarlab.peers import bounded, images
from sarlab.peers.protocol import Availability, Capabilities, Codec, QualityScale
from sarlab.registry import Registry
from sarlab.scenes.scene import Scene


class LearnedCodec:
    """A learned codec of this package, named as in `BUILT_IN`, behind the protocol.

    Its files hold no names, tags or georeference, like those of the classical codecs, because their bytes are compared.
    """

    family = "learned"

    def __init__(self, name: str):
        codec = BUILT_IN[name]
        self.name, self.domain = name, codec.domain
        scale = QualityScale(codec.meaning, 0.0, 96.0, QUALITIES)
        self.capabilities = Capabilities(scale, bits=32, deterministic=True, trained=True)

    def available(self) -> Availability:
        """Check if the codec works here."""
        try:
            load_model(model_path(self.name))
        except (SarlabError, ImportError) as error:
            return Availability(False, str(error))
        return Availability(True)

    def version(self) -> str:
        """Model and its hash, which determine the bytes."""
        model = load_model(model_path(self.name))
        return f"{model.name} {model.hash.hex()}"

    def compress(self, scene: Scene, *, quality: float) -> bytes:
        """Make a file without metadata; see `Codec.compress`."""
        quality = self.capabilities.quality.checked(quality, self.name)
        return compress(scene, codec=self.name, quality=quality, metadata=False, drop_phase=True)

    def decompress(self, data: bytes) -> Scene:
        """Decode a file; see `Codec.decompress`."""
        return decompress(data)


#: Every codec by name.
codecs: Registry[Codec] = Registry("codec", "sarlab.codecs", CodecError)
_all: tuple[Codec, ...] = (*map(LearnedCodec, BUILT_IN), *images.CODECS, *bounded.CODECS)
for _codec in _all:
    codecs.register(_codec.name)(_codec)


def usable(name: str) -> Codec:
    """Return the codec `name`, or raise a `CodecError` with the reason why it does not work here."""
    codec = codecs[name]
    ok, reason = codec.available()
    if not ok:
        raise CodecError(f"codec '{name}' is not available: {reason}")
    return codec


def codec_table(names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Capabilities of codecs, by default of all, in plain values."""
    rows = []
    for name in names or codecs:
        codec = codecs[name]
        (ok, reason), can = codec.available(), codec.capabilities
        kind = "lossless" if can.lossless else "error-bounded" if can.error_bounded else "lossy"
        flags = ("bits", "lossless", "error_bounded", "bands", "deterministic", "trained")
        scale = {f"quality_{end}": getattr(can.quality, end) for end in ("low", "high", "step")}
        rows.append(
            {
                "name": name, "family": codec.family, "kind": kind, "available": ok, "reason": reason,
                "version": codec.version() if ok else "", "domain": codec.domain,
                **{flag: getattr(can, flag) for flag in flags}, "quality": can.quality.meaning, **scale,
                "grid": list(can.quality.grid), "about": (codec.__doc__ or "").strip().split("\n")[0],
            }
        )  # fmt: skip
    return rows
