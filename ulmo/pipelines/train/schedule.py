"""The course of training: learning rate, revival of dead codes, final fitting, and the end."""

import math
from typing import Literal, NamedTuple

from ulmo.config import TrainSettings

End = Literal["epochs", "patience", "max_minutes", "interrupt"]

_FIT_FROM = 0.85  # progress from which a codebook and decoder that no objective trains are fitted
_REVIVE_UNTIL = 0.9  # progress up to which dead codes are revived; then the codebook settles


class _Schedule(NamedTuple):
    """Settings of the next step."""

    learning_rate: float
    revives: bool  # whether dead codes are revived
    fits: bool  # whether only the codebook and decoder are trained, if no objective trains them
    progress: float  # from 0 to 1


def schedule_at(
    settings: TrainSettings, *, steps: int, all_steps: int, seconds: float
) -> _Schedule:
    """The schedule after `steps` of the `all_steps` steps of all epochs, and `seconds` of training.

    The learning rate falls along half a cosine from `learning_rate` to `final_learning_rate`
    (Loshchilov and Hutter 2017, equation 5, without restarts); it never rises. Progress is the
    share of the steps or of `max_minutes` that is over, whichever is larger.
    """
    progress = steps / all_steps
    if settings.max_minutes is not None:
        progress = max(progress, seconds / (60 * settings.max_minutes))
    progress = min(progress, 1.0)
    first = settings.learning_rate
    last = min(settings.final_learning_rate, first)
    rate = last + (first - last) * (1 + math.cos(math.pi * progress)) / 2
    return _Schedule(rate, progress < _REVIVE_UNTIL, progress >= _FIT_FROM, progress)


def end_at(settings: TrainSettings, *, epochs: int, stale: int, seconds: float) -> End | None:
    """Why training ends now; None if it goes on. `stale`: epochs without improvement."""
    if epochs >= settings.epochs:
        return "epochs"
    if stale >= settings.patience:
        return "patience"
    if settings.max_minutes is not None and seconds >= 60 * settings.max_minutes:
        return "max_minutes"
    return None
