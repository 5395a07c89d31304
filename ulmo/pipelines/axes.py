"""Shared by all pictures: hertz on an axis, the unit of levels, and reproducible PNG bytes."""

from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ulmo.config import PrepSettings
from ulmo.tokens import band_edges

# Multiples of powers of ten, and the share of the axis to the next that their labels need: those
# that are usual on a logarithmic axis, then others where there is room, as near the top.
_TICKS = (
    ((5, 2, 1), 1 / 14),
    ((8, 6, 4, 3, 1.5), 1 / 10),
    ((9, 7, 4.5, 3.5, 2.5, 2.2, 1.8, 1.6, 1.4, 1.2), 1 / 10),
)
_UNITS = {"pcen": "PCEN", "level": "dB re tracked level"}


def level_unit(settings: PrepSettings) -> str:
    """The label of a colour bar of levels."""
    return _UNITS.get(settings.normalization, "dB re full scale")


def mark_hertz(axis: Any, frequencies: NDArray[np.float64]) -> None:
    """Put ticks at round frequencies, up to near the top, as far apart as labels need.

    frequencies: the centres of the bins in hertz, each of which is 1 high.
    """
    edges = band_edges(frequencies, 1)
    known = np.array([edges[0], *frequencies, edges[-1]])
    places = np.array([0, *(np.arange(len(frequencies)) + 0.5), len(frequencies)])
    unit, size = ("kHz", 1000) if edges[-1] >= 1000 else ("Hz", 1)
    chosen: dict[float, float] = {}  # place of each tick
    for multiples, space in _TICKS:
        marks = [multiple * 10.0**power for power in range(6, -4, -1) for multiple in multiples]
        marks = [mark for mark in (*marks, 0.0) if edges[0] <= mark <= edges[-1]]
        for mark in marks:
            place = float(np.interp(mark, known, places))
            if all(abs(place - other) >= len(frequencies) * space for other in chosen.values()):
                chosen[mark] = place
    ticks = sorted(chosen)
    axis.set_yticks(
        [chosen[mark] for mark in ticks], [f"{mark / size:g}" for mark in ticks], fontsize=7
    )
    axis.set_ylabel(f"frequency ({unit})")


def to_png(figure: Figure) -> bytes:
    """A figure as PNG; the same figure gives the same bytes."""
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()
