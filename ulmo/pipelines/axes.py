"""What all pictures share: hertz on an axis, the unit of levels, PNG bytes that do not change."""

from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ulmo.config import PrepSettings

TICKS_HZ = (1, 2, 5)
"""Decades are marked at these multiples, as on any logarithmic axis."""
TICK_SPACE = 1 / 28
"""Of the axis that a mark keeps free above it: its label's height, about."""

UNITS = {"pcen": "PCEN", "level": "dB re followed level"}


def level_unit(settings: PrepSettings) -> str:
    """What a colour bar of levels counts."""
    return UNITS.get(settings.normalization, "dB re full scale")


def mark_hertz(axis: Any, frequencies: NDArray[np.float64]) -> None:
    """Ticks at round frequencies, where the bins' centres put them."""
    decades = 10.0 ** np.arange(0, 7)
    marks = np.sort([multiple * decade for multiple in TICKS_HZ for decade in decades])
    marks = marks[(marks >= frequencies[0]) & (marks <= frequencies[-1])]
    places = np.interp(marks, frequencies, np.arange(len(frequencies)) + 0.5)
    apart = np.diff(places, append=np.inf) > len(frequencies) * TICK_SPACE
    axis.set_yticks(places[apart], [f"{mark:g}" for mark in marks[apart]], fontsize=7)
    axis.set_ylabel("frequency (Hz)")


def to_png(figure: Figure) -> bytes:
    """A figure as PNG; the same figure gives the same bytes."""
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()
