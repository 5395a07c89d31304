"""The token model: embed -> recurrent and attending blocks -> bands in turn -> logits.

De et al. 2024 (arXiv:2402.19427, Griffin) for the blocks; Defossez et al. 2024 (arXiv:2410.00037,
Moshi) for time over columns and depth over the bands of a column. Its weights have the names and
shapes of `ulmo.bundle.token_weights`. `ulmo.sequence.network` gives the same logits in NumPy.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from ulmo.arrays import Array
from ulmo.config.token_model import (
    CHUNK,
    DECAY,
    LEAST,
    NORM_EPSILON,
    TokenModelSettings,
)
from ulmo.models.token_model.scan import scan
from ulmo.vocabulary import SPECIAL_TOKENS, Vocabulary

_SLOWEST = 0.999  # of the initial decays in a column, which are drawn from 0.9 on


class ModelState(NamedTuple):
    """What the model knows of the past of each stream."""

    segment: Any  # (streams,) int32: stretches without a gap so far
    segments: Any  # (streams, CHUNK) int32: the stretch of each column before; -1: there was none
    memory: tuple[Any, ...]  # of each block: (streams, width), or (streams, 2, CHUNK, width)


@keras.saving.register_keras_serializable(package="ulmo")
class TokenModel(keras.Model):
    """Logits of the next column's tokens; see the module.

    settings: sizes. shapes: name and shape of each weight. codes: (CB, EMB) vectors of the codes,
    which are not trained. dropout: share of numbers that a training step leaves out. bias: that of
    attention, (heads, CHUNK, 2 CHUNK). seed: of the initial weights and of dropout.
    """

    def __init__(
        self,
        settings: TokenModelSettings,
        shapes: dict[str, tuple[int, ...]],
        codes: Array,
        bias: Array,
        *,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.shapes = shapes
        self._bias = bias
        self._drop = keras.layers.Dropout(dropout, seed=seed)
        self._vocabulary = Vocabulary(settings.codebook_size)
        generator = np.random.default_rng([seed, 7])
        self.named: dict[str, Any] = {}
        for name, shape in shapes.items():
            value = codes if name == "codes" else _initial(name, shape, settings, generator)
            variable = self.add_weight(
                name=name.replace(".", "_"),
                shape=shape,
                initializer=keras.initializers.Constant(value),
                trainable=name != "codes",
            )
            self.named[name] = variable
        self.built = True

    def begin(self, streams: int) -> ModelState:
        """The state before the first column."""
        settings = self.settings
        memory = tuple(
            np.zeros((streams, settings.width), np.float32)
            if kind == "recurrent"
            else np.zeros((streams, 2, CHUNK, settings.width), np.float32)
            for kind in settings.kinds
        )
        none = np.full((streams, CHUNK), -1, np.int32)
        return ModelState(np.zeros(streams, np.int32), none, memory)

    def call(self, ids: Any, state: ModelState, training: bool = False) -> tuple[Any, ModelState]:
        """Logits (streams, T, bands, CB) of columns 1 to T, from those before each.

        ids: (streams, T + 1, bands) int32; T is a multiple of CHUNK.
        """
        vectors = self._vectors(ids)
        inputs, bos, gap = ids[:, :-1], self._vocabulary.bos, self._vocabulary.gap
        resets = ops.any((inputs == bos) | (inputs == gap), axis=-1)  # (streams, T)
        segments = state.segment[:, None] + ops.cumsum(ops.cast(resets, "int32"), axis=1)
        kept = 1 - ops.cast(resets, "float32")[..., None]
        streams, columns = ops.shape(ids)[0], ids.shape[1] - 1
        known = (streams, columns, self.shapes["embed.kernel"][0])
        x = self._dense("embed", ops.reshape(vectors[:, :-1], known))
        memory = []
        for number, kind in enumerate(self.settings.kinds):
            name, before = f"block_{number}", state.memory[number]
            y = self._norm(f"{name}.norm", x)
            if kind == "recurrent":
                mixed, after = self._recurrent(name, y, before, kept)
            else:
                mixed, after = self._attend(name, y, before, segments, state.segments)
            memory.append(after)
            x = x + self._drop(self._dense(f"{name}.out", mixed), training=training)
            y = self._gated(f"{name}.mlp", self._norm(f"{name}.mlp.norm", x))
            x = x + self._drop(y, training=training)
        logits = self._bands(self._norm("norm", x), vectors[:, 1:])
        after = ModelState(segments[:, -1], segments[:, -CHUNK:], tuple(memory))
        return logits, after

    def _vectors(self, ids: Any) -> Any:
        """(..., bands, EMB)."""
        used = self.settings.codebook_size + len(SPECIAL_TOKENS)
        table = ops.concatenate([self.named["codes"], self.named["specials"]])
        return ops.take(table, ops.minimum(ids, used - 1), axis=0)

    def _bands(self, x: Any, vectors: Any) -> Any:
        parts = [x + self.named["bands"][0]]
        for band in range(1, self.settings.bands):
            shape = (-1, x.shape[1], band * self.settings.embedding_dim)
            below = ops.reshape(vectors[:, :, :band], shape)
            parts.append(x + self.named["bands"][band] + self._dense(f"band_{band}", below))
        stacked = ops.stack(parts, axis=2)  # (streams, T, bands, width)
        stacked = stacked + self._gated("head", stacked)
        return ops.matmul(stacked, self.named["logits.kernel"]) + self.named["logits.bias"]

    def _recurrent(self, name: str, y: Any, before: Any, present: Any) -> tuple[Any, Any]:
        """RG-LRU (De et al. 2024, equations 1 to 4), times its gate."""
        forget, take, value, gate = ops.split(self._dense(f"{name}.in", y), 4, axis=-1)
        rate = -DECAY * ops.softplus(self.named[f"{name}.decay"])
        kept = ops.exp(rate * ops.sigmoid(forget)) * present
        added = ops.sqrt(ops.maximum(1 - kept * kept, LEAST)) * ops.sigmoid(take) * value
        memory, after = scan(kept, added, before)
        return memory * ops.silu(gate), after

    def _attend(
        self, name: str, y: Any, before: Any, segments: Any, earlier: Any
    ) -> tuple[Any, Any]:
        """Attention over the last CHUNK columns of the same stretch, a chunk at a time."""
        heads, columns = self.settings.heads, y.shape[1]
        size, number = self.settings.width // heads, columns // CHUNK
        query, key, value = ops.split(self._dense(f"{name}.in", y), 3, axis=-1)

        def pairs(first: Any, rest: Any, tail: tuple[int, ...]) -> Any:
            """Each chunk (streams, chunks, 2 CHUNK, ...) behind the one before it."""
            row = ops.concatenate([first, rest], axis=1)
            every = ops.reshape(row, (-1, number + 1, CHUNK, *tail))
            return ops.concatenate([every[:, :-1], every[:, 1:]], axis=2)

        split = (heads, size)
        queries = ops.reshape(query, (-1, number, CHUNK, *split))
        keys = pairs(before[:, 0], key, split)
        values = pairs(before[:, 1], value, split)
        own = ops.reshape(segments, (-1, number, CHUNK, 1))
        alike = own == pairs(earlier, segments, ())[:, :, None]  # (streams, chunks, CHUNK, 2 CHUNK)
        logits = ops.einsum("bnqhd,bnkhd->bnhqk", queries, keys) / np.sqrt(size) + self._bias
        logits = ops.where(alike[:, :, None], logits, -1e9)
        mixed = ops.einsum("bnhqk,bnkhd->bnqhd", ops.softmax(logits), values)
        after = ops.stack([key[:, -CHUNK:], value[:, -CHUNK:]], axis=1)
        return ops.reshape(mixed, (-1, columns, self.settings.width)), after

    def _dense(self, name: str, x: Any) -> Any:
        return ops.matmul(x, self.named[f"{name}.kernel"]) + self.named[f"{name}.bias"]

    def _norm(self, name: str, x: Any) -> Any:
        """RMSNorm (Zhang and Sennrich 2019)."""
        size = ops.mean(x * x, axis=-1, keepdims=True)
        return x * ops.rsqrt(size + NORM_EPSILON) * self.named[name]

    def _gated(self, name: str, x: Any) -> Any:
        """A gated MLP (Shazeer 2020)."""
        gate, value = ops.split(self._dense(f"{name}.in", x), 2, axis=-1)
        return self._dense(f"{name}.out", ops.silu(gate) * value)

    def weights_of(self) -> dict[str, Array]:
        """All weights by name."""
        return {name: np.asarray(variable, np.float32) for name, variable in self.named.items()}


def _initial(
    name: str, shape: tuple[int, ...], settings: TokenModelSettings, draw: np.random.Generator
) -> Array:
    """Initial values of a weight."""
    if name.endswith("norm"):
        return np.ones(shape, np.float32)
    if name.endswith(".decay"):  # so that a^c lies between 0.9 and _SLOWEST if the gate is open
        kept = draw.uniform(0.9, _SLOWEST, shape)
        return np.log(np.expm1(-np.log(kept) / DECAY * 2)).astype(np.float32)
    if name.endswith("bias") or name == "bands":
        return np.zeros(shape, np.float32)
    scale = 1 / np.sqrt(shape[0]) if name.endswith("kernel") else 1.0
    if name.startswith("block") and name.endswith("out.kernel"):
        scale /= np.sqrt(2 * settings.blocks)
    return (scale * draw.standard_normal(shape)).astype(np.float32)
