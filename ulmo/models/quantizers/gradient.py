"""Vector quantisation with a codebook learned by gradient: the usual first attempt.

van den Oord, Vinyals and Kavukcuoglu 2017 (arXiv:1711.00937), equation 3, in the form of the
keras.io example "Vector-Quantized Variational Autoencoders": a baseline. Codebook, initial values
and loss are the example's; latents are normalised first, as for the other quantizers here.
"""

from typing import Any

import keras
from keras import ops

from ulmo.models.gradients import GRADIENTS
from ulmo.models.quantizers.base import Quantized, Quantizer, nearest

# Initial codes lie between -_SPREAD and _SPREAD, as in that example: Keras's uniform initializer.
_SPREAD = 0.05


@keras.saving.register_keras_serializable(package="ulmo")
class VectorQuantizerGradient(Quantizer):
    """Nearest code of a trainable codebook; the loss `Quantized.codebook` pulls codes to latents.

    It has no k-means start, no averages and no revival: docs/tokenizers.md shows the cost.
    """

    learns_by_gradient = True
    arguments = (*Quantizer.arguments, "distance", "gradient")

    def build(self, latents_shape: tuple[int | None, ...]) -> None:
        """Create the codebook."""
        self._codebook = self.add_weight(
            name="codebook",
            shape=(self.codebook_size, self.embedding_dim),
            initializer=keras.initializers.RandomUniform(-_SPREAD, _SPREAD, seed=self.seed),
        )

    @property
    def codebook(self) -> Any:
        """All codes, (CB, EMB)."""
        return self.placed(self._codebook)

    def call(self, latents: Any, weights: Any = None, training: bool = False) -> Quantized:
        """Quantise latents (B, columns, bands, EMB); `weights` as for `ema`."""
        ids = nearest(latents, self.codebook)
        codes = self.embed(ids)
        passed = GRADIENTS[self.gradient](latents, ops.stop_gradient(codes))
        return self.result(latents, ids, codes, passed=passed, weights=weights)
