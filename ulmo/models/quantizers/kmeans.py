"""k-means on the latents of an encoder trained without a codebook: the common baseline.

With an encoder trained to undo noise and masks (objectives/denoise.py), these are the labels of a
denoising autoencoder.
"""

from typing import Any

import keras
from keras import ops

from ulmo.arrays import Array
from ulmo.models.centroids import kmeans_start
from ulmo.models.gradients import straight_through
from ulmo.models.quantizers.base import Quantized, Quantizer, nearest


@keras.saving.register_keras_serializable(package="ulmo")
class VectorQuantizerKMeans(Quantizer):
    """In training, latents pass unchanged; outside it, each becomes its nearest centroid.

    scikit-learn's k-means is fitted before each evaluation. The commitment loss is zero, because
    the centroids change with each epoch.
    """

    starts_from_latents = True
    follows_latents = True
    commits = False
    arguments = (*Quantizer.arguments, "distance")

    def build(self, latents_shape: tuple[int | None, ...]) -> None:
        """Create the codebook."""
        self._codebook = self.add_weight(
            name="codebook",
            shape=(self.codebook_size, self.embedding_dim),
            initializer=keras.initializers.RandomNormal(stddev=1.0, seed=self.seed),
            trainable=False,
        )

    def begin(self, latents: Array, tokens_per_batch: float, copies: Array | None = None) -> None:
        """Set the codebook to the k-means centroids of latents (n, EMB)."""
        centroids, _ = kmeans_start(
            latents, self.codebook_size, self.seed, tokens_per_batch=tokens_per_batch
        )
        self._codebook.assign(self.placed(centroids))

    def call(self, latents: Any, weights: Any = None, training: bool = False) -> Quantized:
        """Quantise latents (B, columns, bands, EMB); `weights` as for `ema`."""
        ids = nearest(latents, self.codebook)
        codes = ops.stop_gradient(self.embed(ids))
        passed = latents if training else straight_through(latents, codes)
        return self.result(latents, ids, codes, passed=passed, weights=weights)
