"""Quantizers: latents to ids of a codebook. One file and one line each.

Their words and settings are a line in `ulmo.config.QUANTIZER_TRAITS`, which is read without Keras.
"""

from ulmo.models.quantizers.base import Quantizer
from ulmo.models.quantizers.ema import VectorQuantizerEMA
from ulmo.models.quantizers.fsq import FiniteScalarQuantizer
from ulmo.models.quantizers.gradient import VectorQuantizerGradient
from ulmo.models.quantizers.kmeans import VectorQuantizerKMeans
from ulmo.models.quantizers.residual import ResidualQuantizer
from ulmo.models.quantizers.rim import VectorQuantizerRIM

QUANTIZERS: dict[str, type[Quantizer]] = {
    "ema": VectorQuantizerEMA,
    "fsq": FiniteScalarQuantizer,
    "gradient": VectorQuantizerGradient,
    "kmeans": VectorQuantizerKMeans,
    "residual": ResidualQuantizer,
    "rim": VectorQuantizerRIM,
}
