"""Whether two ids of one latent are a tie: equally near, up to what rounding does."""

import numpy as np

from ulmo.arrays import Array

TIE = 3e-6
"""Of a squared distance, for each dimension of the embedding.

What float32 sums in another order may differ by: 1e-4 at 32 dimensions (1e-6 was seen).
"""


def is_tie(latent: Array, stages: list[Array], first: int, second: int) -> bool:
    """Follow two ids of a latent (EMB,) through the stages' codebooks to where they part.

    Behind that stage they are different searches, whose distances say nothing of each other.
    """
    left = latent.astype(np.float64)
    digits = zip(_digits(first, stages), _digits(second, stages), stages, strict=True)
    for one, other, stage in digits:
        if one != other:
            near, far = (np.square(left - stage[index]).sum() for index in (one, other))
            return bool(abs(near - far) < TIE * len(latent))
        left = left - stage[one]
    return True


def _digits(index: int, stages: list[Array]) -> list[int]:
    """The code of each stage that an id names; the first changes slowest."""
    found = np.unravel_index(index, [len(stage) for stage in stages])
    return [int(digit) for digit in found]
