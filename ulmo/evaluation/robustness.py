"""How many tokens stay what they were when a recording is changed."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids, Mask

NOWHERE = -1
"""A column that has none at its time in the changed recording."""


class Agreement(NamedTuple):
    """Counts of tokens, which add up over recordings."""

    tokens: int = 0
    equal: int = 0
    sound_tokens: int = 0
    sound_equal: int = 0

    def __add__(self, other: object) -> "Agreement":
        if not isinstance(other, Agreement):
            return NotImplemented
        return Agreement(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def share(self) -> float:
        """Of all tokens, those that are equal; NaN of none."""
        return self.equal / self.tokens if self.tokens else float("nan")

    @property
    def sound_share(self) -> float:
        """The same of non-silent tokens."""
        return self.sound_equal / self.sound_tokens if self.sound_tokens else float("nan")


def agreement(ids: Ids, changed: Ids, columns: NDArray[np.int64], sound: Mask) -> Agreement:
    """Agreement of ids (time, band) with those of the changed recording (its time, band).

    Column n is compared with column `columns[n]` of the changed one, and left out where that is
    NOWHERE or behind its end. `sound` (time, band) is True for tokens that are not silent.
    """
    kept = (columns != NOWHERE) & (columns < len(changed))
    equal = ids[kept] == changed[columns[kept]]
    heard = sound[kept]
    return Agreement(
        tokens=equal.size,
        equal=int(equal.sum()),
        sound_tokens=int(heard.sum()),
        sound_equal=int((equal & heard).sum()),
    )
