"""Slow, independent truths: each is written another way than the code that it judges."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Averages(NamedTuple):
    """State of an EMA codebook."""

    codebook: Array  # (CB, EMB)
    count: Array  # (CB,)
    total: Array  # (CB, EMB)


def nearest_code(vector: Array, codebook: Array) -> tuple[int, float]:
    """First id with the least squared Euclidean distance, and that distance."""
    best, least = -1, math.inf
    for index, code in enumerate(codebook):
        distance = sum((float(a) - float(b)) ** 2 for a, b in zip(vector, code, strict=True))
        if distance < least:
            best, least = index, distance
    return best, least


def ema_step(
    state: Averages, vectors: Array, weights: Array, coeff: float, epsilon: float
) -> Averages:
    """van den Oord et al. 2017, equations 6 to 8, with weights and Laplace smoothing; no revival.

    vectors (n, EMB), weights (n,). Tokens are assigned with the codebook before the step.
    """
    hits = [0.0] * len(state.count)
    sums = np.zeros_like(state.total, dtype=np.float64)
    for vector, weight in zip(vectors, weights, strict=True):
        index, _ = nearest_code(vector, state.codebook)
        hits[index] += float(weight)
        sums[index] += float(weight) * np.asarray(vector, np.float64)
    count = np.array(
        [coeff * old + (1 - coeff) * new for old, new in zip(state.count, hits, strict=True)]
    )
    total = coeff * np.asarray(state.total, np.float64) + (1 - coeff) * sums
    n = math.fsum(count)
    codebook = np.empty_like(total)
    for index, row in enumerate(total):
        smoothed = (count[index] + epsilon) / (n + len(count) * epsilon) * n
        codebook[index] = row / smoothed
    return Averages(codebook, count, total)


def rotated(latent: Array, code: Array) -> Array:
    """The matrix that turns a latent into a code, by two reflections (Householder 1958)."""
    direction, target = latent / np.linalg.norm(latent), code / np.linalg.norm(code)

    def mirror(normal: Array) -> Array:
        return np.eye(len(normal)) - 2 * np.outer(normal, normal) / (normal @ normal)

    turn = mirror(target) @ mirror(direction + target)
    return turn * np.linalg.norm(code) / np.linalg.norm(latent)


def cosine(a: Array, b: Array) -> float:
    """Of the angle between two vectors."""
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def perplexity(ids: list[int], weights: list[float]) -> float:
    """2 to the entropy in bits of weighted ids."""
    everything = math.fsum(weights)
    bits = 0.0
    for code in set(ids):
        share = math.fsum(w for i, w in zip(ids, weights, strict=True) if i == code) / everything
        if share > 0:
            bits -= share * math.log2(share)
    return float(2**bits)


def rearrange(cells: Array, rows: int, frames: int) -> Array:
    """Sub-pixel layer (Shi et al. 2016, equation 4): (F, T, rows * frames) -> (F * rows, ...)."""
    height, length, _ = cells.shape
    plane = np.empty((height * rows, length * frames))
    for y in range(height * rows):
        for x in range(length * frames):
            channel = (y % rows) * frames + x % frames
            plane[y, x] = cells[y // rows, x // frames, channel]
    return plane


def cqt_power(
    samples: Array, *, sample_rate: int, hop_length: int, frequencies: Array, bins_per_octave: int
) -> Array:
    """Constant-Q power (M, frames) as direct sums over time: Brown (1991), equation 5.

    Each window is a continuous Hann of Q cycles around the frame's centre, sampled at the
    recording's samples; a sine of amplitude 1 has power 1.
    """
    cycles = 1 / (2 ** (1 / bins_per_octave) - 1)
    power = np.zeros((len(frequencies), -(-len(samples) // hop_length)))
    for row, frequency in zip(power, frequencies, strict=True):
        half = cycles * sample_rate / frequency / 2
        for frame in range(len(row)):
            centre = frame * hop_length
            n = np.arange(
                max(math.ceil(centre - half), 0), min(math.floor(centre + half) + 1, len(samples))
            )
            window = (1 + np.cos(np.pi * (n - centre) / half)) / 2
            turned = np.exp(-2j * np.pi * frequency / sample_rate * (n - centre))
            row[frame] = abs(2 / half * np.sum(samples[n] * window * turned)) ** 2
    return power


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), bit by bit: RFC 3720, appendix B.4."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def chunk(name: bytes, body: bytes, *, size: int | None = None) -> bytes:
    """A RIFF chunk, padded to an even length; `size` is what its header says, true or not."""
    declared = len(body) if size is None else size
    return name + declared.to_bytes(4, "little") + body + b"\0" * (len(body) % 2)


def fmt_chunk(
    *, sample_rate: int, channels: int = 1, bits: int = 16, tag: int = 1, extensible: bool = False
) -> bytes:
    """The fmt chunk of a WAV file (RIFF MCI, 1991); tag 1 is PCM, 3 is IEEE float."""
    align = channels * bits // 8
    fields = [
        *((0xFFFE if extensible else tag, 2), (channels, 2), (sample_rate, 4)),
        *((sample_rate * align, 4), (align, 2), (bits, 2)),
    ]
    body = b"".join(value.to_bytes(length, "little") for value, length in fields)
    if extensible:
        guid = tag.to_bytes(2, "little") + bytes.fromhex("000000001000800000aa00389b71")
        body += b"".join(v.to_bytes(n, "little") for v, n in ((22, 2), (bits, 2), (0, 4))) + guid
    return chunk(b"fmt ", body)


def wav_bytes(
    data: bytes,
    *,
    data_size: int | None = None,
    before: bytes = b"",
    after: bytes = b"",
    **fmt: int,
) -> bytes:
    """A WAV file byte by byte: fmt, `before`, data, `after`; `data_size` as the header says."""
    body = b"WAVE" + fmt_chunk(**fmt) + before + chunk(b"data", data, size=data_size) + after
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def mean_square(values: list[float]) -> float:
    """Mean of squares, NaN of nothing."""
    return math.fsum(value**2 for value in values) / len(values) if values else math.nan


def unexplained(groups: dict[object, list[float]]) -> float:
    """Mean squared error of cells, each told by the mean of its group."""
    errors = []
    for values in groups.values():
        mean = math.fsum(values) / len(values)
        errors += [value - mean for value in values]
    return mean_square(errors)


def reconstruction_figures(
    tiles: Array,
    made: Array,
    ids: NDArray[np.int32],
    distances: Array,
    *,
    valid_frames: list[int],
    scales_db: list[float],
    sound: NDArray[np.bool_],
    strides: tuple[int, int],
) -> dict[str, float]:
    """Every figure of a VQ-VAE but its codebooks', cell by cell and token by token.

    tiles and made (n, M, M), ids, distances and sound (n, columns, bands), strides (frequency,
    time). The commitment is not yet divided by the dimensions.
    """
    errors: list[float] = []
    errors_db: list[float] = []
    loud_errors_db: list[float] = []
    groups: list[dict[object, list[float]]] = [{}, {}, {}]
    for n, bin_, frame in np.ndindex(tiles.shape):
        if frame >= valid_frames[n]:
            continue
        value = float(tiles[n, bin_, frame])
        error = value - float(made[n, bin_, frame])
        errors.append(error)
        errors_db.append(error * float(scales_db[n]))
        if sound[n, frame // strides[1], bin_ // strides[0]]:
            loud_errors_db.append(errors_db[-1])
        for group, key in zip(groups, (None, bin_, (bin_, frame)), strict=True):
            group.setdefault(key, []).append(value)
    kept = [at for at in np.ndindex(ids.shape) if at[1] * strides[1] < valid_frames[at[0]]]
    constant, bands, tile = map(unexplained, groups)
    return {
        "tiles": len(tiles),
        "tokens": len(kept),
        "sound_tokens": sum(bool(sound[at]) for at in kept),
        "reconstruction": mean_square(errors),
        "reconstruction_db": mean_square(errors_db),
        "sound_reconstruction_db": mean_square(loud_errors_db),
        "commitment": mean_square([float(distances[at]) ** 0.5 for at in kept]),
        "baseline_constant": constant,
        "baseline_bands": bands,
        "baseline_tile": tile,
    }


def codebook_figures(ids: list[int], codebook_size: int) -> dict[str, float]:
    """Usage, entropy, perplexity and top1 of some ids."""
    if not ids:
        return dict.fromkeys(("usage", "entropy", "perplexity", "top1"), math.nan)
    codes = perplexity(ids, [1.0] * len(ids))
    return {
        "usage": len(set(ids)) / codebook_size,
        "entropy": math.log(codes) / math.log(codebook_size),
        "perplexity": codes,
        "top1": max(ids.count(code) for code in set(ids)) / len(ids),
    }


def sound_tokens(
    levels: Array,
    recordings: list[str],
    *,
    valid_frames: list[int],
    strides: tuple[int, int],
    silence_db: float,
    quietest_db: float,
) -> NDArray[np.bool_]:
    """True for tokens (n, columns, bands) whose mean level is over quietest_db, and less than
    silence_db under the loudest valid cell of the recording's tiles; levels (n, M, M) in dB.
    """
    count, bins, frames = levels.shape
    peaks = dict.fromkeys(recordings, -math.inf)
    for n, name in enumerate(recordings):
        for bin_, frame in np.ndindex(bins, valid_frames[n]):
            peaks[name] = max(peaks[name], float(levels[n, bin_, frame]))
    cells: dict[tuple[int, int, int], list[float]] = {}
    for n, bin_, frame in np.ndindex(levels.shape):
        key = (n, frame // strides[1], bin_ // strides[0])
        cells.setdefault(key, []).append(float(levels[n, bin_, frame]))
    loud = np.zeros((count, -(-frames // strides[1]), -(-bins // strides[0])), bool)
    for key, values in cells.items():
        mean = math.fsum(values) / len(values)
        loud[key] = mean > max(peaks[recordings[key[0]]] - silence_db, quietest_db)
    return loud


def cwt_power(
    samples: Array, *, sample_rate: int, hop_length: int, frequencies: Array, omega: float = 6.0
) -> Array:
    """Squared moduli (M, frames) of Morlet wavelets of gain 2 at +f, summed sample by sample.

    Beyond 9 of its scales a wavelet is under 1e-17 of its peak.
    """
    frames = -(-len(samples) // hop_length)
    power = np.empty((len(frequencies), frames))
    for row, frequency in enumerate(frequencies):
        scale = omega * sample_rate / (2 * np.pi * frequency)
        for frame in range(frames):
            centre, reach = frame * hop_length, math.ceil(9 * scale)
            n = np.arange(max(centre - reach, 0), min(centre + reach + 1, len(samples)))
            t = (n - centre) / scale
            wavelet = np.exp(-1j * omega * t - t * t / 2) / (scale * np.sqrt(2 * np.pi))
            power[row, frame] = np.abs(2 * (samples[n] * wavelet).sum()) ** 2
    return power


def energy_delay(responses: Array) -> float:
    """Samples by which a band's energy is late, from its coefficients (D, n) of unit impulses.

    The impulses stand at samples 0 to D - 1, where D is the band's decimation: the energy of
    coefficient n is there D n + D - 1 - impulse samples after the impulse.
    """
    step = len(responses)
    moment = energy = 0.0
    for impulse, coefficients in enumerate(responses):
        for n, coefficient in enumerate(coefficients):
            moment += (step * n + step - 1 - impulse) * float(coefficient) ** 2
            energy += float(coefficient) ** 2
    return moment / energy


def _triangle_area(place: float) -> float:
    """Area left of a place under a triangle of area 1 from -1 to 1: a second difference."""
    ramps = [max(place - corner, 0.0) ** 2 / 2 for corner in (-1, 0, 1)]
    return ramps[0] - 2 * ramps[1] + ramps[2]


def laid_energy(
    bands: list[Array], steps: list[int], delays: list[float], *, hop_length: int, frames: int
) -> Array:
    """Power (bands, frames) of wavelet coefficients, each spread over its own triangle.

    Coefficient n of a band stands at sample step * n + step - 1 - delay, and its square is
    spread over a triangle from one step before to one step after it. A frame gets 2 / hop_length
    times what falls between half a hop before and half a hop after its centre.
    """
    power = np.zeros((len(bands), frames))
    for row, coefficients, step, delay in zip(power, bands, steps, delays, strict=True):
        for n, coefficient in enumerate(coefficients):
            centre = step * n + step - 1 - delay
            first = math.floor((centre - step) / hop_length + 0.5)
            last = math.floor((centre + step) / hop_length + 0.5)
            for frame in range(max(first, 0), min(last + 1, frames)):
                edges = [(frame + side) * hop_length for side in (-0.5, 0.5)]
                before, after = (_triangle_area((edge - centre) / step) for edge in edges)
                row[frame] += 2 / hop_length * (after - before) * float(coefficient) ** 2
    return power


def rate_of_unk(ids, codebook_size):
    """Share of `<unk>` among codes and `<unk>`, without other special tokens."""
    unknown = int((ids == codebook_size).sum())
    return unknown / (unknown + int((ids < codebook_size).sum()))


def window_totals(rows: Array, table: Array, window: int, length: int) -> list[int]:
    """Evidence of one window with every window, added up cell by cell.

    rows (time, bands) choose rows and columns of table (bands, CB + 1, CB + 1).
    """
    return [
        sum(
            int(table[band, rows[window + step, band], rows[place + step, band]])
            for step in range(length)
            for band in range(rows.shape[1])
        )
        for place in range(len(rows) - length + 1)
    ]


def best_window(
    rows: Array, table: Array, length: int, *, apart: int, inside: Array
) -> list[tuple[int, int]]:
    """For each window its best evidence elsewhere, and the mean with every eighth window.

    All windows are in one segment: at most 256.
    """
    found = []
    for window in range(len(rows) - length + 1):
        totals = window_totals(rows, table, window, length)
        kept = [
            total
            for place, total in enumerate(totals)
            if inside[place] and abs(place - window) >= max(apart, length)
        ]
        found.append((max(kept), math.floor(sum(totals[::8]) / len(totals[::8]))))
    return found


def best_path(cells: Array) -> float:
    """Best sum of a path from any cell to any other, by trying all of them.

    A step is one row and one column, or two of one and one of the other: the cell beside the path
    that is skipped counts by half.
    """
    rows, columns = cells.shape

    def onward(row: int, column: int) -> float:
        best = 0.0
        for down, right in ((1, 1), (1, 2), (2, 1)):
            to, across = row + down, column + right
            if to < rows and across < columns:
                if right == 2:
                    skipped = cells[to, across - 1]
                else:
                    skipped = cells[to - 1, across] if down == 2 else 0.0
                best = max(best, float(skipped) / 2 + float(cells[to, across]) + onward(to, across))
        return best

    every = [float(cells[r, c]) + onward(r, c) for r in range(rows) for c in range(columns)]
    return max(0.0, *every)
