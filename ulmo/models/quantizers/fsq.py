"""Finite scalar quantization: a grid in place of a learned codebook (Mentzer et al. 2023).

arXiv:2309.15505. No codebook can collapse: the codes are the points of a grid, and the encoder
learns to spread its latents over them.
"""

from typing import Any, Self

import keras
import numpy as np
from keras import ops

from ulmo.arrays import Array
from ulmo.config import ModelSettings
from ulmo.models.gradients import straight_through
from ulmo.models.quantizers.base import (
    Quantized,
    Quantizer,
    gather,
    nearest,
    ones_unless,
    use_of,
    without_commitment,
)


@keras.saving.register_keras_serializable(package="ulmo")
class FiniteScalarQuantizer(Quantizer):
    """Bounds latents, and rounds them to a grid of CB codes; one dimension per level.

    A dimension z with L values becomes b = L / (L - 1) tanh(z), then the nearest of L values evenly
    spaced from -1 to 1, each with an equal share of tanh's range. (The paper shifts the grid of an
    even L so that one value is 0; here it is symmetric about 0.) Ids number the grid points, the
    first dimension changing slowest. `levels` = (8, 8, 8): 512 codes, with about 8 values per
    dimension as section 4.1 of the paper advises.

    There is no codebook loss and no commitment loss; the distance is reported only.
    """

    def __init__(self, *, levels: tuple[int, ...] = (8, 8, 8), **kwargs: Any) -> None:
        levels = tuple(levels)
        sizes = {"codebook_size": int(np.prod(levels)), "embedding_dim": len(levels)}
        super().__init__(**{**kwargs, **sizes})
        self.levels = levels

    @classmethod
    def of(cls, settings: ModelSettings, seed: int) -> Self:
        """Build the quantizer from the settings; the seed has no effect."""
        return cls(levels=settings.levels)

    def build(self, latents_shape: tuple[int | None, ...]) -> None:
        """Create the grid, a constant."""
        self._grid = ops.convert_to_tensor(grid(self.levels))
        self._reach = ops.convert_to_tensor([n / (n - 1) for n in self.levels], "float32")

    @property
    def codebook(self) -> Any:
        """All codes, (CB, EMB)."""
        return self._grid

    def load(self, stages: list[Array]) -> None:
        """Check that a stored codebook is the grid; ValueError if it is not."""
        (codebook,) = stages
        if not np.array_equal(codebook, grid(self.levels)):
            raise ValueError(f"the codebook is not the grid of levels {self.levels}")

    def call(self, latents: Any, weights: Any = None, training: bool = False) -> Quantized:
        """Quantise latents (B, columns, bands, levels); `weights` as for `ema`."""
        bounded = ops.tanh(latents) * self._reach
        ids = nearest(bounded, self._grid)
        codes = self.embed(ids)
        weights = ones_unless(weights, ids)
        use = use_of(ids, weights, self.codebook_size)
        passed = straight_through(bounded, codes)
        found = gather(bounded, ids, codes, passed=passed, weights=weights, use=use)
        return without_commitment(found)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        for name in ("codebook_size", "embedding_dim"):
            del config[name]
        return {**config, "levels": self.levels}


def grid(levels: tuple[int, ...]) -> Array:
    """All points (CB, len(levels)), float32, from -1 to 1; the first dimension changes slowest."""
    values = [np.linspace(-1, 1, count, dtype=np.float32) for count in levels]
    points = np.stack(np.meshgrid(*values, indexing="ij"), axis=-1)
    return points.reshape(-1, len(levels))
