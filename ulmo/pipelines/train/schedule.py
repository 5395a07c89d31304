"""What changes in the course of training: the learning rate, and whether dead codes revive."""

import math
from typing import NamedTuple

from ulmo.config import TrainSettings

FIT_SHARE = 0.85
"""Where codebook and decoder only follow the encoder, they alone learn in what is left then."""
REVIVAL_SHARE = 0.9
"""Dead codes are revived in the first nine tenths of training; then the codebook settles."""


class Plan(NamedTuple):
    """What holds for the next step."""

    learning_rate: float
    revives: bool
    progress: float
    """From 0 to 1."""

    @property
    def fits(self) -> bool:
        """Whether a codebook and a decoder that follow are now fitted to the encoder."""
        return self.progress >= FIT_SHARE


def plan(settings: TrainSettings, *, steps: int, all_steps: int, seconds: float) -> Plan:
    """The plan after so many of all steps of all epochs, and seconds of training.

    The rate falls along half a cosine from `learning_rate` to `final_learning_rate` (Loshchilov
    and Hutter 2017, equation 5, without restarts); it never rises. Where `max_minutes` end
    first, they are what training goes by.
    """
    progress = steps / all_steps
    if settings.max_minutes is not None:
        progress = max(progress, seconds / (60 * settings.max_minutes))
    progress = min(progress, 1.0)
    first = settings.learning_rate
    last = min(settings.final_learning_rate, first)
    rate = last + (first - last) * (1 + math.cos(math.pi * progress)) / 2
    return Plan(rate, progress < REVIVAL_SHARE, progress)
