"""Residual vector quantisation: each stage quantises the remainder of the stages before it.

Zeghidour et al. 2021 (SoundStream, arXiv:2107.03312), section III-C, with the codebooks of ema.py.
"""

from typing import Any, Self

import keras
import numpy as np
from keras import ops

from ulmo.arrays import Array
from ulmo.config import ModelSettings
from ulmo.models.gradients import GRADIENTS
from ulmo.models.quantizers.base import (
    Quantized,
    Quantizer,
    gather,
    ones_unless,
    use_of,
)
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

    def __init__(
        self,
        *,
        stage_sizes: tuple[int, ...] = (32, 16),
        embedding_dim: int = 32,
        ema_coeff: float = 0.99,
        gradient: str = "straight_through",
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        stage_sizes = tuple(stage_sizes)
        sizes = {"codebook_size": int(np.prod(stage_sizes)), "embedding_dim": embedding_dim}
        super().__init__(**{**kwargs, **sizes})
        self.stage_sizes = stage_sizes
        self.ema_coeff = ema_coeff
        self.gradient = gradient
        self.seed = seed
        self.quantizers = [
            VectorQuantizerEMA(
                codebook_size=size,
                embedding_dim=embedding_dim,
                ema_coeff=ema_coeff,
                seed=seed + index,
                name=f"stage_{index}",
            )
            for index, size in enumerate(stage_sizes)
        ]

    @classmethod
    def of(cls, settings: ModelSettings, seed: int) -> Self:
        """Build the quantizer from the settings."""
        return cls(
            stage_sizes=settings.stages,
            embedding_dim=settings.embedding_dim,
            ema_coeff=settings.ema_coeff,
            gradient=settings.gradient,
            seed=seed,
        )

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

    def begin(self, latents: Array, tokens_per_batch: float) -> None:
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
        weights = ones_unless(weights, ids)
        use = use_of(ids, weights, self.codebook_size)
        passed = GRADIENTS[self.gradient](latents, codes)
        return gather(latents, ids, codes, passed=passed, weights=weights, use=use)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["codebook_size"]
        return {
            **config,
            "stage_sizes": self.stage_sizes,
            "ema_coeff": self.ema_coeff,
            "gradient": self.gradient,
            "seed": self.seed,
        }
