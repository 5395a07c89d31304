"""k-means on the latents of an encoder trained without a codebook: the common baseline.

With an encoder trained to undo noise and masks (objectives/denoise.py), these are the labels of a
denoising autoencoder.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from ulmo.arrays import Array
from ulmo.models.centroids import kmeans_start
from ulmo.models.gradients import straight_through
from ulmo.models.quantizers.base import Quantized, Quantizer, nearest


@keras.saving.register_keras_serializable(package="ulmo")
class VectorQuantizerKMeans(Quantizer):
    """In training, latents pass unchanged; outside it, each becomes its nearest centroid.

    scikit-learn's k-means is fitted before each evaluation. The commitment loss is zero, because
    the centroids change with each epoch. With the distance "mahalanobis", latents and centroids are
    compared after multiplication by `metric`, which a trainer sets.
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
        if self.distance == "mahalanobis":
            self.metric = self.add_weight(
                name="metric",
                shape=(self.embedding_dim, self.embedding_dim),
                initializer="identity",
                trainable=False,
            )

    def begin(self, latents: Array, tokens_per_batch: float) -> None:
        """Set the codebook to the k-means centroids of latents (n, EMB), by the metric if any."""
        metric = None if self.metric is None else np.asarray(self.metric)
        centroids, _ = kmeans_start(
            latents if metric is None else latents @ metric,
            *(self.codebook_size, self.seed),
            tokens_per_batch=tokens_per_batch,
        )
        if metric is not None:
            centroids = np.linalg.solve(metric.T.astype(np.float64), centroids.T).T
        self._codebook.assign(self.placed(centroids))

    def call(self, latents: Any, weights: Any = None, training: bool = False) -> Quantized:
        """Quantise latents (B, columns, bands, EMB); `weights` as for `ema`."""
        known, compared = self._codebook, latents
        if self.metric is not None:
            known, compared = (ops.matmul(each, self.metric) for each in (known, latents))
        ids = nearest(compared, known)
        codes = ops.stop_gradient(self.embed(ids))
        passed = latents if training else straight_through(latents, codes)
        chosen = ops.take(known, ids, axis=0)
        return self.result(compared, ids, chosen, passed=passed, weights=weights)
