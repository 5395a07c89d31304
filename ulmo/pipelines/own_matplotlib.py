"""Matplotlib, imported without the settings of the folder that the user works in.

When it is imported, Matplotlib reads a file `matplotlibrc` in the working folder, which may be a
stranger's: a pipe that never ends, or lines that it prints as they are. All other modules of ulmo
import what they need of Matplotlib from here.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

_SETTINGS = "matplotlibrc"


@contextmanager
def _without_settings() -> Iterator[None]:
    """Work in Matplotlib's own folder if there is a file of settings in the working folder."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None or not os.path.lexists(_SETTINGS):
        yield
        return
    before = Path.cwd()
    os.chdir(Path(spec.origin).parent)
    try:
        yield
    finally:
        os.chdir(before)


with _without_settings():
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties, findfont, get_font
    from matplotlib.text import Text

__all__ = [
    "Figure",
    "FigureCanvasAgg",
    "FontProperties",
    "Text",
    "findfont",
    "get_font",
    "matplotlib",
]
