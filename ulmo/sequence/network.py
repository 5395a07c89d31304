"""The token model's network in NumPy: what scores tokens, without TensorFlow.

    column -> embed -> blocks (recurrent, or attention over a window) -> bands in turn -> bits

It computes CHUNK columns at once, always in arrays of the same shapes, and hands its state on. So
the numbers of a column depend on the columns before it alone, to the last bit. Its Keras twin, from
which the weights come, is `ulmo.models.token_model`.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Array, Ids, Mask
from ulmo.config.token_model import (
    CHUNK,
    DECAY,
    LEAST,
    NORM_EPSILON,
    TokenModelSettings,
    attention_slopes,
)
from ulmo.vocabulary import SPECIAL_TOKENS, Vocabulary

Weights = Mapping[str, Array]


class State(NamedTuple):
    """What the network knows of the past; the parts of a block have its number."""

    previous: Ids  # (bands,): the column before
    segment: int  # stretches without a gap so far
    segments: Ids  # (CHUNK,): the stretch of each column of the chunk before; -1: there was none
    memory: tuple[Array, ...]  # (width,) of each block; of attention: (2, CHUNK, width)


class Network:
    """Scores chunks of columns; `weights` are those of `ulmo.bundle.token_weights`, float32."""

    def __init__(self, settings: TokenModelSettings, weights: Weights) -> None:
        self.settings = settings
        self._weights = {name: np.asarray(each, np.float32) for name, each in weights.items()}
        vocabulary = Vocabulary(settings.codebook_size)
        self._vocabulary = vocabulary
        table = np.zeros((vocabulary.size, settings.embedding_dim), np.float32)
        table[: settings.codebook_size] = self._weights["codes"]
        end = settings.codebook_size + len(SPECIAL_TOKENS)
        table[settings.codebook_size : end] = self._weights["specials"]
        self._table = table
        self._bias = attention_bias(settings.heads)
        zero = np.float32(0)
        self._rates = {  # of each recurrent block, (width,)
            name.removesuffix(".decay"): -DECAY * np.logaddexp(each, zero)
            for name, each in self._weights.items()
            if name.endswith(".decay")
        }

    def begin(self) -> State:
        """The state before the first column of a recording."""
        settings = self.settings
        memory = tuple(
            np.zeros(settings.width, np.float32)
            if kind == "recurrent"
            else np.zeros((2, CHUNK, settings.width), np.float32)
            for kind in settings.kinds
        )
        none = np.full(CHUNK, -1, np.int32)
        return State(np.full(settings.bands, self._vocabulary.bos, np.int32), 0, none, memory)

    def chunk(self, ids: Ids, state: State) -> tuple[Array, State]:
        """Probabilities (bands, CHUNK, CB) of the tokens of columns (CHUNK, bands); what follows.

        Those of a token depend on the columns before it and the lower bands of its own.
        """
        inputs = np.concatenate([state.previous[None], ids[:-1]])
        breaks = [self._vocabulary.gap, self._vocabulary.bos]
        resets: Mask = np.asarray(np.isin(inputs, breaks).any(axis=1))
        segments = (state.segment + np.cumsum(resets)).astype(np.int32)
        x = self._dense("embed", self._table[inputs].reshape(CHUNK, -1))
        memory = []
        for number, kind in enumerate(self.settings.kinds):
            name, before = f"block_{number}", state.memory[number]
            y = self._norm(f"{name}.norm", x)
            if kind == "recurrent":
                mixed, after = self._recurrent(name, y, before, resets)
            else:
                mixed, after = self._attend(name, y, before, segments, state.segments)
            memory.append(after)
            x = x + self._dense(f"{name}.out", mixed)
            x = x + self._gated(f"{name}.mlp", self._norm(f"{name}.mlp.norm", x))
        logits = self._bands(self._norm("norm", x), ids)
        new = State(ids[-1].copy(), int(segments[-1]), segments, tuple(memory))
        return softmax(logits), new

    def _bands(self, x: Array, ids: Ids) -> Array:
        """Logits (bands, CHUNK, CB): each band sees the bands below it."""
        below = self._table[ids].reshape(CHUNK, -1)  # (CHUNK, bands * EMB)
        size, bands = self.settings.embedding_dim, self.settings.bands
        parts = np.empty((bands, *x.shape), np.float32)
        np.add(x, self._weights["bands"][:, None], out=parts)
        for band in range(1, bands):
            known = np.ascontiguousarray(below[:, : band * size])
            parts[band] += self._dense(f"band_{band}", known)
        stacked = parts.reshape(bands * CHUNK, -1)
        stacked += self._gated("head", stacked)
        logits = (stacked @ self._weights["logits.kernel"]).reshape(bands, CHUNK, -1)
        logits += self._weights["logits.bias"][:, None]
        return logits

    def _recurrent(self, name: str, y: Array, before: Array, resets: Mask) -> tuple[Array, Array]:
        """RG-LRU (De et al. 2024, equations 1 to 4), times its gate: (CHUNK, width), and its end.

        `before` (width,) is its memory; a column that `resets` has none.
        """
        forget, take, value, gate = np.split(self._dense(f"{name}.in", y), 4, axis=-1)
        kept = np.exp(self._rates[name] * sigmoid(forget))
        kept[resets] = 0
        added = np.sqrt(np.maximum(1 - kept * kept, LEAST)) * sigmoid(take) * value
        memory = added
        for keep, here in zip(kept, memory, strict=True):
            here += keep * before
            before = here
        return memory * silu(gate), before.copy()

    def _attend(
        self, name: str, y: Array, before: Array, segments: Ids, earlier: Ids
    ) -> tuple[Array, Array]:
        """Attention over the last CHUNK columns of the same stretch: (CHUNK, width), and keys."""
        heads = self.settings.heads
        query, key, value = np.split(self._dense(f"{name}.in", y), 3, axis=-1)
        keys, values = np.concatenate([before[0], key]), np.concatenate([before[1], value])
        alike = segments[:, None] == np.concatenate([earlier, segments])[None]
        query, keys_of, values_of = (_by_head(each, heads) for each in (query, keys, values))
        logits = query @ keys_of.transpose(0, 2, 1) / np.float32(np.sqrt(query.shape[-1]))
        logits = np.where(alike, logits + self._bias, np.float32(-1e9))
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = (weights @ values_of).transpose(1, 0, 2).reshape(CHUNK, -1)
        return mixed, np.stack([key, value])

    def _dense(self, name: str, x: Array) -> Array:
        sums: Array = x @ self._weights[f"{name}.kernel"]
        sums += self._weights[f"{name}.bias"]
        return sums

    def _norm(self, name: str, x: Array) -> Array:
        """RMSNorm (Zhang and Sennrich 2019)."""
        size = np.mean(x * x, axis=-1, keepdims=True)
        normalized: Array = x / np.sqrt(size + np.float32(NORM_EPSILON)) * self._weights[name]
        return normalized

    def _gated(self, name: str, x: Array) -> Array:
        """A gated MLP (Shazeer 2020)."""
        gate, value = np.split(self._dense(f"{name}.in", x), 2, axis=-1)
        return self._dense(f"{name}.out", silu(gate) * value)


def attention_bias(heads: int) -> Array:
    """(heads, CHUNK, 2 CHUNK): what a column's attention to those before it begins with.

    It falls with the distance, at another rate in each head (Press et al. 2022, ALiBi); later
    columns, and those CHUNK or more before, have -1e9.
    """
    here, there = np.arange(CHUNK)[:, None] + CHUNK, np.arange(2 * CHUNK)[None]
    distance = here - there
    slopes = np.array(attention_slopes(heads))[:, None, None]
    inside = (distance >= 0) & (distance < CHUNK)
    return np.where(inside, -slopes * distance, -1e9).astype(np.float32)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)); large numbers do not overflow."""
    half = np.float32(0.5)
    share: Array = half * (np.tanh(half * x) + np.float32(1))
    return share


def silu(x: Array) -> Array:
    """x times its sigmoid."""
    return x * sigmoid(x)


def softmax(logits: Array) -> Array:
    """Probabilities over the last axis. The logits are overwritten."""
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=-1, keepdims=True)
    return logits


def _by_head(x: Array, heads: int) -> Array:
    """(columns, width) to (heads, columns, width / heads)."""
    return np.ascontiguousarray(x.reshape(len(x), heads, -1).transpose(1, 0, 2))
