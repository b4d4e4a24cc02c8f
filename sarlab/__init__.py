"""sarlab: how far can a SAR image be compressed, and what is lost?"""

__version__ = "0.1.0"
