"""Quantizers: latents to ids of a codebook, one file each."""

from ulmo.models.quantizers.ema import VectorQuantizerEMA

QUANTIZERS = {"ema": VectorQuantizerEMA}
