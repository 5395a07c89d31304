"""Finite scalar quantization: a grid in place of a learned codebook (Mentzer et al. 2023).

arXiv:2309.15505. No codebook can collapse: the codes are the points of a grid, and the encoder
learns to spread its latents over them.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from ulmo.arrays import Array
from ulmo.models.gradients import straight_through
from ulmo.models.quantizers.base import Quantized, Quantizer, nearest


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

    commits = False
    arguments = ("levels",)

    def __init__(self, *, levels: tuple[int, ...] = (8, 8, 8), **kwargs: Any) -> None:
        size = math.prod(levels)
        super().__init__(codebook_size=size, embedding_dim=len(levels), **kwargs)
        self.levels = tuple(levels)

    def build(self, latents_shape: tuple[int | None, ...]) -> None:
        """Create the grid, a constant."""
        self._codebook = ops.convert_to_tensor(grid(self.levels))
        self._reach = ops.convert_to_tensor([n / (n - 1) for n in self.levels], "float32")

    def load(self, stages: list[Array]) -> None:
        """Check that a stored codebook is the grid; ValueError if it is not."""
        (codebook,) = stages
        if not np.array_equal(codebook, grid(self.levels)):
            raise ValueError(f"the codebook is not the grid of levels {self.levels}")

    def call(self, latents: Any, weights: Any = None, training: bool = False) -> Quantized:
        """Quantise latents (B, columns, bands, levels); `weights` as for `ema`."""
        bounded = ops.tanh(latents) * self._reach
        ids = nearest(bounded, self._codebook)
        codes = self.embed(ids)
        passed = straight_through(bounded, codes)
        return self.result(bounded, ids, codes, passed=passed, weights=weights)


def grid(levels: tuple[int, ...]) -> Array:
    """All points (CB, len(levels)), float32, from -1 to 1; the first dimension changes slowest."""
    values = [np.linspace(-1, 1, count, dtype=np.float32) for count in levels]
    points = np.stack(np.meshgrid(*values, indexing="ij"), axis=-1)
    return points.reshape(-1, len(levels))
