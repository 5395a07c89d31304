"""k-means whose cells are moved to where copies of a sound agree (ulmo.models.boundaries)."""

from typing import Any

import keras
import numpy as np
from keras import ops

from ulmo.arrays import Array
from ulmo.models.boundaries import learn_boundaries, nearest_boundaries
from ulmo.models.gradients import straight_through
from ulmo.models.quantizers.base import Quantized, Quantizer, lowest
from ulmo.models.quantizers.kmeans import VectorQuantizerKMeans


@keras.saving.register_keras_serializable(package="ulmo")
class VectorQuantizerRIM(VectorQuantizerKMeans):
    """As `kmeans`, but a latent gets the code with the largest score, latent.kernel + bias.

    A code is the mean of the latents in its cell, which need not be those that are nearest to it.
    """

    compares_copies = True
    arguments = Quantizer.arguments

    def build(self, latents_shape: tuple[int | None, ...]) -> None:
        """Create the codebook and the boundaries, at first those of the nearest code."""
        super().build(latents_shape)
        shapes = {"kernel": (self.embedding_dim, self.codebook_size), "bias": (self.codebook_size,)}
        self.boundaries = {
            name: self.add_weight(name=name, shape=shape, initializer="zeros", trainable=False)
            for name, shape in shapes.items()
        }
        self._bound(*nearest_boundaries(self._codebook))

    def begin(self, latents: Array, tokens_per_batch: float, copies: Array | None = None) -> None:
        """Set codes and boundaries from latents (n, EMB) and from those of copies (2, pairs, EMB).

        Latents are their own copies, too, so that silence and what has no copy is divided as well.
        """
        super().begin(latents, tokens_per_batch)
        if copies is None:
            copies = np.empty((2, 0, self.embedding_dim), np.float32)
        first, second = (np.concatenate([each, latents]) for each in copies)
        codebook = ops.convert_to_numpy(self._codebook).copy()
        kernel, bias = learn_boundaries(codebook, first, second, self.seed)
        ids = np.argmax(latents @ kernel + bias, axis=1)
        counts = np.bincount(ids, minlength=self.codebook_size)
        sums = np.zeros(codebook.shape)
        np.add.at(sums, ids, latents)
        codebook[counts > 0] = (sums[counts > 0].T / counts[counts > 0]).T
        self._codebook.assign(codebook)
        self._bound(kernel, bias)

    def load(self, stages: list[Array]) -> None:
        """Set the codebook; the boundaries are those of the nearest code until they are set."""
        super().load(stages)
        self._bound(*nearest_boundaries(self._codebook))

    def call(self, latents: Any, weights: Any = None, training: bool = False) -> Quantized:
        """Quantise latents (B, columns, bands, EMB); `weights` as for `ema`."""
        ids = lowest(-(ops.matmul(latents, self.boundaries["kernel"]) + self.boundaries["bias"]))
        codes = ops.stop_gradient(self.embed(ids))
        passed = latents if training else straight_through(latents, codes)
        return self.result(latents, ids, codes, passed=passed, weights=weights)

    def _bound(self, kernel: Any, bias: Any) -> None:
        self.boundaries["kernel"].assign(kernel)
        self.boundaries["bias"].assign(bias)
