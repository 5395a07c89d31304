"""The models room: tiles to codes and back. It touches no files."""

from ulmo.models.decoder import Decoder
from ulmo.models.encoder import Encoder
from ulmo.models.quantizers import QUANTIZERS
from ulmo.models.quantizers.ema import Quantized, VectorQuantizerEMA, kmeans_start
from ulmo.models.vqvae import VQVAE, VQVAEOutput, build_vqvae, set_weights_of, weights_of

__all__ = [
    "QUANTIZERS",
    "VQVAE",
    "Decoder",
    "Encoder",
    "Quantized",
    "VQVAEOutput",
    "VectorQuantizerEMA",
    "build_vqvae",
    "kmeans_start",
    "set_weights_of",
    "weights_of",
]
