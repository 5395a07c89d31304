"""Matplotlib, imported without the settings of the folder that the user works in.

When it is imported, Matplotlib reads a file `matplotlibrc` in the working folder, which may be a
stranger's: a pipe that never ends, or lines that it prints as they are. It also fails if MPLBACKEND
names a backend that is not installed: a notebook sets it, and its commands may run in another
environment. All other modules of ulmo import what they need of Matplotlib from here.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import get_ident
from typing import Any

_BACKEND = "MPLBACKEND"
_SETTINGS = "matplotlibrc"  # as Matplotlib asks whether the working folder has one


@contextmanager
def _without_settings() -> Iterator[None]:
    """Let this thread find no file of settings in the working folder.

    The folder stays what it is, and other threads find the file.
    """
    exists, thread = os.path.exists, get_ident()

    def exists_elsewhere(path: Any) -> bool:
        return (path != _SETTINGS or get_ident() != thread) and exists(path)

    os.path.exists = exists_elsewhere
    try:
        yield
    finally:
        os.path.exists = exists


@contextmanager
def _with_any_backend() -> Iterator[None]:
    """Take the backend of MPLBACKEND where it is installed, and else the usual one."""
    wanted = os.environ.pop(_BACKEND, None) if "matplotlib" not in sys.modules else None
    try:
        yield
    finally:
        if wanted is not None:
            os.environ[_BACKEND] = wanted
    if wanted:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = wanted


with _without_settings(), _with_any_backend():
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties, findfont, get_font
    from matplotlib.text import Text


def new_axes(width: float, height: float) -> Any:
    """Axes in a new figure of pyplot, so many inches wide and high: a notebook shows it."""
    with _without_settings():
        from matplotlib import pyplot
    return pyplot.figure(figsize=(width, height), layout="constrained").subplots()


__all__ = [
    "Figure",
    "FigureCanvasAgg",
    "FontProperties",
    "Text",
    "findfont",
    "get_font",
    "matplotlib",
    "new_axes",
]
