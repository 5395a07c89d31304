"""Vector quantisation whose codebook follows exponential moving averages of the latents.

van den Oord, Vinyals and Kavukcuoglu 2017 (arXiv:1711.00937), section 3 and appendix A.1;
Razavi, van den Oord and Vinyals 2019 (arXiv:1906.00446), section 3.1.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

RAMP = 10.0
"""The decay of step t is at most (1 + t) / (RAMP + t), as in tf.train.ExponentialMovingAverage.

The encoder moves fastest in its first steps; a codebook with a memory of 100 batches stays
behind, and all but a few codes lose every token (measured: docs/log.md).
"""
JITTER = 1e-3
"""Of the vectors' standard deviation: what sets copies of one vector apart in the codebook."""


class Quantized(NamedTuple):
    """What a quantizer makes of latents (B, columns, bands, EMB)."""

    ids: Any
    """(B, columns, bands) int32, the nearest code; of equally near ones the lowest id."""
    quantized: Any
    """(B, columns, bands, EMB): the codes; the gradient goes to the latents as it is."""
    distances: Any
    """(B, columns, bands): squared Euclidean distance to the chosen code, never negative."""
    commitment: Any
    """Scalar: weighted mean squared difference of latents and codes, gradient to the latents."""
    codebook: Any
    """Scalar: the same value without gradient. A metric: the averages move the codebook."""
    perplexity: Any
    """Scalar: exp of the entropy (nats) of this batch's weighted ids, 1 to CB."""
    usage: Any
    """Scalar: share of the codes that this batch uses, 0 to 1."""


