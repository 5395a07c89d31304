"""Random numbers that are the same on each machine, with each version of NumPy."""

from collections.abc import Sequence
from hashlib import sha256
from typing import TypeVar

import numpy as np

from data_samples.make import Floats, gauss

T = TypeVar("T")


class Draw:
    """Draws from the raw words of PCG64, a stream that NumPy keeps fixed; seeded by names."""

    def __init__(self, *names: object) -> None:
        digest = sha256("/".join(map(str, names)).encode()).digest()
        self._rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))

    def _word(self) -> int:
        return int(self._rng.bit_generator.random_raw())

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number from `low` to just under `high`."""
        return low + (high - low) * (self._word() >> 11) / (1 << 53)

    def log_uniform(self, low: float, high: float) -> float:
        """A number from `low` to `high` whose logarithm is uniform: for frequencies and times."""
        return float(low * (high / low) ** self.uniform())

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + self._word() % (high - low + 1)

    def choice(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self._word() % len(items)]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different items, in random order."""
        left = list(items)
        return [left.pop(self._word() % len(left)) for _ in range(count)]

    def gauss(self, count: int) -> Floats:
        """White, nearly Gaussian noise (count,) of unit rms."""
        return gauss(self._rng, count)
