"""The front ends: samples to (M, frames) power. One file and one line each."""

from functools import lru_cache
from importlib.util import find_spec

from ulmo.config import Cost, PrepSettings, UserError, require
from ulmo.preprocessing.frontends.base import FrontEnd, count_frames, stream_power
from ulmo.preprocessing.frontends.cqt import Cqt
from ulmo.preprocessing.frontends.cwt import Cwt
from ulmo.preprocessing.frontends.dwt import Dwt
from ulmo.preprocessing.frontends.mel import Mel
from ulmo.preprocessing.frontends.stft import Stft
from ulmo.preprocessing.frontends.wpt import Wpt

FRONTENDS: dict[str, type[FrontEnd]] = {
    "stft": Stft,
    "mel": Mel,
    "cqt": Cqt,
    "cwt": Cwt,
    "dwt": Dwt,
    "wpt": Wpt,
}
MODES = ("pcen", "level")  # normalisations with settings of their own: pcen_gain, level_range_db

__all__ = [
    "FRONTENDS",
    "FrontEnd",
    "build_frontend",
    "check_used",
    "count_frames",
    "frontend_cost",
    "installed_frontends",
    "stream_power",
]


@lru_cache(maxsize=64)
def build_frontend(settings: PrepSettings) -> FrontEnd:
    """Build the front end named in the settings, with the true frequencies of its bins.

    Raises UserError if the settings do not fit it, or if a package that it needs is not installed.
    """
    kind = _class_of(settings)
    require(*kind.packages)
    frontend = kind(settings)
    frontend.frequencies = frontend.frequencies * settings.time_expansion
    return frontend


def frontend_cost(settings: PrepSettings) -> Cost:
    """What the front end named in the settings costs. It is not built.

    UserError for settings that do not fit it. Without its packages it costs nothing, as it cannot
    run.
    """
    kind = _class_of(settings)
    return kind.cost(settings) if all(map(find_spec, kind.packages)) else Cost({}, {})


def installed_frontends() -> list[str]:
    """The front ends whose packages are installed."""
    return [name for name, kind in FRONTENDS.items() if all(map(find_spec, kind.packages))]


def check_used(settings: PrepSettings) -> None:
    """Raise UserError for a setting that the chosen front end or normalisation does not use."""
    own = _class_of(settings).settings
    for name in sorted({name for kind in FRONTENDS.values() for name in kind.settings} - {*own}):
        if _is_given(settings, name):
            users = [frontend for frontend, kind in FRONTENDS.items() if name in kind.settings]
            raise UserError(
                f"{name} is not a setting of {settings.frontend} (it has "
                f"{', '.join(sorted(own)) or 'none'}): leave it out, or set frontend to "
                f"{' or '.join(users)}"
            )
    for name in PrepSettings.model_fields:
        mode = name.split("_")[0]
        if mode in MODES and mode != settings.normalization and _is_given(settings, name):
            raise UserError(f"only {mode} uses {name}: set normalization to {mode}")
    if settings.normalization == "level" and _is_given(settings, "floor_db"):
        raise UserError("level does not use floor_db: leave it out, or set level_range_db")


def _class_of(settings: PrepSettings) -> type[FrontEnd]:
    if settings.frontend not in FRONTENDS:
        raise UserError(f"no front end {settings.frontend!r}: choose from {', '.join(FRONTENDS)}")
    return FRONTENDS[settings.frontend]


def _is_given(settings: PrepSettings, name: str) -> bool:
    return bool(getattr(settings, name) != PrepSettings.model_fields[name].default)
