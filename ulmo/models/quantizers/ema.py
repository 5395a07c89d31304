"""Vector quantisation whose codebook follows exponential moving averages of the latents.

van den Oord, Vinyals and Kavukcuoglu 2017 (arXiv:1711.00937), section 3 and appendix A.1;
Razavi, van den Oord and Vinyals 2019 (arXiv:1906.00446), section 3.1.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ulmo.arrays import Array
from ulmo.models.centroids import kmeans_start
from ulmo.models.gradients import GRADIENTS
from ulmo.models.quantizers.base import (
    Quantized,
    Quantizer,
    lowest,
    nearest,
    ones_unless,
    scores_of,
)

# The decay of step t is at most (1 + t) / (_RAMP + t), as in tf.train.ExponentialMovingAverage.
#
# The encoder moves fastest in its first steps; a codebook with a memory of 100 batches stays
# behind, and all but a few codes lose all their tokens (measured: docs/log.md).
_RAMP = 10.0


@keras.saving.register_keras_serializable(package="ulmo")
class VectorQuantizerEMA(Quantizer):
    """Nearest code of a codebook (CB, EMB); float32 even under mixed precision.

    A training step assigns codes by the old codebook, then updates the averages N_i and m_i of
    each code (van den Oord et al. 2017, equations 6 to 8), then replaces dead codes by vectors of
    the batch. Only `start`, `load` and training steps change the state.

    `ema_coeff` = 0.99: gamma of that paper, which found it to work well; a memory of 100 batches.
    `epsilon` = 1e-5: Laplace smoothing of the counts, as in DeepMind's sonnet `nets/vqvae.py`.
    `dead_below` = 0.1: a code is dead if its count is below a tenth of the mean count.
    `balance` = 0: during training, frequently used codes are penalised (frequency-sensitive
    competitive learning, Ahalt et al. 1990, Neural Networks 3), which moves codes towards regions
    with many tokens: `balance` x the mean distance x log(count / mean count) is added to the
    squared distance. Outside training the nearest code is taken.
    `seed` decides the initial codebook and, with the step counter, each draw of new codes, so a
    resumed run draws what an uninterrupted one would draw.
    """

    starts_from_latents = True
    arguments = (
        *("codebook_size", "embedding_dim", "ema_coeff", "epsilon", "dead_below", "balance"),
        *("distance", "gradient", "seed"),
    )

    def __init__(
        self,
        *,
        ema_coeff: float = 0.99,
        epsilon: float = 1e-5,
        dead_below: float = 0.1,
        balance: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ema_coeff = ema_coeff
        self.epsilon = epsilon
        self.dead_below = dead_below
        self.balance = balance

    def build(self, latents_shape: tuple[int | None, ...]) -> None:
        """Create the state; codes are drawn from N(0, 1), as normalised latents are distributed."""
        book = (self.codebook_size, self.embedding_dim)
        normal = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
        self._codebook = self._state("codebook", book, normal)
        self.ema_count = self._state("ema_count", book[:1], "ones")
        self.ema_sum = self._state("ema_sum", book, normal)
        self.step = self._state("step", (), "zeros", dtype="int32")
        self.revive = self._state("revive", (), "ones", dtype="bool")

    def _state(
        self, name: str, shape: tuple[int, ...], initializer: Any, dtype: str = "float32"
    ) -> Any:
        return self.add_weight(
            name=name, shape=shape, initializer=initializer, dtype=dtype, trainable=False
        )

    def start(self, vectors: Array, counts: Array) -> None:
        """Set the codebook (CB, EMB) and its counts (CB,), with sum = count x vector."""
        vectors = np.asarray(self.placed(np.asarray(vectors, np.float32)))
        counts = np.asarray(counts, np.float32)
        self._codebook.assign(vectors)
        self.ema_count.assign(counts)
        self.ema_sum.assign(vectors * counts[:, None])

    def begin(self, latents: Array, tokens_per_batch: float, copies: Array | None = None) -> None:
        """Start from the k-means centroids of latents (n, EMB)."""
        self.start(
            *kmeans_start(latents, self.codebook_size, self.seed, tokens_per_batch=tokens_per_batch)
        )

    def load(self, stages: list[Array]) -> None:
        """Set the codebook, each code with a count of 1."""
        (vectors,) = stages
        self.start(vectors, np.ones(len(vectors), np.float32))

    def allow_revival(self, allowed: bool) -> None:
        """Allow or forbid the replacement of dead codes in the next steps."""
        self.revive.assign(allowed)

    def call(self, latents: Any, weights: Any = None, training: bool = False) -> Quantized:
        """Quantise latents (B, columns, bands, EMB).

        `weights` (B, columns, bands), at least 0, weigh tokens in the losses, the averages,
        perplexity, usage and revival. None: 1 each. Padding gets 0.
        """
        weights = ones_unless(weights, latents[..., 0])
        if training and self.balance:
            ids = self._fair(ops.stop_gradient(latents), weights)
        else:
            ids = nearest(latents, self._codebook)
        codes = ops.stop_gradient(self.embed(ids))
        if training:
            self._update(ops.stop_gradient(latents), ids, weights)
        passed = GRADIENTS[self.gradient](latents, codes)
        return self.result(latents, ids, codes, passed=passed, weights=weights)

    def _fair(self, latents: Any, weights: Any) -> Any:
        """Ids of the nearest codes after the penalty for frequent use.

        A code with less use than `dead_below` is treated as if it had just that.
        """
        scores = scores_of(latents, self._codebook)
        distances = ops.min(scores, axis=-1) + ops.sum(ops.square(latents), axis=-1)
        mean = ops.divide_no_nan(ops.sum(distances * weights), ops.sum(weights))
        use = ops.maximum(self.ema_count / ops.mean(self.ema_count), self.dead_below)
        return lowest(scores + self.balance * mean * ops.log(use))

    def _update(self, latents: Any, ids: Any, weights: Any) -> None:
        """One step of the averages (appendix A.1), then of the codebook, then revival.

        A batch that is all padding changes nothing.
        """
        vectors = ops.reshape(latents, (-1, self.embedding_dim))
        weights, ids = ops.reshape(weights, (-1,)), ops.reshape(ids, (-1,))
        counts = ops.segment_sum(weights, ids, self.codebook_size)
        sums = ops.segment_sum(vectors * weights[:, None], ids, self.codebook_size)
        step = ops.cast(self.step, "float32")
        decay = ops.minimum(self.ema_coeff, (1.0 + step) / (_RAMP + step))
        decay = ops.where(ops.any(weights > 0), decay, 1.0)
        count = self.ema_count * decay + counts * (1.0 - decay)
        total = self.ema_sum * decay + sums * (1.0 - decay)
        everything = ops.sum(count)
        smoothed = (count + self.epsilon) / (everything + self.codebook_size * self.epsilon)
        codebook = self.placed(total / (smoothed * everything)[:, None])

        chosen, replaced = self._replacements(count, vectors, weights)
        count = ops.where(replaced, ops.mean(count), count)
        replaced = replaced[:, None]
        self._codebook.assign(ops.where(replaced, chosen, codebook))
        self.ema_count.assign(count)
        self.ema_sum.assign(ops.where(replaced, chosen * count[:, None], total))
        self.step.assign_add(1)

    def _replacements(self, count: Any, vectors: Any, weights: Any) -> tuple[Any, Any]:
        """Vectors of the batch (CB, EMB) to replace codes, and which codes to replace (CB,).

        Tokens are drawn without replacement, with chances proportional to their weights
        (Efraimidis and Spirakis 2006: the largest of log(u) / weight). The first dead code takes
        the first token, and so on; if there are too few tokens, the remaining dead codes stay.
        """
        valid = weights > 0
        seed = (self.seed, self.step.value)
        uniform = tf.random.stateless_uniform(ops.shape(weights), seed, alg="philox")
        keys = ops.where(valid, ops.log(1.0 - uniform) / ops.where(valid, weights, 1.0), -np.inf)
        order = tf.argsort(keys, direction="DESCENDING")
        dead = ops.logical_and(count < self.dead_below * ops.mean(count), self.revive)
        rank = ops.cumsum(ops.cast(dead, "int32")) - 1
        available = ops.sum(ops.cast(valid, "int32"))
        rows = ops.take(order, ops.clip(rank, 0, ops.shape(weights)[0] - 1))
        return ops.take(vectors, rows, axis=0), ops.logical_and(dead, rank < available)
