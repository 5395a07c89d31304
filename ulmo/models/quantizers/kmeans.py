"""k-means on the latents of an encoder trained without a codebook: the common baseline.

With an encoder trained to undo noise and masks (objectives/denoise.py), these are the labels of a
denoising autoencoder.
"""

from typing import Any, Self

import keras
from keras import ops

from ulmo.arrays import Array
from ulmo.config import ModelSettings
from ulmo.models.centroids import kmeans_start
from ulmo.models.gradients import straight_through
from ulmo.models.quantizers.base import (
    Quantized,
    Quantizer,
    gather,
    nearest,
    ones_unless,
    use_of,
    without_commitment,
)
from ulmo.models.sphere import on_sphere


@keras.saving.register_keras_serializable(package="ulmo")
class VectorQuantizerKMeans(Quantizer):
    """In training, latents pass unchanged; outside it, each becomes its nearest centroid.

    scikit-learn's k-means is fitted before each evaluation. The commitment loss is zero, because
    the centroids change with each epoch.
    """

    starts_from_latents = True
    follows_latents = True

    def __init__(
        self,
        *,
        codebook_size: int = 512,
        embedding_dim: int = 32,
        distance: str = "euclidean",
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(codebook_size=codebook_size, embedding_dim=embedding_dim, **kwargs)
        self.distance = distance
        self.seed = seed

    @classmethod
    def of(cls, settings: ModelSettings, seed: int) -> Self:
        """Build the quantizer from the settings."""
        return cls(
            codebook_size=settings.codebook_size,
            embedding_dim=settings.embedding_dim,
            distance=settings.distance,
            seed=seed,
        )

    def build(self, latents_shape: tuple[int | None, ...]) -> None:
        """Create the codebook."""
        self._codebook = self.add_weight(
            name="codebook",
            shape=(self.codebook_size, self.embedding_dim),
            initializer=keras.initializers.RandomNormal(stddev=1.0, seed=self.seed),
            trainable=False,
        )

    @property
    def codebook(self) -> Any:
        """All codes, (CB, EMB)."""
        return self._codebook

    def begin(self, latents: Array, tokens_per_batch: float) -> None:
        """Set the codebook to the k-means centroids of latents (n, EMB)."""
        centroids, _ = kmeans_start(
            latents, self.codebook_size, self.seed, tokens_per_batch=tokens_per_batch
        )
        self._codebook.assign(on_sphere(centroids) if self.distance == "cosine" else centroids)

    def load(self, stages: list[Array]) -> None:
        """Set the codebook."""
        (codebook,) = stages
        self._codebook.assign(codebook)

    def call(self, latents: Any, weights: Any = None, training: bool = False) -> Quantized:
        """Quantise latents (B, columns, bands, EMB); `weights` as for `ema`."""
        ids = nearest(latents, self._codebook)
        codes = ops.stop_gradient(self.embed(ids))
        weights = ones_unless(weights, ids)
        use = use_of(ids, weights, self.codebook_size)
        passed = latents if training else straight_through(latents, codes)
        found = gather(latents, ids, codes, passed=passed, weights=weights, use=use)
        return without_commitment(found)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "distance": self.distance, "seed": self.seed}
