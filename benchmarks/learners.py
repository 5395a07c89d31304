"""Two ends of a pipe: a process that trains a model, and the benchmark that asks it to.

A learner is a process of its own, so that each framework has its threads and its memory for
itself. This module imports neither: benchmarks.train_ulmo and benchmarks.train_peer do, and both
are timed by the one loop here.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
BATCH = 16
THREADS = 2
LEARNING_RATE = 1e-3
MEASURES = 40
"""Times that the validation error is measured while a model trains."""


class Learner(Protocol):
    """A model and the data that it learns from."""

    tiles: int
    """To train on."""

    def start(self) -> None:
        """What comes before the first step."""
        ...

    def step(self, rows: NDArray[np.int64]) -> None:
        """One step on these of the training tiles."""
        ...

    def error(self) -> float:
        """Mean squared error over the cells of the validation tiles' valid frames."""
        ...


class Point(NamedTuple):
    """A model after so many seconds of training."""

    seconds: float
    error: float
    steps: int


def serve(learner: Learner, versions: dict[str, str]) -> None:
    """Tell the versions; then, for each line, time some steps, or train for some seconds."""
    print(json.dumps(versions), flush=True)
    order = _order(learner.tiles)
    for line in sys.stdin:
        command, amount = json.loads(line)
        answer: Any = {"steps": _time_steps, "train": _train}[command](learner, order, amount)
        print(json.dumps(answer), flush=True)


def _order(tiles: int) -> Iterator[NDArray[np.int64]]:
    """Batches for ever: epochs shuffled, the short batch at their end left out."""
    rng = np.random.default_rng(0)
    while True:
        rows = rng.permutation(tiles)
        for start in range(0, tiles - BATCH + 1, BATCH):
            yield rows[start : start + BATCH]


def _time_steps(learner: Learner, order: Iterator[NDArray[np.int64]], count: int) -> float:
    """Seconds of so many steps, after one more."""
    learner.step(next(order))
    begun = time.perf_counter()
    for _ in range(count):
        learner.step(next(order))
    return time.perf_counter() - begun


def _train(learner: Learner, order: Iterator[NDArray[np.int64]], seconds: float) -> list[Point]:
    """The error as training goes on; measuring it costs none of the seconds."""
    curve: list[Point] = []
    begun = time.perf_counter()
    learner.start()
    used, steps = time.perf_counter() - begun, 0
    while not curve or used < seconds:
        begun = time.perf_counter()
        learner.step(next(order))
        used, steps = used + time.perf_counter() - begun, steps + 1
        if used >= min(seconds, seconds * (len(curve) + 1) / MEASURES):
            curve.append(Point(used, learner.error(), steps))
    return curve


class Process:
    """A learner's process; `python` runs a module of this package."""

    def __init__(self, python: str, module: str, arguments: Sequence[object]) -> None:
        executable = Path(shutil.which(python) or python).absolute()  # from here, not from ROOT
        self._process = subprocess.Popen(
            [str(executable), "-m", module, *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if module.endswith("ulmo") else None,
            text=True,
        )
        self.versions: dict[str, str] = self._answer()

    def tiles_per_second(self, steps: int) -> float:
        """Of so many steps."""
        return steps * BATCH / float(self._ask("steps", steps))

    def train(self, seconds: float) -> list[Point]:
        """The error as training goes on for so many seconds."""
        return [Point(*point) for point in self._ask("train", seconds)]

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def _ask(self, command: str, amount: float) -> Any:
        assert self._process.stdin
        print(json.dumps([command, amount]), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args} ended before it answered")
        return json.loads(line)
