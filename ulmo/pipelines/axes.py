"""Shared by all pictures: hertz on an axis, the unit of levels, and reproducible PNG bytes."""

from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ulmo.config import PrepSettings

_TICKS_HZ = (1, 2, 5)  # in each decade, as is usual on a logarithmic axis
_TICK_SPACE = 1 / 28  # share of the axis that a tick's label takes
_UNITS = {"pcen": "PCEN", "level": "dB re tracked level"}


def level_unit(settings: PrepSettings) -> str:
    """The label of a colour bar of levels."""
    return _UNITS.get(settings.normalization, "dB re full scale")


def mark_hertz(axis: Any, frequencies: NDArray[np.float64]) -> None:
    """Put ticks at round frequencies; `frequencies` are the centres of the bins in hertz."""
    decades = 10.0 ** np.arange(0, 7)
    marks = np.sort([multiple * decade for multiple in _TICKS_HZ for decade in decades])
    marks = marks[(marks >= frequencies[0]) & (marks <= frequencies[-1])]
    places = np.interp(marks, frequencies, np.arange(len(frequencies)) + 0.5)
    apart = np.diff(places, append=np.inf) > len(frequencies) * _TICK_SPACE
    axis.set_yticks(places[apart], [f"{mark:g}" for mark in marks[apart]], fontsize=7)
    axis.set_ylabel("frequency (Hz)")


def to_png(figure: Figure) -> bytes:
    """A figure as PNG; the same figure gives the same bytes."""
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()
