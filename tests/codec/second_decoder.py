"""A second decoder of whole files, written from the book's page on the file format: plain integers, NumPy for the floats.

It shares no code with the package, but for the preset dictionary and the models' files, which the page names.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from mpmath import erfc, exp, floor, mp, mpf, pi, sqrt
from range_decoder import PlainDecoder, cumulative_of_counts, cumulative_of_uniform, plain_indexed
from second_hyper import at_knots, hyper_latent_of

mp.dps = 40
TYPES = ("float32", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float16")


def tail(family, x):
    laplace = lambda deviation: exp(-sqrt(2) * x / deviation) / 2  # noqa: E731
    return (
        lambda: erfc(x / sqrt(2)) / 2,
        lambda: 1 / (1 + exp(pi * x / sqrt(3))),
        lambda: laplace(1),
        lambda: (laplace(mpf(1) / 2) + laplace(sqrt(mpf(7) / 4))) / 2,
    )[family]()


def frozen_table(family, index, cache={}):  # noqa: B006
    if (family, index) not in cache:
        sigma = mpf(2) ** (mpf(index - 32) / 8)
        reach = 1
        while 2 * tail(family, (reach + mpf(1) / 2) / sigma) > mpf(1) / 2**14:
            reach += 1
        share = 65536 - (2 * reach + 2)
        t = [tail(family, (k + mpf(1) / 2) / sigma) for k in range(reach + 1)]
        side = [1 + int(floor(share * (t[k - 1] - t[k]))) for k in range(1, reach + 1)]
        escape = 1 + int(floor(share * 2 * t[reach]))
        cache[family, index] = [*side[::-1], 65536 - 2 * sum(side) - escape, *side, escape], -reach
    return cache[family, index]


def table_of_index(family, index):
    if index < 64:
        return (*frozen_table(family, index), 0)
    return (*frozen_table(family, 56 + (index - 64) % 8), 1 + (index - 64) // 8)


class Fields:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def text(self):
        return self.take(self.varint()).decode()


def header_of(data):
    assert data[:5] == b"SARL\1"
    start = Fields(data[12:20])
    length = start.varint()
    begin = 12 + start.at
    f, h = Fields(data[begin : begin + length]), {}
    flags = f.varint()
    h["model"], h["hash"], h["quality"] = f.text(), f.take(8), struct.unpack("<H", f.take(2))[0]
    h["bands"], h["height"], h["width"], h["tile"] = (f.varint() for _ in range(4))
    h["tile"] *= 64
    h["quantity"], h["type"], h["depth"] = f.take(3)
    h["names"] = [f.text() for _ in range(h["bands"])]
    h["normalizers"] = [struct.unpack("<ff", f.take(8)) for _ in h["names"]] if flags & 1 else None
    h["floors"] = [struct.unpack("<f", f.take(4))[0] for _ in h["names"]] if flags & 2 else [float("nan")] * h["bands"]
    h["flats"] = [struct.unpack("<f", f.take(4))[0] for _ in h["names"]] if flags & 32 else None
    h["nodata"] = struct.unpack("<d", f.take(8))[0] if flags & 4 else None
    h["metadata"] = f.take(f.varint()) if flags & 8 else b""
    h["side"] = f.take(f.varint()) if flags & 16 else b""
    assert f.at == length
    h["rows"], h["columns"] = -(-h["height"] // h["tile"]), -(-h["width"] // h["tile"])
    first = begin + length + 10 * h["rows"] * h["columns"]
    assert struct.unpack_from("<I", data, 5)[0] == zlib.crc32(data[9:first])
    h["index"] = list(struct.iter_unpack("<IIH", data[begin + length : first]))
    return h, first


def metadata_of(data, dictionary):
    inflate = zlib.decompressobj(-15, zdict=dictionary)
    return json.loads(inflate.decompress(data)) if data else {}


def masks_of(coder, bands, height, width):
    uniform = lambda n: coder.symbol(cumulative_of_uniform(n))  # noqa: E731
    mode = uniform(3)
    masks = []
    for _ in range({0: 0, 1: 1, 2: bands}[mode]):
        kind = uniform(3)
        masks.append(np.full((height, width), kind == 1) if kind < 2 else mixed_mask(coder, height, width))
    if mode == 0:
        masks = [np.zeros((height, width), bool)] * bands
    return np.stack(masks * bands if mode == 1 else masks)


def mixed_mask(coder, height, width):
    mask = np.zeros((height, width), bool)
    mask[0, 0] = coder.symbol(cumulative_of_uniform(2))
    s = 1
    while 2 * s < max(height, width):
        s *= 2
    opposite = lambda at, step, length: at + step if 0 <= at + step < length else at - step  # noqa: E731
    while s >= 1:
        for odd_row, odd_column in ((1, 1), (0, 1), (1, 0)):
            places = [(r, c) for r in range(odd_row * s, height, 2 * s) for c in range(odd_column * s, width, 2 * s)]
            context = {}
            for r, c in places:
                if odd_row and odd_column:
                    around = [(-s, -s), (-s, s), (s, -s), (s, s)]
                    bits = [mask[opposite(r, a, height), opposite(c, b, width)] for a, b in around]
                else:
                    bits = [mask[opposite(r, a, height), c] if height > s else 0 for a in (-s, s)]
                    bits += [mask[r, opposite(c, b, width)] if width > s else 0 for b in (-s, s)]
                context[r, c] = sum(int(bit) << i for i, bit in enumerate(bits))
            counts = [list(context.values()).count(i) for i in range(16)]
            numbers = [(10, 14, 15, 16, 20)[i.bit_count()] for i in range(16)]
            for i in range(16):
                if counts[i] >= 12:
                    numbers[i] = coder.symbol(cumulative_of_uniform(31))
            for i in range(16):
                f = 1 << numbers[i] if numbers[i] <= 15 else 65536 - (1 << (30 - numbers[i]))
                for place in places:
                    if context[place] == i:
                        mask[place] = coder.symbol(cumulative_of_counts([65536 - f, f]))
        s //= 2
    return mask


def active_of(uncoded, sides):
    bands, height, width = uncoded.shape
    h, w = -(-height // 8), -(-width // 8)
    active = np.zeros((bands, h, w), bool)
    for b in range(bands):
        for r in range(h):
            for c in range(w):
                near = uncoded[b, 8 * max(0, r - 1) : 8 * (r + 2), 8 * max(0, c - 1) : 8 * (c + 2)]
                active[b, r, c] = not near.all()
    for bit, where in enumerate([np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]]):
        if sides >> bit & 1:
            active[where] = True
    return active


def shifts_of(coder):
    if not coder.symbol(cumulative_of_uniform(2)):
        return [0] * 64
    table = (24, 36, 44, 52)[coder.symbol(cumulative_of_uniform(4))]
    return plain_indexed(coder, {table: table_of_index(2, table)}, [table] * 64)


def flats_of(coder, bands, height, width):
    """Samples in flat blocks of a tile."""
    blocks = masks_of(coder, bands, -(-height // 8), -(-width // 8))
    return np.array([[[blocks[b, r // 8, c // 8] for c in range(width)] for r in range(height)] for b in range(bands)])


def latent_of(coder, uncoded, model, quality, file_shifts):
    bands = len(uncoded)
    sides = coder.symbol(cumulative_of_uniform(16)) if uncoded.any() else 0
    active = active_of(uncoded, sides)
    if model["kind"] == "hyper":
        return hyper_latent_of(coder, active, model, quality, table_of_index)
    latent = np.zeros((bands, 64, *active.shape[1:]), np.int64)
    k, f = divmod(quality, 1024)
    after = min(k + 1, 24)
    indices = [
        (int(a) * (1024 - f) + int(b) * f + 512) // 1024
        for a, b in zip(model["indices"][k], model["indices"][after], strict=True)
    ]
    families = model["families"][k if f < 512 else after]
    held = lambda v: min(max(v, 0), 151)  # noqa: E731
    for b in range(bands):
        count = int(active[b].sum())
        if count:
            shifts = shifts_of(coder)
            own = [held(held(i + s) + t) for i, s, t in zip(indices, file_shifts[b], shifts, strict=True)]
            # A row is a group: number the tables by row, so that equal ones stay apart.
            tables = {c: table_of_index(int(families[c]), own[c]) for c in range(64)}
            values = plain_indexed(coder, tables, [c for c in range(64) for _ in range(count)])
            latent[b][:, active[b]] = np.array(values).reshape(64, count)
    return latent


def model_of(path: Path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    entries = json.loads(data[8 : 8 + length])
    about = json.loads(entries.pop("__metadata__")["sarlab"])
    types = {"F16": "<f2", "U8": "u1", "F32": "<f4", "I16": "<i2", "U16": "<u2", "I32": "<i4"}
    tensors = {}
    for name, entry in entries.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(data[start:end], types[entry["dtype"]]).reshape(entry["shape"])
    essential = {k: v for k, v in about.items() if k != "provenance"}
    digest = hashlib.sha256(json.dumps(essential, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(tensors):
        digest.update(f"|{name}|{tensors[name].dtype}|{tensors[name].shape}|".encode() + tensors[name].tobytes())
    u, _, v = np.linalg.svd(tensors["mixing"].astype(float))
    return {
        **about, "hash": digest.digest()[:8], "mixing": u @ v, "tensors": tensors,
        "indices": tensors.get("tables.indices"), "families": tensors["tables.families"],
    }  # fmt: skip


def convolved(x, weight, bias):
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    h, w = x.shape[1:]
    out = np.zeros((weight.shape[0], h, w)) + bias.astype(float)[:, None, None]
    for i in range(3):
        for j in range(3):
            out += np.tensordot(weight[:, :, i, j].astype(float), padded[:, i : i + h, j : j + w], 1)
    return out


def merged(s, d, axis):
    s, d = np.moveaxis(s, axis, -1), np.moveaxis(d, axis, -1)
    k = 1.230174104914001 / np.sqrt(2)
    s, d = s * k, d / k
    before = lambda d: np.concatenate([d[..., :1], d[..., :-1]], -1)  # noqa: E731
    after = lambda s: np.concatenate([s[..., 1:], s[..., -1:]], -1)  # noqa: E731
    s = s - 0.443506852043971 * (d + before(d))
    d = d - 0.882911075530934 * (s + after(s))
    s = s + 0.052980118572961 * (d + before(d))
    d = d + 1.586134342059924 * (s + after(s))
    return np.moveaxis(np.stack([s, d], -1).reshape(*s.shape[:-1], -1), -1, axis)


def spread(channels, factor):
    """Channels of factor² positions → one plane."""
    _, h, w = channels.shape
    return channels.reshape(factor, factor, h, w).transpose(2, 0, 3, 1).reshape(h * factor, w * factor)


def samples_of(latent, model, quality):
    tensors = model["tensors"]
    if model["kind"] == "hyper":
        deviation = 2 ** (tensors["tables.deviations"] / 4096)[:, None, None]
        stored = round(quality * 256)
        exponents = [
            7342 - ((174165 * stored + (1 << 15)) >> 16) + g for g in at_knots(tensors["tables.gains"], stored)
        ]
        step = 2 ** (np.array(exponents) / 4096)[:, None, None]
        latent = latent / 16 * (2 ** (-2700 / 4096) if "trellis.odd" in tensors else 1)
    else:
        deviation = tensors["deviation"].astype(float)[:, None, None]
        step = (tensors["tables.gains"].astype(float) * np.sqrt(12) * 10 ** (-quality / 20))[:, None, None]
    y = latent * step
    if model["width"]:
        from scipy.special import ndtr

        x = np.concatenate([y / deviation, np.full((1, *y.shape[1:]), (quality - 32) / 16)])
        for name in ["inner", *(f"middle.{i}" for i in range(model.get("depth", 2) - 2))]:
            x = convolved(x, tensors[f"g_s.{name}.weight"], tensors[f"g_s.{name}.bias"])
            x = x * ndtr(x)
        y = y + step * convolved(x, tensors["g_s.outer.weight"], tensors["g_s.outer.bias"])
    z = np.tensordot(model["mixing"], y, 1)
    neutral = float(tensors["neutral"])
    if model["front"] == "block":
        return spread(z, 8) + neutral
    low, at = z[0], 1
    for factor in (1, 2, 4):
        hl, lh, hh = (spread(z[at + i * factor**2 : at + (i + 1) * factor**2], factor) for i in range(3))
        at += 3 * factor**2
        low = merged(merged(low, lh, 0), merged(hl, hh, 0), 1)
    return low + neutral


def decode(data, path, dictionary):
    """(header, metadata, samples) of a file, given the file of its model."""
    h, first = header_of(data)
    model = model_of(path)
    assert (model["name"], model["hash"]) == (h["model"], h["hash"])
    side = PlainDecoder(h["side"])
    file_shifts = [shifts_of(side) if h["side"] else [0] * 64 for _ in h["names"]]
    lh, lw, blocks = -(-h["height"] // 8), -(-h["width"] // 8), h["tile"] // 8
    latent = np.zeros((h["bands"], 64, lh, lw))
    invalid = np.zeros((h["bands"], h["height"], h["width"]), bool)
    flats = invalid.copy()
    for number, (length, checksum, check) in enumerate(h["index"]):
        row, column = divmod(number, h["columns"])
        payload = data[first : first + length]
        first += length
        assert zlib.crc32(payload) == checksum
        rows = slice(row * h["tile"], min(h["height"], (row + 1) * h["tile"]))
        columns = slice(column * h["tile"], min(h["width"], (column + 1) * h["tile"]))
        coder = PlainDecoder(payload)
        size = h["bands"], rows.stop - rows.start, columns.stop - columns.start
        mask = masks_of(coder, *size)
        flat = flats_of(coder, *size) if h["flats"] else np.zeros(size, bool)
        part = latent_of(coder, mask | flat, model, h["quality"], file_shifts)
        assert zlib.crc32(part.astype("<i4").tobytes()) & 0xFFFF == check
        invalid[:, rows, columns], flats[:, rows, columns] = mask, flat
        latent[:, :, row * blocks : row * blocks + part.shape[2], column * blocks : column * blocks + part.shape[3]] = (
            part
        )
    assert first == len(data)
    out = np.empty(invalid.shape)
    for band, name in enumerate(h["names"]):
        low, high = h["normalizers"][band] if h["normalizers"] else model["normalizers"][name]
        db = low + (high - low) * samples_of(latent[band], model, h["quality"] / 256)[: h["height"], : h["width"]]
        gap = 20 * np.log10(2) if h["quantity"] == 1 else 10 * np.log10(2)
        zero = db < h["floors"][band] + gap / 2
        out[band] = (db, 10 ** (db / 20), 10 ** (db / 10))[h["quantity"]]
        out[band][zero] = (-np.inf, 0, 0)[h["quantity"]]
        if h["flats"]:
            out[band][flats[band]] = h["flats"][band]
    out[invalid] = np.nan
    return h, metadata_of(h["metadata"], dictionary), out
