"""Block transforms with adaptive range coding: DCT 32×32 and a KLT 16×16 of Sentinel-1, the textbook codec in full.

    band ─blocks─▶ transform ─deadzone quantizer─▶ q ─contexts─▶ range coder ─▶ payload

Every coefficient follows a frozen table whose scale is known to both sides: that of its frequency (sent, one index each)
times a power of the activity around it, measured on lower frequencies of the same block and of its four neighbors. All
coefficients of one antidiagonal of the frequency plane depend on earlier antidiagonals only, and are coded together.
Contexts are integers; only the last step, the inverse transform, is floating point.
"""

from __future__ import annotations

import functools
from importlib import resources

import numpy as np

from sarlab.codec.codec import Capabilities, QualityScale, codecs
from sarlab.codec.rangecoder import RangeDecoder, RangeEncoder
from sarlab.codec.tables import INDICES, LARGEST, PER_OCTAVE, TABLES, family_table
from sarlab.errors import CodecError
from sarlab.peers.base import PlaneCodec
from sarlab.peers.grids import GRIDS
from sarlab.peers.raster import Grid

#: Lower frequencies that tell the activity: (vertical, horizontal) distance and weight.
NEIGHBORS = ((1, 0, 3), (0, 1, 3), (1, 1, 2), (2, 0, 1), (0, 2, 1), (2, 1, 1), (1, 2, 1))
#: Magnitudes are counted in 1/64; below about half a step the activity says little.
UNIT, FLOOR = 64, 32
#: Scale grows with activity to the power 5/8.
SLOPE = (5, 8)
#: Values below 0.56 of a step towards zero: fewer bits for slightly more error.
DEADZONE = 0.44
#: Families of tables that an encoder chooses from: gaussian, logistic.
FAMILIES = (0, 1)
#: Scale index of the corrections of frequency indices, and the range of these indices.
CORRECTION_INDEX, LOWEST, HIGHEST = 36, -96, INDICES
#: Centers of the quantizer's cells of magnitude 1 and above are sent in this fraction of a step.
CENTER = 256


