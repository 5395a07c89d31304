"""Shared by all pictures: hertz on an axis, the unit of levels, and reproducible PNG bytes.

A picture shows foreign text, such as the name of a recording, and is drawn wherever a user works.
So each function that draws is decorated with `own_style()` and ends with `to_png`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulmo.config import PrepSettings, UserError, printable
from ulmo.pictures.own_matplotlib import (
    Figure,
    FigureCanvasAgg,
    FontProperties,
    Text,
    findfont,
    get_font,
    matplotlib,
)
from ulmo.storage.atomic import make_folder, publish
from ulmo.storage.plain_file import lexists, open_plain
from ulmo.tokens import band_edges

# Multiples of powers of ten, and the share of the axis to the next that their labels need: those
# that are usual on a logarithmic axis, then others where there is room, then odd ones near the top.
_TICKS = (
    ((5, 2, 1), 1 / 14),
    ((8, 6, 4, 3, 1.5), 1 / 10),
    (_ODD := (9, 7, 4.5, 3.5, 2.5, 2.2, 1.8, 1.6, 1.4, 1.2), 1 / 10),
)
_TIME_STEPS = (  # seconds between ticks
    *(multiple * 10.0**power for power in range(-6, 1) for multiple in (1, 2, 5)),
    *(10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0),
    *(14_400.0 * 2**power for power in range(40)),
)
_MOST_TIMES = 12  # steps of an axis of time
_CLOCK_S = 120.0  # from here on, times have minutes
_MOST_LETTERS = 110  # of a text
_WRITER = {"Software": "ulmo"}
_WRITER_PLACE = 37  # in a PNG: after its signature, its header, and the length of the next chunk
_WRITER_CHUNK = b"tEXtSoftware\0ulmo"
# Colours that people who do not tell red from green tell apart (Okabe and Ito 2008).
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
PICTURE_REMEDY = "name the picture with --picture FILE.png"
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
        if multiples is _ODD:
            marks = [mark for mark in marks if mark > max(chosen, default=0.0)]
        for mark in marks:
            place = float(np.interp(mark, known, places))
            if all(abs(place - other) >= len(frequencies) * space for other in chosen.values()):
                chosen[mark] = place
    ticks = sorted(chosen)
    axis.set_yticks(
        [chosen[mark] for mark in ticks], [f"{mark / size:g}" for mark in ticks], fontsize=7
    )
    axis.set_ylabel(f"frequency ({unit})")


def mark_seconds(axis: Any, start_s: float, end_s: float) -> None:
    """Put ticks at round times, at most 13: seconds, or minutes and hours as clocks show them."""
    step = next(each for each in _TIME_STEPS if each * _MOST_TIMES >= end_s - start_s)
    ticks = np.arange(ceil(start_s / step - 1e-9), floor(end_s / step + 1e-9) + 1) * step
    is_clock = end_s >= _CLOCK_S
    axis.set_xticks(ticks, [_clock_text(tick) if is_clock else f"{tick:g}" for tick in ticks])
    axis.set_xlabel("time (min:s)" if is_clock else "time (s)")


def _clock_text(seconds: float) -> str:
    """Minutes and seconds; tenths where they are not 0."""
    minutes, left = divmod(round(seconds, 3), 60)
    whole, part = divmod(left, 1)
    return f"{minutes:.0f}:{whole:02.0f}" + (f"{part:.3f}".rstrip("0")[1:] if part > 1e-6 else "")


@contextmanager
def own_style() -> Iterator[None]:
    """Draw in matplotlib's own style, whatever a matplotlibrc asks for.

    It could ask for LaTeX, or for a picture of a gigabyte. A program that uses ulmo may have
    imported Matplotlib before, in a stranger's folder.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def to_png(figure: Figure) -> bytes:
    """A figure as PNG; the same figure gives the same bytes. All of its text is drawn as text.

    No text but a number at a tick is taken for mathematics or LaTeX. A tEXt chunk says that ulmo
    wrote the file: see `refuse_foreign_picture`.
    """
    ticks = {id(label) for axes in figure.axes for label in _tick_labels(axes)}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and id(text) not in ticks and text.get_text():
            text.set_text(as_drawn(text.get_text()))
            text.set_parse_math(False)
            text.set_usetex(False)
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata=_WRITER)
    return buffer.getvalue()


def refuse_foreign_picture(path: Path, remedy: str) -> None:
    """Raise UserError, which ends with the remedy, if a file is there that `to_png` did not make.

    Other programs name pictures as ulmo does, and a user may have drawn in one.
    """
    if not lexists(path):
        return
    with open_plain(path, remedy=remedy) as file:
        if file.read(_WRITER_PLACE + len(_WRITER_CHUNK))[_WRITER_PLACE:] != _WRITER_CHUNK:
            raise UserError(f"{path} is there, and nothing in it says that ulmo drew it: {remedy}")


def check_picture(path: Path, remedy: str = PICTURE_REMEDY) -> None:
    """Raise UserError, which ends with the remedy, if a picture cannot have its place."""
    if path.suffix.lower() != ".png":
        raise UserError(f"{path} does not end with .png, and pictures are PNG: {remedy}")
    refuse_foreign_picture(path, remedy)


def publish_picture(image: bytes, path: Path, remedy: str = PICTURE_REMEDY) -> None:
    """Write a PNG, whole or not at all."""
    make_folder(path.parent, remedy)
    with publish(path) as file:
        file.write(image)


def as_drawn(text: str, most: int = _MOST_LETTERS) -> str:
    r"""A text as a picture can show it: one line of at most `most` letters, cut in its middle.

    Control characters, and those that the font does not have, are written as Python writes them.

    >>> as_drawn("a\nb"), as_drawn("\U0001f426")
    ('a\\nb', '\\U0001f426')
    """
    letters = _letters()
    drawn = "".join(char if ord(char) in letters else ascii(char)[1:-1] for char in printable(text))
    if len(drawn) <= most:
        return drawn
    begin = (most - 1) // 2
    return f"{drawn[:begin]}\N{HORIZONTAL ELLIPSIS}{drawn[begin + 1 - most :]}"


@cache
def _letters() -> frozenset[int]:
    """Code points that matplotlib's own font can draw."""
    return frozenset(get_font(findfont(FontProperties(family="DejaVu Sans"))).get_charmap())


def _tick_labels(axes: Any) -> Iterator[Text]:
    for axis in (axes.xaxis, axes.yaxis):
        for tick in (*axis.majorTicks, *axis.minorTicks):
            yield from (tick.label1, tick.label2)
