"""Classical codecs to compare with, and the registry of all codecs.

Nothing heavy is imported before a codec is used. A codec whose library is missing is listed with the reason.
"""

from collections.abc import Sequence
from typing import Any

from sarlab.codec.api import LearnedCodec
from sarlab.codec.model_store import BUILT_IN
from sarlab.codec.protocol import Codec
from sarlab.errors import CodecError
from sarlab.peers import bounded, still_images, video
from sarlab.registry import Registry

#: Every codec by name.
codecs: Registry[Codec] = Registry("codec", "sarlab.codecs", CodecError)
_all: tuple[Codec, ...] = (*map(LearnedCodec, BUILT_IN), *still_images.CODECS, *video.CODECS, *bounded.CODECS)
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
