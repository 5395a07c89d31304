"""The base of all quantizers: latents in, ids and codes out."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import keras
import tensorflow as tf
from keras import ops

from ulmo.arrays import Array
from ulmo.config import ModelSettings
from ulmo.models.sphere import on_sphere


class Quantized(NamedTuple):
    """Latents (B, columns, bands, EMB), quantized."""

    ids: Any  # (B, columns, bands) int32: the nearest code, or by `boundaries`; at ties, the lowest
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


class Quantizer(keras.layers.Layer):
    """A codebook (CB, EMB) and the choice of a code for each latent; always float32.

    A subclass makes `_codebook` in `build`, and implements `call`. The class attributes say what it
    is made of, when a trainer calls `begin`, and what the trainer minimises.

    `distance`: "euclidean", or "cosine" for codes on the sphere of radius sqrt(EMB), where the
    encoder puts its latents, so that the nearest code has the largest cosine.
    `gradient`: a key of GRADIENTS. `seed`: decides the initial codebook.
    """

    # Arguments of the constructor that the quantizer uses: attributes, and mostly settings.
    arguments: ClassVar[tuple[str, ...]] = ("codebook_size", "embedding_dim", "seed")
    # Whether `begin` is called before the first step, with latents of the untrained encoder.
    starts_from_latents = False
    # Whether `begin` is called again before each evaluation, with latents of the encoder.
    follows_latents = False
    # Whether `Quantized.codebook` is a loss that training minimises, too.
    learns_by_gradient = False
    # Whether `begin` gets latents of copies, too.
    compares_copies = False
    # Weights `kernel` (EMB, CB) and `bias` (CB,), if ids are those of the largest latent.kernel +
    # bias; if there are none, ids are those of the nearest codes.
    boundaries: Mapping[str, Any] = {}
    # Whether the commitment loss pulls latents towards their codes; if not, it is 0.
    commits = True

    def __init__(
        self,
        *,
        codebook_size: int = 512,
        embedding_dim: int = 32,
        distance: str = "euclidean",
        gradient: str = "straight_through",
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.codebook_size = codebook_size
        self.embedding_dim = embedding_dim
        self.distance = distance
        self.gradient = gradient
        self.seed = seed

    @classmethod
    def of(cls, settings: ModelSettings, seed: int) -> Self:
        """Build the quantizer from the settings; other arguments keep their defaults."""
        sizes = {"levels": settings.levels, "stage_sizes": settings.stages, "seed": seed}
        values = {**settings.model_dump(), **sizes}
        return cls(**{name: values[name] for name in cls.arguments if name in values})

    @property
    def stages(self) -> list[Any]:
        """The codebook of each stage, (codes, EMB); their sums are the codes."""
        return [self.codebook]

    @property
    def codebook(self) -> Any:
        """All codes, (CB, EMB)."""
        return self._codebook

    def begin(self, latents: Array, tokens_per_batch: float, copies: Array | None = None) -> None:
        """Start anew from latents (n, EMB), if the quantizer does; a batch has that many tokens.

        `copies` (2, pairs, EMB): latents of the same moments in two copies, if it compares copies.
        """

    def load(self, stages: list[Array]) -> None:
        """Set the codebook of each stage, and reset all averages."""
        (codebook,) = stages
        self._codebook.assign(codebook)

    def allow_revival(self, allowed: bool) -> None:
        """Allow or forbid the replacement of dead codes in the next steps."""

    def embed(self, ids: Any) -> Any:
        """Codes (..., EMB) for ids (...)."""
        return ops.take(self.codebook, ids, axis=0)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **{name: getattr(self, name) for name in self.arguments}}

    def placed(self, codes: Any) -> Any:
        """The codes, moved onto the sphere if the distance is cosine."""
        return on_sphere(codes) if self.distance == "cosine" else codes

    def result(self, latents: Any, ids: Any, codes: Any, *, passed: Any, weights: Any) -> Quantized:
        """Collect the results for latents (..., EMB) and their codes; `passed` goes to the decoder.

        `weights` (...) of the tokens; None: 1 each.
        """
        if not self.commits:
            latents = ops.stop_gradient(latents)
        weights = ones_unless(weights, ids)
        # A segment sum takes half the time of a one-hot matrix.
        counts = ops.segment_sum(_flat(weights), _flat(ids), self.codebook_size)
        total = ops.sum(counts)
        shares = ops.divide_no_nan(counts, total)
        distances = ops.sum(ops.square(latents - ops.stop_gradient(codes)), axis=-1)
        drawn = ops.sum(ops.square(ops.stop_gradient(latents) - codes), axis=-1)
        dimensions = total * self.embedding_dim
        commitment = ops.divide_no_nan(ops.sum(distances * weights), dimensions)
        return Quantized(
            ids=ids,
            quantized=passed,
            distances=distances,
            commitment=commitment if self.commits else ops.zeros_like(commitment),
            codebook=ops.divide_no_nan(ops.sum(drawn * weights), dimensions),
            perplexity=ops.exp(-ops.sum(tf.math.xlogy(shares, shares))),
            usage=ops.mean(ops.cast(counts > 0, "float32")),
        )


def _flat(values: Any) -> Any:
    return ops.reshape(values, (-1,))


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
