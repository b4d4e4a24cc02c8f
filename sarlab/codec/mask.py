"""Nodata masks of a tile, coded losslessly: nothing when all is valid, little for areas, a few bytes a stray sample.

A mask is sent from coarse to fine. With the step s halving from a power of two down to 1, the samples at multiples of 2s
are known, and three phases follow: (odd, odd) multiples of s, (even, odd) and (odd, even). Each sample's context are its
four nearest known neighbors, diagonal ones in the first phase and those along the axes in the others, so that a whole
phase is coded at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from sarlab.codec.rangecoder import RangeDecoder, RangeEncoder
from sarlab.codec.tables import TOTAL, Table

#: Probabilities (of 65 536) that a sample is invalid, one of which is sent for each context.
PROBABILITIES = (*(1 << i for i in range(16)), *(TOTAL - (1 << i) for i in range(14, -1, -1)))
#: Position in `PROBABILITIES` by the number of invalid neighbors, for contexts too rare to be worth stating one.
DEFAULTS = (10, 14, 15, 16, 20)
#: Samples from which on a context states its probability.
RARE = 12

ALL_VALID, SHARED, SEPARATE = range(3)
NONE_VALID, MIXED = 1, 2


def encode_masks(encoder: RangeEncoder, valid: np.ndarray) -> None:
    """Append the masks of all bands of a tile.

    Parameters
    ----------
    encoder : RangeEncoder
    valid : ndarray of bool, shape (bands, height, width)
    """
    if valid.all():
        mode = ALL_VALID
    else:
        mode = SHARED if (valid == valid[0]).all() else SEPARATE
    encoder.encode_uniform(np.array([mode]), 3)
    if mode != ALL_VALID:
        for mask in valid[:1] if mode == SHARED else valid:
            kind = ALL_VALID if mask.all() else MIXED if mask.any() else NONE_VALID
            encoder.encode_uniform(np.array([kind]), 3)
            if kind == MIXED:
                _encode_mixed(encoder, ~mask)


def decode_masks(decoder: RangeDecoder, shape: tuple[int, int, int]) -> np.ndarray:
    """Masks of a tile of `shape` (bands, height, width), True where valid."""
    valid = np.ones(shape, bool)
    mode = int(decoder.decode_uniform(1, 3)[0])
    if mode != ALL_VALID:
        for band in range(1 if mode == SHARED else shape[0]):
            kind = int(decoder.decode_uniform(1, 3)[0])
            if kind == MIXED:
                valid[band] = ~_decode_mixed(decoder, shape[1:])
            elif kind == NONE_VALID:
                valid[band] = False
        if mode == SHARED:
            valid[1:] = valid[0]
    return valid


def first_mode(payload: bytes) -> int:
    """`ALL_VALID`, `SHARED` or `SEPARATE`: what a tile's payload begins with."""
    return int(RangeDecoder(payload[:16]).decode_uniform(1, 3)[0])


def _encode_mixed(encoder: RangeEncoder, invalid: np.ndarray) -> None:
    encoder.encode_uniform(invalid[:1, :1].astype(np.int64), 2)
    for rows, columns, contexts in _phases(invalid):
        samples = invalid[rows, columns].ravel()
        order, counts = _by_context(contexts)
        ones = np.bincount(contexts.ravel(), weights=samples, minlength=16).astype(np.int64)
        which = _defaults()
        for context in np.flatnonzero(counts >= RARE):
            which[context] = _nearest(int(ones[context]), int(counts[context]))
            encoder.encode_uniform(which[context : context + 1], len(PROBABILITIES))
        start = 0
        for context in np.flatnonzero(counts):
            part = samples[order[start : start + counts[context]]]
            encoder.encode(part.astype(np.int64), _bit_table(int(which[context])))
            start += counts[context]


def _decode_mixed(decoder: RangeDecoder, shape: tuple[int, int]) -> np.ndarray:
    invalid = np.zeros(shape, bool)
    invalid[0, 0] = decoder.decode_uniform(1, 2)[0]
    for rows, columns, contexts in _phases(invalid):
        order, counts = _by_context(contexts)
        which = _defaults()
        for context in np.flatnonzero(counts >= RARE):
            which[context] = decoder.decode_uniform(1, len(PROBABILITIES))[0]
        samples = np.empty(contexts.size, bool)
        start = 0
        for context in np.flatnonzero(counts):
            part = order[start : start + counts[context]]
            samples[part] = decoder.decode(len(part), _bit_table(int(which[context]))) > 0
            start += counts[context]
        invalid[rows, columns] = samples.reshape(contexts.shape)
    return invalid


def _phases(mask: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """(rows, columns, contexts) of every phase; contexts are read from `mask` when the phase is reached."""
    height, width = mask.shape
    step = 1 << max(0, (max(height, width) - 1).bit_length() - 1)
    while step >= 1:
        even, odd = slice(0, None, 2 * step), slice(step, None, 2 * step)
        places: tuple[tuple[np.ndarray, np.ndarray] | None, ...]
        for rows, columns in ((odd, odd), (even, odd), (odd, even)):
            r, c = np.arange(height)[rows], np.arange(width)[columns]
            if r.size and c.size:
                up, down = _neighbors(r, height, step)
                left, right = _neighbors(c, width, step)
                if rows is odd and columns is odd:
                    places = ((up, left), (up, right), (down, left), (down, right))
                else:  # across an axis that ends before the first step, no neighbor is known
                    places = ((up, c), (down, c)) if height > step else (None, None)
                    places += ((r, left), (r, right)) if width > step else (None, None)
                contexts = np.zeros((r.size, c.size), np.int64)
                for i, place in enumerate(places):
                    if place is not None:
                        contexts |= mask[np.ix_(*place)].astype(np.int64) << i
                yield rows, columns, contexts
        step //= 2


def _neighbors(positions: np.ndarray, length: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions one step before and after; at the border the other one stands in for the one that is missing."""
    before, after = positions - step, positions + step
    first = np.where(before >= 0, before, after)
    last = np.where(after < length, after, before)
    return np.clip(first, 0, length - 1), np.clip(last, 0, length - 1)


def _by_context(contexts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat = contexts.ravel()
    return np.argsort(flat, kind="stable"), np.bincount(flat, minlength=16)


def _defaults() -> np.ndarray:
    return np.array([DEFAULTS[i.bit_count()] for i in range(16)])


def _nearest(ones: int, count: int) -> int:
    """The stated probability that codes `ones` of `count` in the fewest bits."""
    p = np.array(PROBABILITIES) / TOTAL
    return int(np.argmin(-ones * np.log2(p) - (count - ones) * np.log2(1 - p)))


@lru_cache(maxsize=len(PROBABILITIES))
def _bit_table(which: int) -> Table:
    return Table(np.array([TOTAL - PROBABILITIES[which], PROBABILITIES[which]]), 0, escape=False)
