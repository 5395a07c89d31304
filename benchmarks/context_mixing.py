"""A compressor that mixes contexts, as PAQ does: the baseline of benchmarks/token_model.py.

Each id is a path of binary choices down a tree of the codebook. Nine hashed contexts, an exact
match of the last three ids of a band, and perhaps soft copies guess each choice; a logistic mixer
learns their weights as it goes (Mahoney 2005, "Adaptive weighing of context models"). Needs Numba.
"""

import numba
import numpy as np

CONTEXTS = 9
INPUTS = 2 * CONTEXTS + 4
_TABLE = 22  # bits of a hashed context
_MATCHES = 18
_NO_ID = 1 << 20
_RATE = 0.003  # of the mixer


def tree_leaves(codes: np.ndarray) -> tuple[np.ndarray, int]:
    """The leaf of each code in a balanced tree that halves along first principal components.

    Returns leaves and the depth of the tree. The number of codes is a power of 2.
    """
    depth = len(codes).bit_length() - 1
    leaves = np.zeros(len(codes), np.int64)

    def divide(some: np.ndarray, level: int, prefix: int) -> None:
        if level == depth:
            leaves[some[0]] = prefix
            return
        centred = codes[some] - codes[some].mean(axis=0)
        axis = np.linalg.svd(centred, full_matrices=False)[2][0]
        order, half = some[np.argsort(centred @ axis)], len(some) // 2
        divide(order[:half], level + 1, 2 * prefix)
        divide(order[half:], level + 1, 2 * prefix + 1)

    divide(np.arange(len(codes)), 0, 0)
    return leaves, depth


def mixing_bits(
    leaves: np.ndarray, depth: int, copies: np.ndarray | None, nearness: np.ndarray | None
) -> np.ndarray:
    """Bits (time, bands) of one recording's leaves (time, bands).

    copies: (time, bands, codes) probabilities by leaf, or None; nearness: (time,) whole numbers
    below 8, which choose the weights of the mixer.
    """
    bands = leaves.shape[1]
    weights = np.zeros((8, bands, depth, INPUTS))
    weights[..., 0 : 2 * CONTEXTS : 2] = 0.25
    weights[..., 2 * CONTEXTS + 2] = 0.2
    chances, counts = np.full(1 << _TABLE, 0.5), np.zeros(1 << _TABLE)
    soft = np.zeros((1, bands, 1 << depth), np.float32) if copies is None else copies
    near = np.zeros(len(leaves), np.int64) if nearness is None else nearness
    places = np.zeros(1 << _MATCHES, np.int64)
    return _run(leaves, depth, chances, counts, weights, soft, near, copies is not None, places)


@numba.njit(cache=True)
def _hash(first: np.uint64, second: np.uint64) -> np.uint64:
    mixed = first * np.uint64(0x9E3779B97F4A7C15) + second * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed += np.uint64(0x165667B19E3779F9)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return mixed ^ (mixed >> np.uint64(32))


@numba.njit(cache=True)
def _contexts(x, t, b, out):
    bands = x.shape[1]
    none = _NO_ID
    before = x[t - 1, b] if t > 0 else none
    earlier = x[t - 2, b] if t > 1 else none
    below = x[t, b - 1] if b > 0 else none
    lower = x[t, b - 2] if b > 1 else none
    above = x[t - 1, b + 1] if t > 0 and b < bands - 1 else none
    band = np.uint64(b)
    column = np.uint64(0)
    if t > 0:
        for k in range(bands):
            column = _hash(column, np.uint64(x[t - 1, k]))
    two = column
    if t > 1:
        for k in range(bands):
            two = _hash(two, np.uint64(x[t - 2, k]))
    now = np.uint64(0)
    for k in range(b):
        now = _hash(now, np.uint64(x[t, k]))
    for c in range(CONTEXTS):
        out[c] = _hash(np.uint64(c + 1), band)
    out[1] = _hash(out[1], np.uint64(before))
    out[2] = _hash(_hash(out[2], np.uint64(before)), np.uint64(below))
    out[3] = _hash(_hash(out[3], np.uint64(before)), np.uint64(earlier))
    out[4] = _hash(_hash(out[4], np.uint64(below)), np.uint64(lower))
    out[5] = _hash(out[5], column)
    out[6] = _hash(_hash(_hash(out[6], np.uint64(before)), np.uint64(above)), np.uint64(below))
    out[7] = _hash(_hash(out[7], two), now)
    out[8] = _hash(out[8], np.uint64(below))


