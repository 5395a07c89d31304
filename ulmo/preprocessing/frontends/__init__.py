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

__all__ = ["FRONTENDS", "FrontEnd", "build_frontend", "count_frames", "stream_power"]


@lru_cache(maxsize=64)
def build_frontend(settings: PrepSettings) -> FrontEnd:
    """The front end that the settings name; UserError where it cannot meet them."""
    if settings.frontend not in FRONTENDS:
        raise UserError(f"no front end {settings.frontend!r}: choose from {', '.join(FRONTENDS)}")
    return FRONTENDS[settings.frontend](settings)
