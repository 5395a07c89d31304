"""Vector quantisation with a codebook learned by gradient: the usual first attempt.

van den Oord, Vinyals and Kavukcuoglu 2017 (arXiv:1711.00937), equation 3, in the form of the
keras.io example "Vector-Quantized Variational Autoencoders": a baseline. Codebook, initial values
and loss are the example's; latents are normalised first, as for the other quantizers here.
"""

from typing import Any, Self

import keras
from keras import ops

from ulmo.arrays import Array
from ulmo.config import ModelSettings
from ulmo.models.gradients import GRADIENTS
from ulmo.models.quantizers.base import (
    Quantized,
    Quantizer,
    gather,
    nearest,
    ones_unless,
    use_of,
)
from ulmo.models.sphere import on_sphere

# Initial codes lie between -SPREAD and SPREAD, as in that example: Keras's uniform initializer.
SPREAD = 0.05


@keras.saving.register_keras_serializable(package="ulmo")
class VectorQuantizerGradient(Quantizer):
    """Nearest code of a trainable codebook; the loss `Quantized.codebook` pulls codes to latents.

    It has no k-means start, no averages and no revival: docs/tokenizers.md shows the cost.
    """

    learns_by_gradient = True

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
        super().__init__(codebook_size=codebook_size, embedding_dim=embedding_dim, **kwargs)
        self.distance = distance
        self.gradient = gradient
        self.seed = seed

    @classmethod
    def of(cls, settings: ModelSettings, seed: int) -> Self:
        """Build the quantizer from the settings."""
        return cls(
            codebook_size=settings.codebook_size,
            embedding_dim=settings.embedding_dim,
            distance=settings.distance,
            gradient=settings.gradient,
            seed=seed,
        )

    def build(self, latents_shape: tuple[int | None, ...]) -> None:
        """Create the codebook."""
        self._free = self.add_weight(
            name="codebook",
            shape=(self.codebook_size, self.embedding_dim),
            initializer=keras.initializers.RandomUniform(-SPREAD, SPREAD, seed=self.seed),
        )

    @property
    def codebook(self) -> Any:
        """All codes, (CB, EMB)."""
        return on_sphere(self._free) if self.distance == "cosine" else self._free

    def load(self, stages: list[Array]) -> None:
        """Set the codebook."""
        (codebook,) = stages
        self._free.assign(codebook)

    def call(self, latents: Any, weights: Any = None, training: bool = False) -> Quantized:
        """Quantise latents (B, columns, bands, EMB); `weights` as for `ema`."""
        ids = nearest(latents, self.codebook)
        codes = self.embed(ids)
        weights = ones_unless(weights, ids)
        use = use_of(ids, weights, self.codebook_size)
        passed = GRADIENTS[self.gradient](latents, ops.stop_gradient(codes))
        return gather(latents, ids, codes, passed=passed, weights=weights, use=use)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "distance": self.distance,
            "gradient": self.gradient,
            "seed": self.seed,
        }