@keras.saving.register_keras_serializable(package="ulmo")
class VectorQuantizerEMA(keras.layers.Layer):
    """Nearest code of a codebook (CB, EMB); float32 always, under mixed precision too.

    A training step assigns and looks up with the old codebook, then moves the averages N_i and
    m_i of each code (van den Oord et al. 2017, equations 6 to 8), and then gives dead codes a
    vector of the batch. Nothing but `start`, a training step and loading changes the state.

    `ema_coeff` = 0.99: gamma of that paper, found to work well there; a memory of 100 batches.
    `epsilon` = 1e-5: Laplace smoothing of the counts, as in DeepMind's sonnet `nets/vqvae.py`.
    `dead_below` = 0.1: a code is dead when its count is under a tenth of the mean count.
    `seed` rules the initial codebook and, with the step counter, each draw of new codes, so
    that a resumed run draws what the uninterrupted one would have drawn.
    """

    def __init__(
        self,
        *,
        codebook_size: int = 512,
        embedding_dim: int = 32,
        ema_coeff: float = 0.99,
        epsilon: float = 1e-5,
        dead_below: float = 0.1,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.codebook_size = codebook_size
        self.embedding_dim = embedding_dim
        self.ema_coeff = ema_coeff
        self.epsilon = epsilon
        self.dead_below = dead_below
        self.seed = seed

    def build(self, latents_shape: tuple[int | None, ...]) -> None:
        """Create the state; codes are drawn from N(0, 1), the scale of normalised latents."""
        book = (self.codebook_size, self.embedding_dim)
        normal = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
        self.codebook = self._state("codebook", book, normal)
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

    def start(self, vectors: Any, counts: Any) -> None:
        """Set the codebook (CB, EMB) and its counts (CB,), with sum = count x vector."""
        vectors, counts = np.asarray(vectors, np.float32), np.asarray(counts, np.float32)
        sums = vectors * counts[:, None]
        self.codebook.assign(vectors)
        self.ema_count.assign(counts)
        self.ema_sum.assign(sums)

    def embed(self, ids: Any) -> Any:
        """Codes (..., EMB) of ids (...)."""
        return ops.take(self.codebook, ids, axis=0)

    def call(self, latents: Any, weights: Any = None, training: bool = False) -> Quantized:
        """Quantise latents (B, columns, bands, EMB).

        `weights` (B, columns, bands), at least 0: how much a token counts in the losses, the
        averages, perplexity, usage and revival. None: 1 each; padding is given 0.
        """
        ids = self._nearest(latents)
        codes = ops.stop_gradient(self.embed(ids))
        distances = ops.sum(ops.square(latents - codes), axis=-1)
        weights = ops.ones_like(distances) if weights is None else ops.cast(weights, "float32")
        counts = ops.segment_sum(
            ops.reshape(weights, (-1,)), ops.reshape(ids, (-1,)), self.codebook_size
        )
        total = ops.sum(counts)
        commitment = ops.divide_no_nan(ops.sum(distances * weights), total * self.embedding_dim)
        shares = ops.divide_no_nan(counts, total)
        if training:
            self._update(ops.stop_gradient(latents), ids, weights, counts)
        return Quantized(
            ids=ids,
            quantized=latents + ops.stop_gradient(codes - latents),
            distances=distances,
            commitment=commitment,
            codebook=ops.stop_gradient(commitment),
            perplexity=ops.exp(-ops.sum(tf.math.xlogy(shares, shares))),
            usage=ops.mean(ops.cast(counts > 0, "float32")),
        )

    def _nearest(self, latents: Any) -> Any:
        """Ids (B, columns, bands): argmin of |code|^2 - 2 latent.code, the rest being constant."""
        norms = ops.sum(ops.square(self.codebook), axis=-1)
        scores = norms - 2.0 * ops.matmul(latents, ops.transpose(self.codebook))
        return tf.argmin(scores, axis=-1, output_type=tf.int32)

    def _update(self, latents: Any, ids: Any, weights: Any, counts: Any) -> None:
        """One step of the averages (appendix A.1), then of the codebook, then revival.

        A batch of padding alone changes nothing.
        """
        vectors = ops.reshape(latents, (-1, self.embedding_dim))
        weights = ops.reshape(weights, (-1,))
        sums = ops.segment_sum(
            vectors * weights[:, None], ops.reshape(ids, (-1,)), self.codebook_size
        )
        step = ops.cast(self.step, "float32")
        decay = ops.minimum(self.ema_coeff, (1.0 + step) / (RAMP + step))
        decay = ops.where(ops.any(weights > 0), decay, 1.0)
        count = self.ema_count * decay + counts * (1.0 - decay)
        total = self.ema_sum * decay + sums * (1.0 - decay)
        everything = ops.sum(count)
        smoothed = (count + self.epsilon) / (everything + self.codebook_size * self.epsilon)
        codebook = total / (smoothed * everything)[:, None]

        chosen, replaced = self._replacements(count, vectors, weights)
        count = ops.where(replaced, ops.mean(count), count)
        replaced = replaced[:, None]
        self.codebook.assign(ops.where(replaced, chosen, codebook))
        self.ema_count.assign(count)
        self.ema_sum.assign(ops.where(replaced, chosen * count[:, None], total))
        self.step.assign_add(1)

    def _replacements(self, count: Any, vectors: Any, weights: Any) -> tuple[Any, Any]:
        """(CB, EMB) vectors of the batch, and (CB,) which codes are to become theirs.

        Tokens are drawn without replacement, with chances proportional to their weights
        (Efraimidis and Spirakis 2006: the largest of log(u) / weight); the first dead code
        takes the first, and when the tokens run out, the other dead codes stay as they are.
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

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "codebook_size": self.codebook_size,
            "embedding_dim": self.embedding_dim,
            "ema_coeff": self.ema_coeff,
            "epsilon": self.epsilon,
            "dead_below": self.dead_below,
            "seed": self.seed,
        }


def kmeans_start(
    vectors: NDArray[np.float32], codebook_size: int, seed: int = 0, *, tokens_per_batch: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centroids (CB, EMB) and counts (CB,) for `VectorQuantizerEMA.start`, from (n, EMB).

    k-means++ and Lloyd's iterations, in float32 on one thread: sums over threads come in no
    fixed order. The counts are cluster sizes scaled to `tokens_per_batch`, the sum that the
    moving averages will have, so that the first batches weigh as much as later ones. Where
    there are fewer distinct vectors than codes, every one becomes a code, and the other codes
    are copies a hair apart that share their count. ValueError if there is no vector.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2 or len(vectors) == 0:
        raise ValueError(f"k-means needs vectors (n, EMB) with n at least 1, not {vectors.shape}")
    distinct, sizes = np.unique(vectors, axis=0, return_counts=True)
    if len(distinct) <= codebook_size:
        centroids, counts = _copies(distinct, sizes, codebook_size, seed)
    else:
        centroids, counts = _clusters(vectors, codebook_size, seed)
    return centroids, (counts * (tokens_per_batch / counts.sum())).astype(np.float32)


def _clusters(
    vectors: NDArray[np.float32], codebook_size: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """k-means centroids and cluster sizes, an empty cluster counting as one vector."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        kmeans = KMeans(codebook_size, n_init=1, random_state=seed).fit(vectors)
    sizes = np.bincount(kmeans.labels_, minlength=codebook_size)
    return kmeans.cluster_centers_, np.maximum(sizes, 1).astype(np.float64)


def _copies(
    distinct: NDArray[np.float32], sizes: NDArray[np.intp], codebook_size: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Every distinct vector, then jittered copies in turn; copies share their vector's count."""
    source = np.arange(codebook_size) % len(distinct)
    scale = JITTER * (float(distinct.std()) or 1.0)
    noise = np.random.default_rng(seed).normal(0, scale, (codebook_size, distinct.shape[1]))
    noise[: len(distinct)] = 0
    counts = sizes[source] / np.bincount(source)[source]
    return (distinct[source] + noise).astype(np.float32), counts
