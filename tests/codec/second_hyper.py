"""The latent of the hyper model for the second decoder, written from the book's page: Python's integers and NumPy's."""

import numpy as np
from mpmath import floor, log, mpf
from range_decoder import cumulative_of_counts, cumulative_of_uniform, plain_indexed

PATTERNS = {
    1: [[(0, 0), (0, 1), (1, 0), (1, 1)]],
    2: [[(0, 0), (1, 1)], [(0, 1), (1, 0)]],
    4: [[(0, 0)], [(1, 1)], [(0, 1)], [(1, 0)]],
}


def at_knots(knots, quality):
    place = min(max(quality - 2048, 0), 8 * 1536)
    i = min(place // 1536, 7)
    f = place - 1536 * i
    return [(int(a) * (1536 - f) + int(b) * f + 768) // 1536 for a, b in zip(knots[i], knots[i + 1], strict=True)]


def product(value, g, j):
    o, t = divmod(g, 4096)
    m = int(floor(mpf(2) ** (15 + mpf(t) / 4096) + mpf(1) / 2))
    s = 15 - o - j
    while s < 1:
        m, s = 2 * m, s + 1
    return (int(value) * m + (1 << (s - 1))) >> s


def convolved(x, weight):
    """Integers: (channels, h, w) under (outputs, channels, k, k)."""
    k = weight.shape[-1]
    h, w = x.shape[1:]
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    out = np.zeros((len(weight), h, w), np.int64)
    for i in range(k):
        for j in range(k):
            out += np.tensordot(weight[:, :, i, j].astype(np.int64), padded[:, i : i + h, j : j + w], 1)
    return out


class Layers:
    def __init__(self, tensors):
        self.t = {
            k.removeprefix("entropy."): v.astype(np.int64) for k, v in tensors.items() if k.startswith("entropy.")
        }

    def divided(self, sums, name):
        return (sums + self.t[f"{name}.bias"][:, None, None]) // (1 << self.t[f"{name}.shift"])[:, None, None]

    def layer(self, x, name):
        return np.clip(self.divided(convolved(x, self.t[f"{name}.weight"]), name), 0, 1023)


# State after a state and a parity.
AFTER = [(0, 1), (3, 2), (5, 4), (6, 7), (1, 0), (2, 3), (4, 5), (7, 6)]


def counts_of(histogram):
    """Table of a stored histogram: an entry for every value and an escape, at least 1 each, 65 536 in all."""
    seen = [*(int(n) for n in histogram), 0]
    counts = [1 + n * (65536 - len(seen)) // max(sum(seen), 1) for n in seen]
    counts[counts.index(max(counts))] += 65536 - sum(counts)
    return counts


def trellis_of(coder, model, indices, scalar_tables):
    """Whole steps of a step's values in the trellis model."""
    odd, histograms = model["tensors"]["trellis.odd"], model["tensors"]["trellis.counts"]
    place = lambda i: i if i < 64 else 56 + (i - 64) % 8  # noqa: E731
    inside = [n for n, i in enumerate(indices) if i >= 23]
    lanes = max(-(-len(inside) // 128), 1)
    state, quantizers, parities = [0] * lanes, [], []
    for n, at in enumerate(inside):
        q = state[n % lanes] % 2
        chance = int(odd[place(indices[at]), q])
        p = coder.symbol(cumulative_of_counts([65536 - chance, chance]))
        state[n % lanes] = AFTER[state[n % lanes]][p]
        quantizers.append(q)
        parities.append(p)
    rows = [4 * indices[at] + 2 * q + p for at, q, p in zip(inside, quantizers, parities, strict=True)]
    tables = {
        row: (counts_of(histograms[place(row // 4), row // 2 % 2, row % 2]), -28, max(0, 1 + (row // 4 - 64) // 8))
        for row in set(rows)
    }
    halves = plain_indexed(coder, tables, rows)
    out = {}
    for at, q, p, j in zip(inside, quantizers, parities, halves, strict=True):
        k = 2 * j + p
        out[at] = 2 * k - q * ((k > 0) - (k < 0))
    outside = [n for n, i in enumerate(indices) if i < 23]
    coarser = [max(indices[n] - 8, 0) for n in outside]
    values = plain_indexed(coder, {i: scalar_tables(i) for i in set(coarser)}, coarser)
    out.update((n, 2 * value) for n, value in zip(outside, values, strict=True))
    return [out[n] for n in range(len(indices))]


def features(v):
    numbers = [int(floor(32 * log(1 + mpf(n) / 4, 2) + mpf(1) / 2)) for n in range(256)]
    return np.concatenate([v, np.array(numbers)[np.abs(v)]])


def hyper_latent_of(coder, active, model, quality, table_of_index):
    t = model["tensors"]
    finer = 2700 if "trellis.odd" in t else 0
    exponents = [
        7342 - ((174165 * quality + (1 << 15)) >> 16) + g - finer for g in at_knots(t["tables.gains"], quality)
    ]
    relative = [e - int(d) for e, d in zip(exponents, t["tables.deviations"], strict=True)]
    bands, h, w = active.shape
    latent = np.zeros((bands, 64, h, w), np.int64)
    seen = np.zeros((64, h, w), np.int64)
    first = None
    second = Layers({k.replace("second.", "entropy."): v for k, v in t.items() if k[:8] != "entropy."})
    held = lambda i: min(max(i, 0), 151)  # noqa: E731
    for band in range(bands):
        seen = np.zeros((64, h, w), np.int64)
        if active[band].any():
            layers = Layers(model["tensors"])
            follows = band > 0 and "cross" in second.t and coder.symbol(cumulative_of_uniform(2))
            layers = second if follows else layers
            total = convolved(active[band][None].astype(np.int64), layers.t["edges"])
            total += np.array(at_knots(layers.t["embed"], quality))[:, None, None]
            if follows:
                total += convolved(features(first), layers.t["cross"])
            number = channel = 0
            for count, phases, _ in model["groups"]:
                for places in PATTERNS[phases]:
                    at = [(r, c) for r in range(h) for c in range(w) if active[band, r, c] and (r % 2, c % 2) in places]
                    a = np.clip(total // (1 << layers.t[f"heads.{number}.seen.shift"])[:, None, None], 0, 1023)
                    a = layers.layer(a, f"heads.{number}.inner")
                    a = layers.divided(convolved(a, layers.t[f"heads.{number}.outer.weight"]), f"heads.{number}.outer")
                    indices = []
                    for r, c in at:
                        for i in range(count):
                            indices.append(held((16 * int(a[count + i, r, c]) - relative[channel + i] + 16640) // 512))
                    families, maps = t["tables.families"][number], t["tables.maps"][number]
                    table = lambda i, f=families, m=maps: table_of_index(int(f[i]), int(m[i]))  # noqa: E731
                    if "trellis.odd" in t:
                        values = iter(trellis_of(coder, model, indices, table))
                    else:
                        values = iter(plain_indexed(coder, {i: table(i) for i in set(indices)}, indices))
                    new = np.zeros((64, h, w), np.int64)
                    for r, c in at:
                        for i in range(channel, channel + count):
                            m = product(a[i - channel, r, c], -relative[i], -4)
                            value = 16 * next(values) + m
                            latent[band, i, r, c] = min(max(value, -16 * (2**20 - 1)), 16 * (2**20 - 1))
                            new[i, r, c] = min(max(product(latent[band, i, r, c], relative[i], 1), -255), 255)
                    seen += new
                    if f"gather.{number}" in layers.t:
                        part = features(new[channel : channel + count])
                        total += convolved(part, layers.t[f"gather.{number}"])
                    number += 1
                channel += count
        if band == 0:
            first = seen
    return latent
