"""Compression: file format, entropy coding, learned codecs."""
