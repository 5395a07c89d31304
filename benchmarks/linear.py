"""What ulmo-tokenize costs with longer, wider and more recordings, and whether that is linear."""

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.asked import ASKED
from benchmarks.commands import ulmo
from benchmarks.material import write_recordings, write_sound
from benchmarks.report import table
from docs.smaller import shrink
from ulmo.pictures.axes import BLUE, GREY, ORANGE, own_style

RATE = 16_000
LONGEST = 5.0  # processor seconds of a command that runs once; shorter ones run several times
CLIP, CHANNEL, DOT = 0.5, 60, 0.1  # seconds of a file of many, of a channel, of a start
PLOT = "cost.png"

Write = Callable[[Path, int], object]  # a new folder, and how much of it


class Axis(NamedTuple):
    """What grows."""

    unit: str
    write: Write
    factor: float = math.sqrt(10)  # of a size to the one before it


AXES = {
    "length": Axis(
        "seconds of one file",
        lambda folder, count: write_sound(folder / "x.wav", 1, RATE, repeated=count),
    ),
    "channels": Axis(
        f"channels of one file of {CHANNEL} s",
        lambda folder, count: write_sound(folder / "x.wav", CHANNEL, RATE, channels=count),
        factor=2,
    ),
    "files": Axis(
        f"files of {CLIP:g} s", lambda folder, count: write_recordings(folder, count, CLIP)
    ),
}


class Curve(NamedTuple):
    """Processor seconds of whole commands."""

    sizes: list[int]
    costs: list[float]
    start: float  # of the same command on one file of DOT seconds

    def above(self) -> float:
        """The exponent of what lies above the start; nan with fewer than two points there.

        Each point has the weight of the share of its cost that is above the start: what disturbs a
        measurement is a share of the whole.
        """
        kept = [each for each in zip(self.sizes, self.costs, strict=True) if each[1] > self.start]
        sizes, costs = np.array(kept, float).reshape(-1, 2).T
        if len(sizes) < 2:
            return math.nan
        over = costs - self.start
        return float(np.polyfit(np.log(sizes), np.log(over), 1, w=over / costs)[0])

    def whole(self) -> float:
        """The exponent of whole commands over the last factor of ten; nan with one point there."""
        sizes, costs = np.array(self.sizes, float), np.array(self.costs)
        last = sizes >= sizes[-1] / 10
        if last.sum() < 2:
            return math.nan
        return float(np.polyfit(np.log(sizes[last]), np.log(costs[last]), 1)[0])


def steps(least: int, most: int, factor: float) -> list[int]:
    """Sizes from the least to the most, by about this factor: 10, 32, 100 for the root of ten."""
    count = max(round(math.log(most / least, factor)), 1)
    return [round(least * (most / least) ** (n / count)) for n in range(count + 1)]


def cost(work: Path, write: Write, size: int, turns: int) -> float:
    """Processor seconds of ulmo-tokenize on what is written: the median of some turns."""
    write(work / "audio", size)
    found: list[float] = []
    while len(found) < turns and (not found or found[0] < LONGEST):
        options = ("--channels", "each", "--workers", 1, "--threads", 1)
        ran = ulmo("tokenize", work / "audio", "--out-dir", work / "out", *options)
        found.append(ran.processor)
        shutil.rmtree(work / "out")
    shutil.rmtree(work / "audio")
    return median(found)


def measure_linear(
    work: Path, least: Sequence[int], most: Sequence[int], turns: int, plot: Path
) -> str:
    """A table of exponents, and the picture; sizes are in the order of AXES."""
    start = cost(work, lambda folder, count: write_recordings(folder, count, DOT), 1, turns)
    curves = {}
    for (name, axis), first, last in zip(AXES.items(), least, most, strict=True):
        sizes = steps(first, last, axis.factor)
        costs = [cost(work, axis.write, size, turns) for size in sizes]
        curves[name] = Curve(sizes, costs, start)
    draw(curves, plot)
    rows = [
        [
            name,
            f"{curve.sizes[0]:,} to {curve.sizes[-1]:,} {AXES[name].unit}",
            f"{curve.costs[0]:.2f} to {curve.costs[-1]:.2f}",
            f"**{curve.above():.3f}**",
            f"{curve.whole():.3f}",
            str(ASKED[name]),
        ]
        for name, curve in curves.items()
    ]
    header = [
        *("cost against", "from, to", "processor seconds", "exponent above the start"),
        *("of the whole, last factor of ten", "asked"),
    ]
    return (
        "**Cost is linear.** Processor seconds of whole `ulmo-tokenize` commands, one worker, one "
        f"thread, every channel; medians of {turns} turns, but one turn where it takes "
        f"{LONGEST:g} s. The start, {start:.2f} s, is the same command on one file of {DOT:g} s. "
        "Exponents are of a straight line through the logarithms: once above the start, where a "
        "point weighs the share of its cost that is above the start; and once of all of it, "
        f"without the small sizes that the start hides.\n\n{table(header, rows)}\n\n"
        f"![Processor seconds of ulmo-tokenize against length, channels and files]({plot.name})"
    )


def draw(curves: dict[str, Curve], path: Path) -> None:
    """A panel for each: whole commands, what is above their start, and a line of exponent 1."""
    with own_style(), mpl.rc_context({"font.size": 10.5}):
        figure = Figure(figsize=(11, 4), layout="constrained", dpi=110)
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(curves), sharey=True)
        for panel, (name, curve) in zip(panels, curves.items(), strict=True):
            panel.set(xscale="log", yscale="log", xlabel=AXES[name].unit)
            above = np.array(curve.costs) - curve.start
            line = above[-1] * np.array(curve.sizes) / curve.sizes[-1]
            panel.plot(curve.sizes, line, "--", color=ORANGE, label="exponent 1")
            panel.plot(curve.sizes, curve.costs, "o:", color=GREY, label="whole command")
            panel.plot(curve.sizes, above, "s-", color=BLUE, label="above its start")
            panel.set_title(f"{name}: exponent {curve.above():.3f}")
            panel.grid(alpha=0.3)
        panels[0].set_ylabel("processor seconds")
        panels[0].legend()
        figure.savefig(path)
    shrink(path)
