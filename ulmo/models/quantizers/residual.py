"""Residual vector quantisation: each stage quantises the remainder of the stages before it.

Zeghidour et al. 2021 (SoundStream, arXiv:2107.03312), section III-C, with the codebooks of ema.py.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from ulmo.arrays import Array
from ulmo.models.gradients import GRADIENTS
from ulmo.models.quantizers.base import Quantized, Quantizer
from ulmo.models.quantizers.ema import VectorQuantizerEMA


@keras.saving.register_keras_serializable(package="ulmo")
class ResidualQuantizer(Quantizer):
    """A code is the sum of one code of each stage, chosen greedily from the first stage on.

    One id names all of them: with stages of 32 and 16 codes it is 16 a + b. So a token is one
    integer with any quantizer, at the same rate, and CB codes take the memory of 32 + 16; divide to
    separate the stages. `stage_sizes` = (32, 16): two nearly equal stages for 512 codes, because
    the loss of greedy choices grows with the number of stages.
    """

    starts_from_latents = True
    arguments = ("stage_sizes", "embedding_dim", "ema_coeff", "gradient", "seed")

    def __init__(
        self,
        *,
        stage_sizes: tuple[int, ...] = (32, 16),
        ema_coeff: float = 0.99,
        **kwargs: Any,
    ) -> None:
        super().__init__(codebook_size=math.prod(stage_sizes), **kwargs)
        self.stage_sizes = tuple(stage_sizes)
        self.ema_coeff = ema_coeff
        self.quantizers = [
            VectorQuantizerEMA(
                codebook_size=size,
                embedding_dim=self.embedding_dim,
                ema_coeff=ema_coeff,
                seed=self.seed + index,
                name=f"stage_{index}",
            )
            for index, size in enumerate(stage_sizes)
        ]

    def build(self, latents_shape: tuple[int | None, ...]) -> None:
        """Create the state of each stage."""
        for quantizer in self.quantizers:
            quantizer.build(latents_shape)

    @property
    def stages(self) -> list[Any]:
        """The codebook of each stage, (codes, EMB)."""
        return [quantizer.codebook for quantizer in self.quantizers]

    @property
    def codebook(self) -> Any:
        """All sums (CB, EMB); the first stage's code changes slowest."""
        sums = ops.zeros((1, self.embedding_dim))
        for stage in self.stages:
            sums = ops.reshape(sums[:, None] + stage, (-1, self.embedding_dim))
        return sums

    def begin(self, latents: Array, tokens_per_batch: float, copies: Array | None = None) -> None:
        """Start each stage from the k-means centroids of the remainder it gets."""
        for quantizer in self.quantizers:
            quantizer.begin(latents, tokens_per_batch)
            latents = latents - np.asarray(quantizer(latents[:, None, None]).quantized)[:, 0, 0]

    def load(self, stages: list[Array]) -> None:
        """Set the codebook of each stage."""
        for quantizer, stage in zip(self.quantizers, stages, strict=True):
            quantizer.load([stage])

    def allow_revival(self, allowed: bool) -> None:
        """Allow or forbid the replacement of dead codes in the next steps."""
        for quantizer in self.quantizers:
            quantizer.allow_revival(allowed)

    def call(self, latents: Any, weights: Any = None, training: bool = False) -> Quantized:
        """Quantise latents (B, columns, bands, EMB); `weights` as for `ema`."""
        left = ops.stop_gradient(latents)
        ids: Any = 0
        for quantizer in self.quantizers:
            stage = quantizer(left, weights=weights, training=training)
            left = left - stage.quantized
            ids = ids * quantizer.codebook_size + stage.ids
        codes = ops.stop_gradient(latents) - left
        passed = GRADIENTS[self.gradient](latents, codes)
        return self.result(latents, ids, codes, passed=passed, weights=weights)
