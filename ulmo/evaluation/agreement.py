"""How many tokens stay the same when a recording is changed."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids


class Agreement(NamedTuple):
    """Counts of compared tokens; they add up over recordings."""

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
        """Share of equal tokens among all; NaN if there are none."""
        return self.equal / self.tokens if self.tokens else float("nan")

    @property
    def sound_share(self) -> float:
        """Share of equal tokens among non-silent ones; NaN if there are none."""
        return self.sound_equal / self.sound_tokens if self.sound_tokens else float("nan")


def agreement(
    ids: Ids, changed: Ids, columns: NDArray[np.int64], sound: NDArray[np.bool_]
) -> Agreement:
    """Agreement of ids (time, band) with those of the changed recording (its time, band).

    Column n is compared with column `columns[n]` of the changed recording, and left out if that is
    beyond its end. `sound` (time, band) marks the tokens that are not silent.
    """
    kept = columns < len(changed)
    equal = ids[kept] == changed[columns[kept]]
    loud = sound[kept]
    return Agreement(
        tokens=equal.size,
        equal=int(equal.sum()),
        sound_tokens=int(loud.sum()),
        sound_equal=int((equal & loud).sum()),
    )
