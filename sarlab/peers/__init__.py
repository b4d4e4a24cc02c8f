"""Classical codecs to compare with, and the registry of all codecs.

Nothing heavy is imported before a codec is used. A codec whose library is missing is listed with the reason.
"""

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