class TransformCodec(PlaneCodec):
    """One block transform with its quantizer and coder.

    Parameters
    ----------
    name : str
    size : int
        Side of a block.
    trained : bool
        The basis was fitted to data.
    """

    family, package, domain = "transform", "constriction", "transform coefficients of float32 dB"

    def __init__(self, name: str, size: int, trained: bool):
        self.name, self.size = name, size
        scale = QualityScale("−20·log10 of the quantizer's step in dB: 0 is 1 dB, 20 is 0.1 dB", -40, 40, GRIDS[name])
        self.capabilities = Capabilities(scale, bits=32, trained=trained)

    def version(self) -> str:
        from importlib.metadata import version

        from sarlab import __version__

        return f"sarlab {__version__}, constriction {version('constriction')}"

    def forward(self, blocks: np.ndarray) -> np.ndarray:
        """(size, size, rows, columns) samples → coefficients of the same shape, low frequencies first."""
        from scipy.fft import dctn

        return dctn(blocks, axes=(0, 1), norm="ortho")

    def inverse(self, coefficients: np.ndarray) -> np.ndarray:
        """Inverse of `forward`."""
        from scipy.fft import idctn

        return idctn(coefficients, axes=(0, 1), norm="ortho")

    def encode_plane(self, plane: np.ndarray, quality: float) -> tuple[Grid, bytes]:
        grid = Grid.with_step(float(plane.mean(dtype=np.float64)), 10 ** (-quality / 20))
        n = self.size
        padded = np.pad(plane.astype(np.float64), [(0, -side % n) for side in plane.shape], mode="symmetric")
        rows, columns = (side // n for side in padded.shape)
        blocks = padded.reshape(rows, n, columns, n).transpose(1, 3, 0, 2) - grid.offset
        scaled = self.forward(blocks) / grid.step
        if np.abs(scaled).max() > LARGEST / 2:
            raise CodecError(
                f"codec '{self.name}': a step of {grid.step:g} dB is too fine for this range; lower quality"
            )
        magnitude = np.floor(np.abs(scaled) + DEADZONE).astype(np.int64)
        q = np.where(scaled < 0, -magnitude, magnitude)
        encoder = RangeEncoder()
        encoder.encode_uniform(_centers(np.abs(scaled) - magnitude, magnitude), CENTER)
        _encode(encoder, q)
        return grid, encoder.finish()

    def decode_plane(self, payload: bytes, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        n = self.size
        rows, columns = (-(-side // n) for side in shape)
        decoder = RangeDecoder(payload)
        centers = (decoder.decode_uniform(2, CENTER) - CENTER // 2) / CENTER
        q = _decode(decoder, (n, n, rows, columns))
        values = q + np.sign(q) * np.where(np.abs(q) == 1, centers[0], centers[1])
        blocks = self.inverse(values * grid.step) + grid.offset
        plane = blocks.transpose(2, 0, 3, 1).reshape(rows * n, columns * n)
        return plane[: shape[0], : shape[1]].astype(np.float32)


class KltCodec(TransformCodec):
    """Karhunen-Loève transform of 16×16 blocks, fitted once to the embedded training scenes (VV and VH)."""

    def forward(self, blocks: np.ndarray) -> np.ndarray:
        return np.tensordot(klt_basis(), blocks.reshape(self.size**2, *blocks.shape[2:]), 1).reshape(blocks.shape)

    def inverse(self, coefficients: np.ndarray) -> np.ndarray:
        flat = coefficients.reshape(self.size**2, *coefficients.shape[2:])
        return np.tensordot(klt_basis().T, flat, 1).reshape(coefficients.shape)


@functools.cache
def klt_basis() -> np.ndarray:
    """Basis vectors as rows, shape (256, 256), float64, orthonormal.

    Each vector stands at the place of the DCT vector it resembles most, so both transforms share their contexts.
    """
    with resources.as_file(resources.files("sarlab") / "assets" / "weights" / "klt16.npy") as path:
        basis = np.load(path, allow_pickle=False).astype(np.float64) / 2**15
    # It is stored in 16 bit; two steps of Newton's iteration for the nearest orthonormal matrix.
    for _ in range(2):
        basis = 1.5 * basis - 0.5 * basis @ basis.T @ basis
    return basis


def fit_klt(planes: list[np.ndarray], size: int = 16) -> np.ndarray:
    """KLT of all blocks of the given planes in dB, int16 with 15 fractional bits, rows in the order of the DCT.

    The covariance is averaged with its mirror images: no direction is left or right of another.

    Parameters
    ----------
    planes : list of ndarray, shape (height, width)
        Without NaN.
    size : int

    Returns
    -------
    ndarray of int16, shape (size², size²)
    """
    from scipy.fft import idctn
    from scipy.optimize import linear_sum_assignment

    covariance = np.zeros((size * size, size * size))
    for plane in planes:
        windows = np.lib.stride_tricks.sliding_window_view(plane.astype(np.float64), (size, size))
        for row in windows:
            flat = row.reshape(len(row), -1)
            flat = flat - plane.mean(dtype=np.float64)
            covariance += flat.T @ flat
    cube = covariance.reshape(size, size, size, size)
    cube = cube + cube[::-1, :, ::-1, :]
    cube = cube + cube[:, ::-1, :, ::-1]
    _, vectors = np.linalg.eigh(cube.reshape(covariance.shape))
    units = np.eye(size * size).reshape(size * size, size, size)
    cosines = idctn(units, axes=(1, 2), norm="ortho").reshape(size * size, -1)
    alike = cosines @ vectors
    places, chosen = linear_sum_assignment(-np.abs(alike))
    rows = vectors[:, chosen].T * np.sign(alike[places, chosen])[:, None]
    return np.rint(rows * 2**15).clip(-(2**15) + 1, 2**15 - 1).astype(np.int16)


# --- quantized coefficients ↔ range coder -----------------------------------------------------------------------------


def _encode(encoder: RangeEncoder, q: np.ndarray) -> None:
    """Append quantized coefficients, shape (n, n, rows, columns)."""
    difference = np.diff(q[0, 0], axis=1, prepend=0)
    difference[:, 0] = np.diff(q[0, 0][:, 0], prepend=0)
    offsets = np.zeros(q.shape, np.int64)
    for diagonal in range(1, 2 * len(q) - 1):
        u, v = _members(len(q), diagonal)
        offsets[u, v] = _context(np.abs(q), u, v)
    coded = q.copy()
    coded[0, 0] = difference
    if np.abs(coded).max(initial=0) > LARGEST:
        raise CodecError(
            f"a coefficient of {np.abs(coded).max()} steps is more than the {LARGEST} that can be coded; lower the quality"
        )
    family, base = min((_fit(coded, offsets, family) for family in FAMILIES), key=lambda fit: fit[2])[:2]
    encoder.encode_uniform(np.array([family]), len(FAMILIES))
    corrections = base - _predicted(base)
    encoder.encode_indexed(corrections, np.full(corrections.shape, CORRECTION_INDEX), 0)
    for diagonal in range(2 * len(q) - 1):
        u, v = _members(len(q), diagonal)
        indices = np.clip(base[u, v][:, None, None] + offsets[u, v], 0, INDICES - 1)
        encoder.encode_indexed(coded[u, v], indices, family)


def _decode(decoder: RangeDecoder, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Inverse of `_encode`."""
    n = shape[0]
    family = int(decoder.decode_uniform(1, len(FAMILIES))[0])
    corrections = decoder.decode_indexed(np.full((n, n), CORRECTION_INDEX), 0)
    base = np.zeros((n, n), np.int64)
    for i in range(n):
        for j in range(n):
            base[i, j] = min(max(_prediction(base, i, j) + corrections[i, j], LOWEST), HIGHEST)
    q = np.zeros(shape, np.int64)
    magnitude = np.zeros(shape, np.int64)
    for diagonal in range(2 * n - 1):
        u, v = _members(n, diagonal)
        offsets = _context(magnitude, u, v) if diagonal else 0
        indices = np.clip(base[u, v][:, None, None] + offsets, 0, INDICES - 1)
        values = decoder.decode_indexed(np.broadcast_to(indices, (len(u), *shape[2:])), family)
        if diagonal == 0:
            values[0, :, 0] = np.cumsum(values[0, :, 0])
            values[0] = np.cumsum(values[0], axis=1)
        q[u, v] = values
        magnitude[u, v] = np.abs(values)
    return q


def _members(n: int, diagonal: int) -> tuple[np.ndarray, np.ndarray]:
    """(u, v) of all frequencies with u + v = diagonal."""
    u = np.arange(max(0, diagonal - n + 1), min(n, diagonal + 1))
    return u, diagonal - u


def _context(magnitude: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Scale offset from activity, shape (frequencies, rows, columns), for frequencies of one antidiagonal."""
    total = np.zeros((len(u), *magnitude.shape[2:]), np.int64)
    weights = np.zeros(len(u), np.int64)
    for down, right, weight in NEIGHBORS:
        inside = (u >= down) & (v >= right)
        if inside.any():
            total[inside] += weight * magnitude[u[inside] - down, v[inside] - right]
            weights += weight * inside
    padded = np.pad(total, ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    activity = UNIT * (4 * total + around) // (8 * np.maximum(weights, 1))[:, None, None] + FLOOR
    return _octaves(activity) * SLOPE[0] // SLOPE[1]


def _octaves(values: np.ndarray) -> np.ndarray:
    """floor(8·log2(value)) of positive integers, the same on every machine.

    The logarithm is never nearer to a whole number than 1e-7, but at powers of two, where it is exact.
    """
    return np.floor(PER_OCTAVE * np.log2(np.minimum(values, 2**20).astype(np.float64))).astype(np.int64)


def _predicted(base: np.ndarray) -> np.ndarray:
    return np.array([[_prediction(base, u, v) for v in range(len(base))] for u in range(len(base))])


def _prediction(base: np.ndarray, u: int, v: int) -> int:
    """A frequency's index from those above and to the left."""
    known = [int(base[u - 1, v])] * (u > 0) + [int(base[u, v - 1])] * (v > 0)
    return sum(known) // len(known) if known else 0


def _fit(q: np.ndarray, offsets: np.ndarray, family: int) -> tuple[int, np.ndarray, float]:
    """(family, index of every frequency, estimated bits): around the second moment, the index of fewest bits."""
    weighted = np.square(q / 2.0 ** (offsets / PER_OCTAVE)).mean((2, 3))
    with np.errstate(divide="ignore"):
        guess = np.rint(PER_OCTAVE * 0.5 * np.log2(weighted)) + 32
    guess = np.clip(guess, LOWEST, HIGHEST).astype(np.int64)
    lengths, reach = _code_lengths(family)
    best, base = np.full(guess.shape, np.inf), guess.copy()
    for shift in range(-6, 7, 2):
        tried = np.clip(guess + shift, LOWEST, HIGHEST)
        indices = np.clip(tried[:, :, None, None] + offsets, 0, INDICES - 1)
        raw = np.maximum(indices - TABLES, -PER_OCTAVE) // PER_OCTAVE + 1
        table = np.where(raw > 0, TABLES - PER_OCTAVE + indices % PER_OCTAVE, indices)
        bits = lengths[table, np.clip(q >> raw, -reach, reach) + reach] + raw
        bits = bits.sum((2, 3))
        better = bits < best
        best, base = np.where(better, bits, best), np.where(better, tried, base)
    return family, base, float(best.sum())


@functools.cache
def _code_lengths(family: int) -> tuple[np.ndarray, int]:
    """Bits of every value under every table, shape (tables, 2·reach + 1), escapes included; and the reach."""
    tables = [family_table(family, index) for index in range(TABLES)]
    reach = max(-table.low for table in tables) + 1
    values = np.arange(-reach, reach + 1)
    lengths = np.empty((TABLES, values.size))
    for index, table in enumerate(tables):
        bits = table.bits()
        outside = np.abs(values) > -table.low
        excess = 2 * np.log2(np.maximum(np.abs(values) + table.low, 1)) + 5
        lengths[index] = np.where(outside, bits[-1] + excess, bits[np.clip(values - table.low, 0, table.size - 1)])
    return lengths, reach


def _centers(error: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """Mean error of magnitudes of exactly 1 and of more, in units of 1/`CENTER` of a step, offset by half the range."""
    means = [error[where].mean() if where.any() else 0.0 for where in (magnitude == 1, magnitude > 1)]
    return np.clip(np.rint(np.array(means) * CENTER), -CENTER // 2, CENTER // 2 - 1).astype(np.int64) + CENTER // 2


for _codec in (TransformCodec("dct", 32, trained=False), KltCodec("klt", 16, trained=True)):
    codecs.register(_codec.name)(_codec)
