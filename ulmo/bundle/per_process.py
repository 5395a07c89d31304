"""What does not survive a fork: threads, and all that may wait for one."""

import os
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """A value that each process makes when it first needs it; so does a forked child.

    A forked child keeps its parent's value, unused: to destroy it may wait for threads that the
    child does not have.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: list[T] = []  # the last one is this process's
        self._process = 0

    def get(self) -> T:
        """The value of this process."""
        if self._process != (process := os.getpid()):
            self._values.append(self._make())
            self._process = process
        return self._values[-1]
