"""How well objectives do their own tasks on held-out recordings."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices
from ulmo.config import OWN, SPREAD
from ulmo.models.collapse import Spread
from ulmo.models.learner import Learner
from ulmo.models.objectives.base import Objective, TrainingBatch
from ulmo.pipelines.dataset import batches
from ulmo.pipelines.train.feed import Feed

PAIR = re.compile(r"(\d+)_(\d+)")
"""Two front ends by their numbers."""
HELD_OUT = 1 << 40
"""Numbers of held-out batches begin here, and their steps are below 0: what is drawn for them is
drawn for no step of training."""

Measure = Callable[[TrainingBatch, Any], tuple[Mapping[str, Any], Mapping[str, Any]]]
"""Learner.test_step."""


class Score(NamedTuple):
    """How well a task is done."""

    mean: float
    error: float
    """Standard error of the mean; NaN of one batch."""
    chance: float


class OwnTasks(NamedTuple):
    """Losses and scores over held-out batches, and what the objectives counted."""

    means: dict[str, float]
    """Of Learner.names, over the batches, each by its tiles."""
    errors: dict[str, float]
    """Standard errors of these means; NaN of one batch."""
    tallies: dict[str, NDArray[np.float32]]
    batches: int

    def score(self, name: str) -> "Score":
        """Of one objective."""
        values = (self.means[f"{name}_score"], self.errors[f"{name}_score"])
        return Score(*values, self.means[f"{name}_chance"])

    @property
    def spread(self) -> Spread:
        """Of the latents."""
        return Spread(*(self.means[name] for name in SPREAD))

    def row(self, objectives: Mapping[str, float]) -> dict[str, float]:
        """Columns of epochs.csv."""
        row = {f"val_{name}": self.means[name] for name in ("total", *SPREAD)}
        for name in objectives:
            row |= {f"val_{name}_{part}": self.means[f"{name}_{part}"] for part in OWN}
            row[f"val_{name}_error"] = self.errors[f"{name}_score"]
        return row


def own_tasks(measure: Measure, feed: Feed, rows: Indices, *, batch_size: int) -> OwnTasks:
    """Measure objectives on some rows; the same draws each time."""
    values: list[dict[str, float]] = []
    counts: list[int] = []
    tallies: dict[str, NDArray[np.float32]] = {}
    for number, part in enumerate(batches(rows, batch_size)):
        losses, counted = measure(feed.batch(part, HELD_OUT + number), np.int32(-1 - number))
        values.append({name: float(value) for name, value in losses.items()})
        counts.append(len(part))
        for name, tally in counted.items():
            tallies[name] = tallies.get(name, np.float32(0)) + np.asarray(tally)
    names = list(values[0])
    table = np.array([[row[name] for name in names] for row in values])
    means = np.average(table, axis=0, weights=counts)
    spread = table.std(axis=0, ddof=1) if len(values) > 1 else np.full(len(names), math.nan)
    errors = spread / math.sqrt(len(values))
    return OwnTasks(
        means=dict(zip(names, means.tolist(), strict=True)),
        errors=dict(zip(names, errors.tolist(), strict=True)),
        tallies=tallies,
        batches=len(values),
    )


def described(tasks: OwnTasks, learner: Learner, frontends: list[str]) -> dict[str, Any]:
    """objectives.json: the spread of the latents, and of each task its score and its report."""
    return {
        "latents": {name: _finite(tasks.means[name]) for name in SPREAD},
        "tasks": {
            name: {
                **{part: _finite(value) for part, value in tasks.score(name)._asdict().items()},
                **_report(learner.tasks[name], tasks.tallies.get(name), frontends),
            }
            for name in learner.tasks
        },
    }


def _report(
    task: Objective, tally: NDArray[np.float32] | None, frontends: list[str]
) -> dict[str, Any]:
    """What a task tells besides; of pairs of front ends, told by number as 0_1, by name."""
    told: dict[str, Any] = {}
    for name, value in ({} if tally is None else task.report(tally)).items():
        if not (pair := PAIR.fullmatch(name)):
            told[name] = _finite(value)
        elif max(first := int(pair[1]), second := int(pair[2])) < len(frontends):
            told.setdefault("pairs", {})[f"{frontends[first]} {frontends[second]}"] = _finite(value)
    return told


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
