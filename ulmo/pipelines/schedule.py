"""The course of training: learning rate, revival of dead codes, final fitting, and the end."""

import math
from typing import NamedTuple, Protocol

_FIT_FROM = 0.85  # progress from which a codebook and decoder that no objective trains are fitted
_REVIVE_UNTIL = 0.9  # progress up to which dead codes are revived; then the codebook settles


class Course(Protocol):
    """The settings of a training that decide its course."""

    @property
    def epochs(self) -> int:
        """Passes over the data, at most."""

    @property
    def patience(self) -> int:
        """Epochs without improvement, after which it ends."""

    @property
    def max_minutes(self) -> float | None:
        """Minutes after which it ends; None: no such limit."""

    @property
    def learning_rate(self) -> float:
        """Learning rate at the start."""

    @property
    def final_learning_rate(self) -> float:
        """Learning rate at the end."""


class StepSettings(NamedTuple):
    """Settings of the next step."""

    learning_rate: float
    revives: bool  # whether dead codes are revived
    fits: bool  # whether only the codebook and decoder are trained, if no objective trains them
    progress: float  # from 0 to 1


class Schedule(NamedTuple):
    """The course of a run of `all_steps` steps in all epochs."""

    settings: Course
    all_steps: int

    def at(self, steps: int, seconds: float) -> StepSettings:
        """The settings of the next step, after `steps` steps and `seconds` of training.

        The learning rate falls along half a cosine from `learning_rate` to `final_learning_rate`
        (Loshchilov and Hutter 2017, equation 5, without restarts); it never rises. Progress is the
        share of the steps or of `max_minutes` that is over, whichever is larger.
        """
        progress = steps / self.all_steps
        if self.settings.max_minutes is not None:
            progress = max(progress, seconds / (60 * self.settings.max_minutes))
        progress = min(progress, 1.0)
        first = self.settings.learning_rate
        last = min(self.settings.final_learning_rate, first)
        rate = last + (first - last) * (1 + math.cos(math.pi * progress)) / 2
        return StepSettings(rate, progress < _REVIVE_UNTIL, progress >= _FIT_FROM, progress)

    def end(self, *, epochs: int, stale: int, seconds: float) -> str | None:
        """Why training ends now: the name of a setting. None if it goes on.

        `stale` is the number of epochs without improvement.
        """
        if epochs >= self.settings.epochs:
            return "epochs"
        if stale >= self.settings.patience:
            return "patience"
        if self.settings.max_minutes is not None and seconds >= 60 * self.settings.max_minutes:
            return "max_minutes"
        return None
