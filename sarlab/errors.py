"""Errors of the package: each message names the file or value, what is wrong, and what to do."""


class SarlabError(Exception):
    """Base of every error that a user can cause and fix. The command line prints it as one sentence."""


class SceneError(SarlabError):
    """A scene cannot be read, found or interpreted."""


class MetricError(SarlabError):
    """A metric was called with arrays or parameters for which it is not defined at all."""


class ModelError(SarlabError):
    """A model specification is unknown or impossible, or weights do not fit it."""


class QuantizerError(ModelError):
    """A quantizer is impossible, not calibrated, or given a latent that it cannot represent."""


class TrainingError(SarlabError):
    """A training cannot start or continue."""


class CodecError(SarlabError):
    """A codec is unknown, unavailable on this machine, or cannot reach what was asked of it."""


class BitstreamError(SarlabError):
    """A compressed file is truncated, damaged, foreign or made by an unknown model."""


class PlanError(SarlabError):
    """A plan or a run specification is wrong."""


class ResultsError(SarlabError):
    """Results are missing, incomplete or made by something else."""


class DiskError(SarlabError):
    """The file system cannot be written to, or is full."""
