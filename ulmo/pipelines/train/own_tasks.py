"""How well objectives do their own tasks on held-out recordings."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ulmo.arrays import Array, Indices
from ulmo.config import OWN, SPREAD
from ulmo.dataset import batches
from ulmo.models.learner import Learner
from ulmo.models.objectives.base import Objective, TrainingBatch
from ulmo.pipelines.train.feed import Feed

_PAIR = re.compile(r"(\d+)_(\d+)")  # two front ends by their numbers
# Held-out batches are numbered from here, and their steps are negative: their random choices are
# never those of a training step.
_HELD_OUT = 1 << 40


class _TaskScore(NamedTuple):
    """How well a task is done."""

    mean: float
    error: float  # standard error of the mean; NaN for a single batch
    chance: float  # the score of a guess


class OwnTasks(NamedTuple):
    """Losses and scores over held-out batches, and the tallies of the objectives."""

    means: dict[str, float]  # of Learner.names, over the batches, weighted by their tiles
    errors: dict[str, float]  # standard errors of the means; NaN for a single batch
    tallies: dict[str, Array]

    @classmethod
    def measure(
        cls,
        test_step: Callable[[TrainingBatch, Any], tuple[Mapping[str, Any], Mapping[str, Any]]],
        feed: Feed,
        rows: Indices,
        *,
        batch_size: int,
    ) -> "OwnTasks":
        """Measure the objectives on some rows; random choices are the same in each call."""
        values: list[dict[str, float]] = []
        counts: list[int] = []
        tallies: dict[str, Array] = {}
        parts = list(batches(rows, batch_size))
        for number, batch in enumerate(feed.batches(parts, _HELD_OUT)):
            losses, counted = test_step(batch, np.int32(-1 - number))
            values.append({name: float(value) for name, value in losses.items()})
            counts.append(len(parts[number]))
            for name, tally in counted.items():
                tallies[name] = tallies.get(name, np.float32(0)) + np.asarray(tally)
        names = list(values[0])
        table = np.array([[row[name] for name in names] for row in values])
        means = np.average(table, axis=0, weights=counts)
        spread = table.std(axis=0, ddof=1) if len(values) > 1 else np.full(len(names), math.nan)
        errors = spread / math.sqrt(len(values))
        return cls(
            means=dict(zip(names, means.tolist(), strict=True)),
            errors=dict(zip(names, errors.tolist(), strict=True)),
            tallies=tallies,
        )

    def score(self, name: str) -> _TaskScore:
        """The score of one objective."""
        score = f"{name}_score"
        return _TaskScore(self.means[score], self.errors[score], self.means[f"{name}_chance"])

    def row(self, objectives: Mapping[str, float]) -> dict[str, float]:
        """Columns of epochs.csv."""
        row = {f"val_{name}": self.means[name] for name in ("total", *SPREAD)}
        for name in objectives:
            row |= {f"val_{name}_{part}": self.means[f"{name}_{part}"] for part in OWN}
            row[f"val_{name}_error"] = self.errors[f"{name}_score"]
        return row

    def as_json(self, learner: Learner, frontends: list[str]) -> dict[str, Any]:
        """The content of objectives.json: the spread of the latents, and reports of the tasks."""
        return {
            "latents": {name: _finite(self.means[name]) for name in SPREAD},
            "tasks": {
                name: {
                    **{part: _finite(value) for part, value in self.score(name)._asdict().items()},
                    **_report(task, self.tallies.get(name), frontends),
                }
                for name, task in learner.tasks.items()
            },
        }


def _report(task: Objective, tally: Array | None, frontends: list[str]) -> dict[str, Any]:
    """More figures of a task. Pairs of front ends, numbered as in 0_1, are given by name."""
    report: dict[str, Any] = {}
    for name, value in ({} if tally is None else task.report(tally)).items():
        if not (pair := _PAIR.fullmatch(name)):
            report[name] = _finite(value)
        elif max(one := int(pair[1]), other := int(pair[2])) < len(frontends):
            report.setdefault("pairs", {})[f"{frontends[one]} {frontends[other]}"] = _finite(value)
    return report


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
