"""The front ends: samples to (M, frames) power, one file each."""

from collections.abc import Callable
from functools import lru_cache

from ulmo.config import PrepSettings, UserError
from ulmo.preprocessing.frontends.base import FrontEnd, count_frames, stream_power
from ulmo.preprocessing.frontends.cqt import Cqt
from ulmo.preprocessing.frontends.cwt import Cwt
from ulmo.preprocessing.frontends.dwt import Dwt
from ulmo.preprocessing.frontends.mel import Mel
from ulmo.preprocessing.frontends.stft import Stft
from ulmo.preprocessing.frontends.wpt import Wpt

FRONTENDS: dict[str, Callable[[PrepSettings], FrontEnd]] = {
    "stft": Stft,
    "mel": Mel,
    "cqt": Cqt,
    "cwt": Cwt,
    "dwt": Dwt,
    "wpt": Wpt,
}

SETTINGS: dict[str, frozenset[str]] = {
    "stft": frozenset({"n_fft", "win_length"}),
    "mel": frozenset({"n_fft", "win_length", "fmin", "fmax"}),
    "cqt": frozenset({"fmin", "bins_per_octave"}),
    "cwt": frozenset({"fmin", "fmax"}),
    "dwt": frozenset({"wavelet", "wavelet_level"}),
    "wpt": frozenset({"wavelet", "wavelet_level"}),
}
"""The settings that not every front end has, and those that do."""
MODES = ("pcen", "level")
"""Normalisations with settings of their own, whose names begin with theirs."""

__all__ = [
    "FRONTENDS",
    "SETTINGS",
    "FrontEnd",
    "build_frontend",
    "check_used",
    "count_frames",
    "stream_power",
]


@lru_cache(maxsize=64)
def build_frontend(settings: PrepSettings) -> FrontEnd:
    """The front end that the settings name; UserError where it cannot meet them."""
    if settings.frontend not in FRONTENDS:
        raise UserError(f"no front end {settings.frontend!r}: choose from {', '.join(FRONTENDS)}")
    return FRONTENDS[settings.frontend](settings)


def check_used(settings: PrepSettings) -> None:
    """Refuse a setting that was given, and that the front end or normalisation has no use for."""
    own = SETTINGS[settings.frontend]
    for name in sorted(frozenset().union(*SETTINGS.values()) - own):
        if _is_given(settings, name):
            users = [frontend for frontend, names in SETTINGS.items() if name in names]
            raise UserError(
                f"{name} is not a setting of {settings.frontend} (it has "
                f"{', '.join(sorted(own))}): leave it out, or set frontend to {' or '.join(users)}"
            )
    for name in PrepSettings.model_fields:
        mode = name.split("_")[0]
        if mode in MODES and mode != settings.normalization and _is_given(settings, name):
            raise UserError(f"{name} is of use to {mode} alone: set normalization to {mode}")
    if settings.normalization == "level" and _is_given(settings, "floor_db"):
        raise UserError("level has no use for floor_db: leave it out, or set level_range_db")


def _is_given(settings: PrepSettings, name: str) -> bool:
    return bool(getattr(settings, name) != PrepSettings.model_fields[name].default)
