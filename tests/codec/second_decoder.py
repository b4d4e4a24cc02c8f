"""A second decoder of whole files, written from the book's page on the file format without the package: plain integers, NumPy."""

import binascii
import hashlib
import json
import math
import struct
import zlib
from itertools import product

import numpy as np
from safetensors import safe_open

UNARY, EXPONENTS, SLOTS, EVEN = 4, 12, 40, 32768


def contexts_of(starts, count):
    """Averages of a fast and a slow kind of the decisions in each context, and their number."""
    return [(start, start, count) for start in starts]


class RangeDecoder:
    """Binary decisions and whole numbers of one stream, in contexts that change."""

    def __init__(self, data, contexts):
        self.bytes, self.contexts, self.width = iter(data), contexts, 2**32 - 1
        self.code = int.from_bytes(bytes(next(self.bytes, 0) for _ in range(4)), "big")

    def bit(self, probability):
        bound = (self.width >> 16) * probability
        bit = int(self.code < bound)
        self.code, self.width = (self.code, bound) if bit else (self.code - bound, self.width - bound)
        while self.width < 2**24:
            self.code, self.width = 256 * self.code + next(self.bytes, 0), 256 * self.width
        return bit

    def decision(self, context):
        *averages, count = self.contexts[context]
        bit = self.bit(min(max(sum(averages) // 2, 24), 65512))
        rate, aim = min(32767, int(65536 / (count + 1.6))), 65536 * bit
        moves = [(abs(aim - a) * max(rate, least) + 65535) >> 16 for a, least in zip(averages, (700, 0), strict=True)]
        moved = [a + (move if bit else -move) for a, move in zip(averages, moves, strict=True)]
        self.contexts[context] = *moved, min(count + 1, 255)
        return bit

    def number(self, context):
        magnitude = exponent = 0
        while magnitude < UNARY and self.decision(context + magnitude):
            magnitude += 1
        if magnitude == UNARY:
            while self.decision(context + UNARY + min(exponent, EXPONENTS - 1)):
                exponent += 1
                assert exponent <= 32
            slot, rest = context + UNARY + min(exponent, EXPONENTS - 1), 1
            for digit in range(1, exponent + 1):
                rest = 2 * rest + (self.decision(slot + EXPONENTS * digit) if digit <= 2 else self.bit(EVEN))
            magnitude = rest + UNARY - 1
        return -magnitude if magnitude and self.bit(EVEN) else magnitude


def mask_of(data, height, width):
    coder, mask = RangeDecoder(data, contexts_of([EVEN] * 64, 0)), np.zeros((height, width), bool)
    for i, j in product(range(height), range(width)):
        # Unknown neighbors are replaced by nearer ones, and by nothing at the first sample.
        left, above = j > 0 and mask[i, j - 1], i > 0 and mask[i - 1, j]
        before = mask[i - 1, j - 1] if i and j else above, mask[i - 1, j + 1] if i and j + 1 < width else above
        far = mask[i, j - 2] if j > 1 else left, mask[i - 2, j] if i > 1 else above
        mask[i, j] = coder.decision(sum(int(known) << n for n, known in enumerate((left, above, *before, *far))))
    return mask


#: Names that have a number, counted from 1.
CONSTANTS = (None, False, True)
MODELS = ("lapped-1", "factorized-1", "klt8-1", "predictive-1")
BANDS = ("VV", "VH", "HH", "HV", "RH", "RV", "band1", "band2", "band3", "band4")


class Fields:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        assert self.at <= len(self.data)
        return self.data[self.at - count : self.at]

    def unpack(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def varint(self):
        value, digits, byte = 0, 0, 128
        while byte > 127:
            byte = self.take(1)[0]
            value, digits = value | (byte & 127) << 7 * digits, digits + 1
        return value

    def block(self):
        return self.take(self.varint())

    def name(self, known):
        number = self.varint()
        return known[number - 1] if number else self.block().decode()

    def value(self, keys):
        number, kind = divmod(self.varint(), 16)
        if kind < 11:
            whole = -(number // 2) - 1 if number % 2 else number // 2
            return whole / 10**kind if kind else whole
        if kind in (11, 12, 15):
            return (
                self.unpack("d")[0] if kind == 11 else self.take(number).decode() if kind == 12 else CONSTANTS[number]
            )
        parts = [(self.name(keys) if kind == 14 else i, self.value(keys)) for i in range(number)]
        return dict(parts) if kind == 14 else [part for _, part in parts]


def header_of(data, keys):
    f, h = Fields(data), {}
    assert f.take(5) == b"SARL\1"
    crc = f.unpack("I")[0]
    first = f.varint() + f.at
    assert crc == zlib.crc32(data[9:first])
    flags = f.varint()
    h["model"], h["hash"], h["quality"] = f.name(MODELS), f.take(4), f.unpack("H")[0]
    bands, tile = divmod(f.varint(), 16)
    h["bands"], h["tile"], h["height"], h["width"] = bands + 1, 64 * (tile + 1), f.varint(), f.varint()
    kind = f.take(1)[0]
    h["quantity"], h["type"], h["depth"] = kind % 4, kind % 64 // 4, f.take(1)[0] if kind & 64 else 16
    h["names"] = [f.name(BANDS) for _ in range(h["bands"])]
    h["centers"] = [center / 64 for center in f.unpack(f"{h['bands']}h")]
    h["floors"] = f.unpack(f"{h['bands']}f") if flags & 8 else [float("nan")] * h["bands"]
    h["flats"] = f.unpack(f"{h['bands']}f") if flags & 16 else None
    h["nodata"] = f.value(keys) if flags & 32 else None
    metadata = f.block() if flags & 2 else bytes([14])
    metadata = zlib.decompress(metadata, -15) if flags & 4 else metadata
    h["metadata"] = Fields(metadata).value(keys)
    h["side"], h["curves"] = (f.block() if flags & bit else b"" for bit in (1, 64))
    h["native"] = bool(flags & 128)
    h["rows"], h["columns"] = -(-h["height"] // h["tile"]), -(-h["width"] // h["tile"])
    h["index"] = [(f.varint(), *f.unpack("HH")) for _ in range(h["rows"] * h["columns"])]
    assert f.at == first
    return h, first


class Model:
    """Tables of a model, and how its channels are ordered and stand in the side information."""

    def __init__(self, path):
        with safe_open(path, "numpy") as file:
            self.tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            self.about = json.loads(file.metadata()["sarlab"])
        essential = {key: value for key, value in self.about.items() if key != "provenance"}
        digest = hashlib.sha256(json.dumps(essential, sort_keys=True, separators=(",", ":")).encode())
        for name, array in sorted(self.tensors.items()):
            digest.update(f"|{name}|{array.dtype}|{array.shape}|".encode() + array.tobytes())
        self.kind, self.name, self.hash = self.about["kind"], self.about["name"], digest.digest()[:4]
        self.starts = self.tensors["probabilities"].tolist()
        if self.kind == "predictive":
            self.block, self.order = 1, [0]
            return
        self.expected, self.offsets = self.tensors["expected"].tolist(), self.tensors["offsets"]
        if self.kind == "lapped":
            self.block, self.numbers, self.low = 32, 64, 16
            u, v = np.divmod(np.arange(32**2), 32)
            self.order = np.lexsort((v, u, u + v, np.maximum(u, v) >= 4)).tolist()
            radius = np.hypot(u + 0.5, v + 0.5) / 32
            self.zones = sum((radius > limit).astype(int) for limit in (0.04, 0.08, 0.13, 0.2, 0.3, 0.45, 0.7))
        else:
            self.block, self.numbers, self.low, self.order, self.zones = 8, 64, 1, list(range(64)), np.arange(64) // 8

    def deviations(self, numbers):
        """4·log2 of the deviation of each channel, in 1/65536."""
        if self.kind != "lapped":
            return [65536 * int(value) for value in np.cumsum(numbers)]
        knots = np.zeros((8, 8), int)
        for i, j in product(range(8), range(8)):
            above, left = knots[i - 1, j] if i else knots[0, j - 1], knots[i, j - 1] if j else knots[i - 1, 0]
            knots[i, j] = (above + left) // 2 + numbers[8 * i + j]  # unknown knots are 0 here
        assert np.abs(knots).max() <= 96
        root, least, weights = np.sqrt((np.arange(32) + 0.5) / 32), np.sqrt(1 / 128), np.zeros((32, 8), int)
        for n, place in enumerate(7 * (root - least) / (1 - least)):
            share = int(np.rint(256 * (place % 1)))
            weights[n, int(place) : int(place) + 2] = 256 - share, share
        return (weights @ knots @ weights.T).ravel().tolist()


def side_of(model, data, bands, quality):
    """States of the trellis; of each band: class of each channel, and factors of the zones."""
    if model.kind == "predictive":
        return 0, None, None
    coder = RangeDecoder(data[1:], contexts_of(model.starts[-SLOTS:], 16))
    step = round(4 * 65536 * np.log2(5)) - (quality * round(4 * 65536**2 * np.log2(10) / 20 / 256) >> 16)
    classes, factors = [], []
    for band in range(bands):
        factors.append([coder.number(0) if band else 0 for _ in range(model.zones.max() + 1)])
        found = model.deviations([coder.number(0) for _ in range(model.numbers)])
        classes.append([min(max((value - step) // 65536 + 20, 0), 63) for value in found])
    return 2 ** data[0], classes, factors


#: Parity checks of the codes.
CODES = {4: (5, 2), 8: (11, 4), 16: (19, 4), 32: (37, 8), 64: (67, 20), 128: (157, 86), 256: (333, 242)}


def masks_of(f, bands, height, width):
    """Valid samples, samples in flat blocks, marked zeros, and the sides of a tile whose blocks are active."""
    flags, (valid, flat, marked) = f.take(1)[0], np.zeros((3, bands, height, width), bool)
    valid[:] = True
    if flags & 3:
        valid[:] = np.stack([mask_of(f.block(), height, width) for _ in range(1 if flags & 3 == 1 else bands)])
    for band in range(bands if flags & 4 else 0):
        blocks = mask_of(f.block(), -(-height // 8), -(-width // 8))
        flat[band] = np.kron(blocks, np.ones((8, 8), bool))[:height, :width]
    for band in range(bands * (flags >> 7)):
        marked[band] = mask_of(f.block(), height, width)  # missing samples among them are NaN in the file
    return valid, flat & valid, marked & valid & ~flat, flags >> 3 & 15


def active_of(coded, block, sides):
    active = np.zeros((len(coded), *(-(-length // block) for length in coded.shape[1:])), bool)
    for b, i, j in {(b, i // block, j // block) for b, i, j in zip(*np.nonzero(coded), strict=True)}:
        active[b, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2] = True
    for bit, where in enumerate((np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1])):
        if sides >> bit & 1:
            active[where] = True
    return active


def latent_of(f, model, active, absent, states, classes):
    """Points in fine steps; `absent` marks channels that blocks at the borders of the scene lack."""
    bands, h, w = active.shape
    latent = np.zeros((bands, len(model.order), h, w), int)
    if not active.any():
        return latent
    if model.kind == "predictive":
        for band in range(bands):
            latent[band] = plane_of(f.data[f.at :] if band == bands - 1 else f.block(), model, active[band])
        return latent
    check, other = CODES.get(states, (0, 0))
    contexts, memory = contexts_of(model.starts, 16), [0] * bands
    state_of, sums = np.zeros((bands, h, w), int), np.zeros((bands, h, w), int)
    for part, channels in enumerate((model.order[: model.low], model.order[model.low :])):
        for band in range(bands):
            coder = RangeDecoder(f.data[f.at :] if part and band == bands - 1 else f.block(), contexts)
            for channel in channels:
                of_class = classes[band][channel]
                if of_class < 10 and not coder.decision(512 * SLOTS + of_class):
                    continue
                around = np.pad(sums[band], 1, mode="edge")
                found = (
                    4 * sums[band] + around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:] + 512
                )
                activity = sum((100 * found > limit * (8 * memory[band] + 512)).astype(int) for limit in (70, 100, 140))
                for i, j in product(range(h), range(w)):
                    if not active[band, i, j] or absent[channel, i, j]:
                        continue
                    state = state_of[band, i, j // 8]
                    k = coder.number(((of_class * 4 + activity[i, j]) * 2 + state % 2) * SLOTS)
                    latent[band, channel, i, j] = 2 * k - state % 2 * np.sign(k)
                    state_of[band, i, j // 8] = (state ^ check * (state & 1) ^ other * (k & 1)) >> 1
                    sums[band, i, j] += 256 * abs(k) - sums[band, i, j] // 16
                memory[band] += model.expected[of_class] - memory[band] // 16
    return latent


#: Neighbors that predict a sample: rows above, columns to the right.
NEAR = ((0, -1), (1, 0), (1, -1), (1, 1), (0, -2), (2, 0), (2, 1), (1, 2), (0, -3), (1, -2), (2, -1), (3, 0))


def plane_of(data, model, active):
    """A band of a file with a bounded error."""
    (h, w), coder = active.shape, RangeDecoder(data, contexts_of(model.starts, 20))
    x, errors, weights = {}, {}, [39322, 39322, -13107, *[0] * 9]
    for i, j in product(range(h), range(w)):
        known = [x[place] for place in ((i, j - 1), (i - 1, j)) if place in x]
        if not active[i, j]:
            x[i, j], errors[i, j] = sum(known) // max(len(known), 1), errors.get((i, j - 1), 0)
            continue
        features, predicted = [0] * 12, 0
        if known:
            left, above = x.get((i, j - 1), known[-1]), x.get((i - 1, j), known[0])
            mean, span = (left + above) // 2, 2 * abs(left - above) + 16
            features = [x.get((i - up, j + right), mean) - mean for up, right in NEAR]
            predicted = mean + (sum(weight * f for weight, f in zip(weights, features, strict=True)) + 32768 >> 16)
            predicted = min(max(predicted, min(left, above) - span), max(left, above) + span)
        places = ((0, -1), (0, -1), (1, 0), (1, 0), (1, -1), (1, 1), (0, -2))
        energy, octave = sum(errors.get((i - up, j + right), 0) for up, right in places), 0
        while energy >> octave > 15:
            octave += 1
        context = min(4 * octave + ((energy >> octave) - 8 >> 1), 63) if octave else energy // 4
        error = coder.number(context * SLOTS)
        x[i, j], errors[i, j], total = predicted + error, 2 * min(abs(error), 1 << 24), 1 + sum(f * f for f in features)
        moved = [weight + error * f * 2048 // total for weight, f in zip(weights, features, strict=True)]
        weights = [min(max(weight, -(1 << 18)), 1 << 18) for weight in moved]
    return np.array([x[place] for place in sorted(x)]).reshape(h, w) * active


def coefficients_of(latent, model, quality, classes, factors, native):
    if model.kind == "predictive":
        return latent * (1 / 30 if native else (10 ** (3.2 - quality / 5120) - 2e-5) / 15)
    size, quantizer = np.abs(latent), np.abs(latent) % 2
    magnitude = np.clip((size + 1) // 2, 1, 3) - 1
    moved = size + model.offsets[np.array(classes)[:, :, None, None], quantizer, magnitude].astype(float)
    y = 2.5 * 10 ** (-quality / 5120) * np.sign(latent) * moved
    for band in range(1, len(y)):
        y[band] += y[0] * (np.array(factors[band]) / 16)[model.zones][:, None, None]
    return y


def places(block, length):
    return [(2 * k + 1) * block // (2 * length) for k in range(length)]


def cosines(block, length):
    """Basis of an axis of `length` samples: (samples, blocks · frequencies)."""
    count = -(-length // block)
    matrix, last = np.zeros((length, count * block)), length - block * (count - 1)
    for b in range(count):
        n, own = np.arange(length) - block * b + 0.5, last if b == count - 1 else block
        rise, fall = own // 2 if b else 0, {count - 1: 0, count - 2: last // 2}.get(b, block // 2)
        window = np.sin(np.pi / 4 * (1 + np.clip(n / max(rise, 0.5), -1, 1)))
        window = window * np.sin(np.pi / 4 * (1 + np.clip((own - n) / max(fall, 0.5), -1, 1)))
        for k, row in enumerate(places(block, own)):
            shift = 0.5 if b < count - 1 else 0
            wave = np.sqrt((2 if k or shift else 1) / own) * np.cos(np.pi / own * (k + shift) * n)
            matrix[:, b * block + row] = window * wave
    return matrix


def convolved(x, weight, bias):
    around = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1))), (3, 3), (1, 2))
    return np.einsum("chwij,ocij->ohw", around, weight) + bias[:, None, None]


def raster_of(y, model, quality, height, width):
    """Normalized samples of a band."""
    size, (h, w), ends, t = model.block, y.shape[1:], (height, width), model.tensors
    if model.kind == "factorized":
        t, ends = {name: array.astype(float) for name, array in t.items()}, (8 * h, 8 * w)
        if "inner.weight" in t:
            x = np.concatenate([y / t["deviation"][:, None, None], np.full((1, h, w), (quality / 256 - 32) / 16)])
            x = convolved(x, t["inner.weight"], t["inner.bias"])
            x = x / 2 * (1 + np.vectorize(math.erf)(x / 2**0.5))
            y = y + 5 * 10 ** (-quality / 5120) * convolved(x, t["outer.weight"], t["outer.bias"])
        u, _, v = np.linalg.svd(t["mixing"])
        y = np.tensordot(u @ v, y, 1)
    planes = y.reshape(size, size, h, w).transpose(2, 0, 3, 1).reshape(size * h, size * w)
    if model.about.get("front") != "block":
        planes = cosines(size, ends[0]) @ planes @ cosines(size, ends[1]).T
    return planes[:height, :width]


def corrected(x, curve):
    low, high, fineness, *values = struct.unpack("<hhB8b", curve)
    level = np.lib.stride_tricks.sliding_window_view(np.pad(x, 12, mode="edge"), (25, 25)).mean((2, 3))
    place = np.clip(7 * (1024 * level - low) / (high - low), 0, 7)
    return np.interp(place, range(8), np.array(values) / (40 * 2**fineness))


def decode(data, path, keys, radiometric=False):
    """(header, latent, samples) of a file, given the file of its model and the keys of the metadata."""
    h, first = header_of(data, keys)
    model = Model(path)
    assert (model.name, model.hash) == (h["model"], h["hash"])
    states, classes, factors = side_of(model, h["side"], h["bands"], h["quality"])
    block, height, width = model.block, h["height"], h["width"]
    lh, lw = -(-height // block), -(-width // block)
    latent = np.zeros((h["bands"], len(model.order), lh, lw), int)
    valid, flats, zeros = np.zeros((3, h["bands"], height, width), bool)
    absent, channel = np.zeros(latent.shape[1:], bool), np.arange(len(model.order))
    if model.kind == "lapped":  # smaller blocks at the bottom and at the right
        absent[:, -1] |= ~np.isin(channel // block, places(block, height - block * (lh - 1)))[:, None]
        absent[:, :, -1] |= ~np.isin(channel % block, places(block, width - block * (lw - 1)))[:, None]
    for number, (length, crc, check) in enumerate(h["index"]):
        payload, first = data[first : first + length], first + length
        assert binascii.crc_hqx(payload, 0) == crc
        row, column = (h["tile"] * place for place in divmod(number, h["columns"]))
        area = np.s_[:, row : min(height, row + h["tile"]), column : min(width, column + h["tile"])]
        f, top, left = Fields(payload), row // block, column // block
        valid[area], flats[area], zeros[area], sides = masks_of(f, *valid[area].shape)
        active = active_of((valid & ~flats & ~zeros)[area], block, sides)
        place = np.s_[..., top : top + active.shape[1], left : left + active.shape[2]]
        latent[place] = latent_of(f, model, active, absent[place], states, classes)
        assert zlib.crc32(latent[place].astype("<i4").tobytes()) & 0xFFFF == check
    assert first == len(data)

    samples = np.empty(valid.shape)
    y = coefficients_of(latent, model, h["quality"], classes, factors, h["native"])
    for band in range(h["bands"]):
        x = y[band][0] if model.kind == "predictive" else raster_of(y[band], model, h["quality"], height, width)
        db = 30 * x + h["centers"][band]
        if radiometric:
            db += corrected(x, h["curves"][13 * band : 13 * band + 13])
        zero = zeros[band] | (db < h["floors"][band] + (20 if h["quantity"] == 1 else 10) * np.log10(2) / 2)
        samples[band] = db if h["native"] else (db, 10 ** (db / 20), 10 ** (db / 10))[h["quantity"]]
        samples[band][zero] = (-np.inf, 0, 0)[h["quantity"]]
        if h["flats"]:
            samples[band][flats[band]] = h["flats"][band]
    samples[~valid] = np.nan
    return h, latent, samples
