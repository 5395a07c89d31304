"""Quantizers: latents to ids of a codebook, one file each."""

from ulmo.models.quantizers.ema import VectorQuantizerEMA
from ulmo.models.quantizers.fsq import FiniteScalarQuantizer
from ulmo.models.quantizers.gradient import VectorQuantizerGradient
from ulmo.models.quantizers.kmeans import VectorQuantizerKMeans
from ulmo.models.quantizers.residual import ResidualQuantizer

QUANTIZERS = {
    "ema": VectorQuantizerEMA,
    "fsq": FiniteScalarQuantizer,
    "gradient": VectorQuantizerGradient,
    "kmeans": VectorQuantizerKMeans,
    "residual": ResidualQuantizer,
}
