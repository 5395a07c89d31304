"""The networks: tiles to codes and back, in Keras. They read and write no files."""

from ulmo.models.centroids import kmeans_start
from ulmo.models.decoder import Decoder
from ulmo.models.encoder import Encoder
from ulmo.models.objectives import OBJECTIVES
from ulmo.models.quantizers import QUANTIZERS
from ulmo.models.quantizers.base import Quantized, Quantizer
from ulmo.models.quantizers.ema import VectorQuantizerEMA
from ulmo.models.vqvae import VQVAE, VQVAEOutput, build_vqvae, set_weights_of, weights_of

__all__ = [
    "OBJECTIVES",
    "QUANTIZERS",
    "VQVAE",
    "Decoder",
    "Encoder",
    "Quantized",
    "Quantizer",
    "VQVAEOutput",
    "VectorQuantizerEMA",
    "build_vqvae",
    "kmeans_start",
    "set_weights_of",
    "weights_of",
]
