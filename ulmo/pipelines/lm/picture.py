"""The pictures of `ulmo lm score` and `ulmo lm curve`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.pictures.axes import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    as_drawn,
    mark_seconds,
    own_style,
    publish_picture,
    to_png,
)
from ulmo.pictures.own_matplotlib import Figure
from ulmo.pipelines.lm.curve import CurvePoint
from ulmo.pipelines.lm.score import ScoredRow
from ulmo.pipelines.lm.targets import ALL, FIRST, KINDS, LATER

_MOST_POINTS = 1000  # of a recording's line: about one for each pixel
_MOST_BORDERS = 200  # recordings whose begins are drawn
_MOST_LETTERS, _FEWEST_LETTERS = 160, 8  # of names: over the whole width, and of one
_WIDTH, _PANEL = 12.0, 2.1  # inches
_PANELS = (
    ("bits", BLUE, "bits of a column of tokens, together"),
    ("surprise", ORANGE, "surprise: bits above the median of the 1,024 columns before"),
    ("gain", GREEN, "gain: bits that are saved by what is longer ago than 1,024 tokens"),
)
_WORDS = {
    ALL: ("all columns", BLUE, "o", "-"),
    LATER: ("in later occurrences of a sound", ORANGE, "s", "--"),
    FIRST: ("in first occurrences", GREY, "^", ":"),
}


class _Line(NamedTuple):
    """A quantity of a recording over time, with at most `_MOST_POINTS` points."""

    seconds: NDArray[np.float64]  # (points,), from the begin of the picture
    mean: NDArray[np.float64]  # (points,) of the columns of a point; NaN: there are none
    most: NDArray[np.float64]  # (points,) the largest of them


class ScorePicture:
    """Gathers what is drawn of each row of scores: a few numbers, however long it is."""

    def __init__(self) -> None:
        self._lines: dict[str, list[_Line]] = {name: [] for name, _, _ in _PANELS}
        self._begins: list[tuple[float, str]] = []
        self._end_s = 0.0
        self._columns = 1  # of a point, at most

    def add(self, scored: ScoredRow) -> None:
        """Draw a row behind those before it; its recordings lie one after the other."""
        row, scores = scored.row, scored.scores
        numbers = row.source_of(scored.column)
        values: dict[str, NDArray[np.floating]] = {
            "bits": scores.column_bits,
            "surprise": scores.surprise,
            "gain": scores.gain,
        }
        for number, source in enumerate(row.sources):
            chosen = numbers == number
            seconds = row.seconds[scored.column[chosen]] - source.begin_s
            if not len(seconds):
                continue
            self._begins.append((self._end_s, source.recording))
            for name, each in values.items():
                line = _line_of(seconds, each[chosen], row.column_s)
                self._lines[name].append(line._replace(seconds=line.seconds + self._end_s))
            self._columns = max(self._columns, _columns_of_a_point(len(seconds)))
            self._end_s += float(seconds[-1]) + row.column_s

    def publish(self, path: Path) -> None:
        """Write the PNG."""
        publish_picture(self._draw(), path)

    @own_style()
    def _draw(self) -> bytes:
        height = _PANEL * len(_PANELS) + 0.6
        figure = Figure(figsize=(_WIDTH, height), layout="constrained", dpi=100)
        axes = figure.subplots(len(_PANELS), 1, sharex=True)
        pooled = self._columns > 1
        for axis, (name, colour, words) in zip(axes, _PANELS, strict=True):
            for line in self._lines[name]:
                if pooled:
                    axis.fill_between(
                        line.seconds, line.mean, line.most, color=colour, alpha=0.35, lw=0
                    )
                axis.plot(line.seconds, line.mean, color=colour, lw=0.8)
            axis.set_title(words, fontsize=9, loc="left")
            axis.set_ylabel(name if name == "bits" else f"{name} (bits)")
            axis.axhline(0, color="0.6", lw=0.6, zorder=0)
            for begin, _ in self._begins[1:_MOST_BORDERS]:
                axis.axvline(begin, color="0.75", lw=0.7, zorder=0)
            axis.margins(x=0)
        axes[0].set_xlim(0, max(self._end_s, 1e-3))
        mark_seconds(axes[-1], 0.0, max(self._end_s, 1e-3))
        self._name_recordings(axes[0])
        if pooled:
            words = f"line: the mean of up to {self._columns} columns; pale: up to the highest"
            axes[-1].annotate(
                *(words, (1, 0), (0, -34)),
                xycoords="axes fraction",
                textcoords="offset points",
                ha="right",
                fontsize=8,
            )
        if len(self._begins) > 1:
            axes[-1].set_xlabel(f"{axes[-1].get_xlabel()}, recordings one after the other")
        return to_png(figure)

    def _name_recordings(self, axis: Any) -> None:
        """Write the name of each recording into its part, as far as there is room."""
        axis.set_ylim(top=1.2 * axis.get_ylim()[1])
        begins = [begin for begin, _ in self._begins]
        for (begin, name), end in zip(self._begins, [*begins[1:], self._end_s], strict=True):
            letters = int(_MOST_LETTERS * (end - begin) / self._end_s)
            if letters >= _FEWEST_LETTERS:
                axis.annotate(
                    *(as_drawn(name, letters), (begin, 1), (3, -3)),
                    xycoords=("data", "axes fraction"),
                    textcoords="offset points",
                    va="top",
                    fontsize=8,
                )


def _columns_of_a_point(columns: int) -> int:
    return -(-columns // _MOST_POINTS)


def _line_of(seconds: NDArray[np.float64], values: Any, column_s: float) -> _Line:
    """A line (points,) through values (n,) at seconds (n,); it breaks where time was left out."""
    size = _columns_of_a_point(len(seconds))
    firsts = np.arange(0, len(seconds), size)
    known = np.isfinite(values)
    counts = np.add.reduceat(known.astype(np.float64), firsts)
    sums = np.add.reduceat(np.where(known, values, 0).astype(np.float64), firsts)
    most = np.maximum.reduceat(np.where(known, values, -np.inf), firsts).astype(np.float64)
    mean = np.divide(sums, counts, out=np.full(len(firsts), np.nan), where=counts > 0)
    most[counts == 0] = np.nan
    starts = seconds[firsts]
    breaks = 1 + np.flatnonzero(np.diff(starts) > 1.5 * size * column_s)
    nothing = np.full(len(breaks), np.nan)
    return _Line(*(np.insert(each, breaks, nothing) for each in (starts, mean, most)))


def draw_curve(points: Sequence[CurvePoint], path: Path) -> None:
    """Draw bits a token against the past, with 95 % intervals, and write the PNG."""
    publish_picture(_curve(points), path)


@own_style()
def _curve(points: Sequence[CurvePoint]) -> bytes:
    figure = Figure(figsize=(8.0, 5.0), layout="constrained", dpi=100)
    axis = figure.subplots()
    contexts = [point.context_tokens for point in points if point.context_tokens is not None]
    end = 4 * max(contexts)  # where all of the past is drawn
    for kind in (each for each in KINDS if any(point.columns == each for point in points)):
        own = [point for point in points if point.columns == kind]
        words, colour, marker, style = _WORDS[kind]
        past = [point.context_tokens or end for point in own]
        recordings = f"{own[0].recordings} recording{'' if own[0].recordings == 1 else 's'}"
        told = f"{words}: {own[0].tokens:,} tokens of {recordings}"
        bits = [point.bits for point in own]
        axis.plot(past, bits, marker=marker, ls=style, color=colour, label=told)
        if own[0].low is not None:
            low, high = ([getattr(point, name) for point in own] for name in ("low", "high"))
            axis.fill_between(past, low, high, color=colour, alpha=0.15, lw=0)
    ticks = sorted(set(contexts))
    axis.set_xscale("log")
    axis.set_xticks([*ticks, end], [*(f"{tick:,}" for tick in ticks), "all"])
    axis.set_xticks([], minor=True)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("tokens of the past that are known (logarithmic)")
    axis.set_ylabel("bits a token")
    has_band = any(point.low is not None for point in points)
    axis.set_title(
        "What the past is worth" + ("; pale: 95 % over recordings" if has_band else ""),
        fontsize=10,
        loc="left",
    )
    axis.legend(fontsize=8, loc="best")
    return to_png(figure)
