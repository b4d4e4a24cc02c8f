"""Classical codecs behind the protocol of `sarlab.codec.codec`; importing this package registers them.

Nothing heavy is imported before a codec is used, and a codec whose library is missing is listed with the reason.
"""

from sarlab.peers import bounded, images, lossless, video
from sarlab.peers.container import codec_of

__all__ = ["bounded", "codec_of", "images", "lossless", "video"]