@numba.njit(cache=True, fastmath=True)
def _run(x, depth, chances, counts, weights, soft, near, with_copies, places):
    time, bands = x.shape
    leaves = 1 << depth
    bits = np.zeros((time, bands))
    inputs, slots = np.zeros(INPUTS), np.zeros(CONTEXTS, np.int64)
    contexts, nodes = np.zeros(CONTEXTS, np.uint64), np.zeros(2 * leaves)
    match, length = np.full(bands, -1), np.zeros(bands, np.int64)
    mask = np.uint64((1 << _TABLE) - 1)
    for t in range(time):
        for b in range(bands):
            _contexts(x, t, b, contexts)
            expected = x[match[b], b] if length[b] > 0 and match[b] < t else -1
            gate = 0
            if with_copies:
                gate = near[t]
                for k in range(leaves):
                    nodes[leaves + k] = soft[t, b, k]
                for k in range(leaves - 1, 0, -1):
                    nodes[k] = nodes[2 * k] + nodes[2 * k + 1]
            node = 1
            for d in range(depth - 1, -1, -1):
                bit = (x[t, b] >> d) & 1
                for c in range(CONTEXTS):
                    slot = int(_hash(contexts[c], np.uint64(node)) & mask)
                    slots[c] = slot
                    p = chances[slot]
                    inputs[2 * c] = np.log(p / (1 - p))
                    inputs[2 * c + 1] = (p - 0.5) * min(counts[slot], 30) * 0.2
                inputs[2 * CONTEXTS] = 0.3
                inputs[2 * CONTEXTS + 1] = 0.0
                if expected >= 0 and (expected >> (d + 1)) == (x[t, b] >> (d + 1)):
                    side = ((expected >> d) & 1) * 2 - 1
                    inputs[2 * CONTEXTS + 1] = side * min(length[b], 16) * 0.25
                inputs[2 * CONTEXTS + 2] = inputs[2 * CONTEXTS + 3] = 0.0
                if with_copies:
                    q = (nodes[2 * node + 1] + 1e-4) / (nodes[node] + 2e-4)
                    inputs[2 * CONTEXTS + 2] = np.log(q / (1 - q))
                    inputs[2 * CONTEXTS + 3] = (q - 0.5) * 4
                own = weights[gate, b, d]
                total = 0.0
                for k in range(INPUTS):
                    total += own[k] * inputs[k]
                p = min(max(1 / (1 + np.exp(-total)), 1e-5), 1 - 1e-5)
                bits[t, b] -= np.log2(p if bit else 1 - p)
                for k in range(INPUTS):
                    own[k] += (bit - p) * _RATE * inputs[k]
                for slot in slots:
                    rate = 1 / (counts[slot] + 1.6)
                    chances[slot] += (bit - chances[slot]) * rate
                    chances[slot] = min(max(chances[slot], 1e-4), 1 - 1e-4)
                    counts[slot] = min(counts[slot] + 1, 250)
                node = node * 2 + bit
        for b in range(bands):
            if length[b] > 0 and match[b] < t and x[match[b], b] == x[t, b]:
                length[b] += 1
                match[b] += 1
            else:
                length[b] = 0
            if t > 1:
                key = _hash(_hash(np.uint64(b), np.uint64(x[t, b])), np.uint64(x[t - 1, b]))
                key = _hash(key, np.uint64(x[t - 2, b]))
                place = int(key & np.uint64((1 << _MATCHES) - 1))
                if length[b] == 0 and 0 < places[place] <= t:
                    match[b], length[b] = places[place], 1
                places[place] = t + 1
    return bits
