"""The base of all quantizers: latents in, ids and codes out."""

from typing import Any, NamedTuple, Self

import keras
import tensorflow as tf
from keras import ops

from ulmo.arrays import Array
from ulmo.config import ModelSettings


class Quantized(NamedTuple):
    """Latents (B, columns, bands, EMB), quantized."""

    ids: Any  # (B, columns, bands) int32: the nearest code; at ties, the lowest id
    # (B, columns, bands, EMB): the decoder's input; its gradient reaches the latents.
    quantized: Any
    # (B, columns, bands): squared Euclidean distance to the chosen code, never negative.
    distances: Any
    # Scalar: weighted mean squared difference of latents and codes, with a gradient to the latents;
    # 0 if the quantizer has no such loss.
    commitment: Any
    # Scalar: the same difference; its gradient, if any, reaches the codes only.
    codebook: Any
    perplexity: Any  # scalar: exp of the entropy (nats) of this batch's weighted ids, 1 to CB
    usage: Any  # scalar: share of the codes used in this batch, 0 to 1


class Use(NamedTuple):
    """How a batch uses the codes."""

    counts: Any  # (CB,) sum of the weights of each code's tokens
    total: Any
    perplexity: Any
    usage: Any


class Quantizer(keras.layers.Layer):
    """A codebook (CB, EMB) and the choice of a code for each latent; always float32.

    A subclass implements `of`, `call`, `load` and `codebook`; if it has several stages, `stages`
    too. Three class attributes say when a trainer calls `begin` and what it minimises.
    """

    # Whether `begin` is called before the first step, with latents of the untrained encoder.
    starts_from_latents = False
    # Whether `begin` is called again before each evaluation, with latents of the encoder.
    follows_latents = False
    # Whether `Quantized.codebook` is a loss that training minimises, too.
    learns_by_gradient = False

    def __init__(self, *, codebook_size: int = 512, embedding_dim: int = 32, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.codebook_size = codebook_size
        self.embedding_dim = embedding_dim

    @classmethod
    def of(cls, settings: ModelSettings, seed: int) -> Self:
        """Build the quantizer from the settings."""
        raise NotImplementedError

    @property
    def stages(self) -> list[Any]:
        """The codebook of each stage, (codes, EMB); their sums are the codes."""
        return [self.codebook]

    @property
    def codebook(self) -> Any:
        """All codes, (CB, EMB)."""
        raise NotImplementedError

    def begin(self, latents: Array, tokens_per_batch: float) -> None:
        """Start anew from latents (n, EMB), if the quantizer does; a batch has that many tokens."""

    def load(self, stages: list[Array]) -> None:
        """Set the codebook of each stage, and reset all averages."""
        raise NotImplementedError

    def allow_revival(self, allowed: bool) -> None:
        """Allow or forbid the replacement of dead codes in the next steps."""

    def embed(self, ids: Any) -> Any:
        """Codes (..., EMB) for ids (...)."""
        return ops.take(self.codebook, ids, axis=0)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "codebook_size": self.codebook_size,
            "embedding_dim": self.embedding_dim,
        }


def scores_of(latents: Any, codebook: Any) -> Any:
    """(..., CB): |code|^2 - 2 latent.code, the squared distance less |latent|^2."""
    norms = ops.sum(ops.square(codebook), axis=-1)
    return norms - 2.0 * ops.matmul(latents, ops.transpose(codebook))


def lowest(scores: Any) -> Any:
    """Ids (...) int32 of the lowest scores, from scores (..., CB)."""
    return tf.argmin(scores, axis=-1, output_type=tf.int32)


def nearest(latents: Any, codebook: Any) -> Any:
    """Ids (...) of the codes nearest to latents (..., EMB)."""
    return lowest(scores_of(latents, codebook))


def ones_unless(weights: Any, tokens: Any) -> Any:
    """Weights of the tokens as float32; 1 each if `weights` is None."""
    return ops.cast(ops.ones_like(tokens) if weights is None else weights, "float32")


def use_of(ids: Any, weights: Any, codebook_size: int) -> Use:
    """Count the codes by a segment sum, which takes half the time of a one-hot matrix."""
    counts = ops.segment_sum(ops.reshape(weights, (-1,)), ops.reshape(ids, (-1,)), codebook_size)
    total = ops.sum(counts)
    shares = ops.divide_no_nan(counts, total)
    return Use(
        counts=counts,
        total=total,
        perplexity=ops.exp(-ops.sum(tf.math.xlogy(shares, shares))),
        usage=ops.mean(ops.cast(counts > 0, "float32")),
    )


def gather(latents: Any, ids: Any, codes: Any, *, passed: Any, weights: Any, use: Use) -> Quantized:
    """Collect the results for latents (..., EMB) and their codes; `passed` goes to the decoder."""
    distances = ops.sum(ops.square(latents - ops.stop_gradient(codes)), axis=-1)
    drawn = ops.sum(ops.square(ops.stop_gradient(latents) - codes), axis=-1)
    dimensions = use.total * ops.shape(latents)[-1]
    return Quantized(
        ids=ids,
        quantized=passed,
        distances=distances,
        commitment=ops.divide_no_nan(ops.sum(distances * weights), dimensions),
        codebook=ops.divide_no_nan(ops.sum(drawn * weights), dimensions),
        perplexity=use.perplexity,
        usage=use.usage,
    )


def without_commitment(quantized: Quantized) -> Quantized:
    """The same without a commitment loss: nothing pulls latents towards their codes."""
    return quantized._replace(
        distances=ops.stop_gradient(quantized.distances),
        commitment=ops.zeros_like(quantized.commitment),
        codebook=ops.stop_gradient(quantized.codebook),
    )
