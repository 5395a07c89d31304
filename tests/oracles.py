"""Slow, independent truths: each is written another way than the code that it judges."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Averages(NamedTuple):
    """State of an EMA codebook."""

    codebook: Array
    """(CB, EMB)"""
    count: Array
    """(CB,)"""
    total: Array
    """(CB, EMB)"""


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
