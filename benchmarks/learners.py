"""Both ends of a pipe: a process that trains a model, and the benchmark that times it.

Each trainee is a process of its own, so that each framework has its own threads and memory. This
module imports no framework: benchmarks.train_ulmo and benchmarks.train_peer do, and the one loop
here times both.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.child import Child

BATCH = 16
THREADS = 2
LEARNING_RATE = 1e-3
MEASURES = 40  # how often the validation error is measured during training


class Trainee(Protocol):
    """A model and the data that it learns from."""

    tiles: int  # number of tiles to train on

    def start(self) -> None:
        """Do what comes before the first step."""

    def step(self, rows: NDArray[np.int64]) -> None:
        """Train one step on these training tiles."""

    def error(self) -> float:
        """Mean squared error over the cells of the validation tiles' valid frames."""
        ...


class Point(NamedTuple):
    """A model after some seconds of training."""

    seconds: float
    error: float
    steps: int


def serve(trainee: Trainee, versions: dict[str, str]) -> None:
    """Print the versions; then, for each line, time some steps or train for some seconds."""
    print(json.dumps(versions), flush=True)
    order = _order(trainee.tiles)
    for line in sys.stdin:
        command, amount = json.loads(line)
        answer: Any = {"steps": _time_steps, "train": _train}[command](trainee, order, amount)
        print(json.dumps(answer), flush=True)


def _order(tiles: int) -> Iterator[NDArray[np.int64]]:
    """Endless batches: shuffled epochs, without the short batch at their end."""
    rng = np.random.default_rng(0)
    while True:
        rows = rng.permutation(tiles)
        for start in range(0, tiles - BATCH + 1, BATCH):
            yield rows[start : start + BATCH]


def _time_steps(trainee: Trainee, order: Iterator[NDArray[np.int64]], count: int) -> float:
    """Seconds that `count` steps take, after a first one."""
    trainee.step(next(order))
    begun = time.perf_counter()
    for _ in range(count):
        trainee.step(next(order))
    return time.perf_counter() - begun


def _train(trainee: Trainee, order: Iterator[NDArray[np.int64]], seconds: float) -> list[Point]:
    """The error during training; measuring it does not count as training time."""
    curve: list[Point] = []
    begun = time.perf_counter()
    trainee.start()
    used, steps = time.perf_counter() - begun, 0
    while not curve or used < seconds:
        begun = time.perf_counter()
        trainee.step(next(order))
        used, steps = used + time.perf_counter() - begun, steps + 1
        if used >= min(seconds, seconds * (len(curve) + 1) / MEASURES):
            curve.append(Point(used, trainee.error(), steps))
    return curve


class Process(Child):
    """A trainee's process."""

    def __init__(self, python: str, module: str, arguments: Sequence[object]) -> None:
        super().__init__(python, module, arguments, quiet=module.endswith("ulmo"))

    def tiles_per_second(self, steps: int) -> float:
        """Training speed over some steps."""
        return steps * BATCH / float(self.ask(["steps", steps]))

    def train(self, seconds: float) -> list[Point]:
        """The error during some seconds of training."""
        return [Point(*point) for point in self.ask(["train", seconds])]
