"""The picture of `ulmo repeats`: classes over time, what they sound like, and their intervals."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from ulmo.arrays import Array
from ulmo.config import ClockSettings, PrepSettings
from ulmo.listening.cells import SILENCE_DB
from ulmo.listening.occurrences import Occurrence, Sounds
from ulmo.listening.repeats import Repeats
from ulmo.pictures.axes import mark_hertz, own_style, publish_picture, to_png
from ulmo.pictures.own_matplotlib import Figure
from ulmo.preprocessing.frontends import build_frontend, stream_power
from ulmo.preprocessing.normalize import to_db
from ulmo.preprocessing.reading.audio import RefusedError, open_recording
from ulmo.preprocessing.stretches import clip_spans, read_stretches, tile_grid
from ulmo.preprocessing.times.clock import Clock
from ulmo.tokenizer import Tokenizer

_MOST_CLASSES = 8  # that are drawn: those that occur most often
_AROUND_S = 0.2  # seconds before and after a medoid that are drawn
_LONGEST_S = 10.0
_RANGE_DB = 60.0  # decibels from the loudest colour to the faintest
_IMPULSE_FRAME_S, _IMPULSE_BINS = 0.001, 64  # of the spectrogram of an impulse
_WIDTH, _HEIGHT = 12.0, 1.8  # inches; of a class
_HOUR, _MINUTE = 3600, 60


def draw_repeats(found: Repeats, path: Path, tokenizer: Tokenizer, clock: ClockSettings) -> None:
    """Draw the classes that occur most often, in the order of their numbers, and write the PNG."""
    real = [each for each in found.classes if each.number is not None]
    common = sorted(real, key=lambda each: (-len(each.occurrences), each.number or 0))
    drawn = [each for each in real if each in common[:_MOST_CLASSES]]
    image = _draw(drawn, len(real), found, tokenizer, clock)
    publish_picture(image, path)


@own_style()
def _draw(
    drawn: Sequence[Sounds], total: int, found: Repeats, tokenizer: Tokenizer, clock: ClockSettings
) -> bytes:
    """PNG: all classes over time, and a row for each: a spectrogram, and a histogram."""
    rows = max(len(drawn), 1)
    figure = Figure(figsize=(_WIDTH, 2.2 + _HEIGHT * rows), layout="constrained", dpi=100)
    grid = figure.add_gridspec(rows + 1, 2, width_ratios=[2, 1])
    _draw_times(figure.add_subplot(grid[0, :]), drawn, found)
    for row, each in enumerate(drawn, 1):
        _draw_medoid(figure.add_subplot(grid[row, 0]), each, found, tokenizer, clock)
        _draw_intervals(figure.add_subplot(grid[row, 1]), each, last=row == len(drawn))
    left = "" if len(drawn) == total else f"; the {len(drawn)} most frequent are drawn"
    figure.suptitle(f"{total} class{'' if total == 1 else 'es'} of what recurs{left}", fontsize=10)
    return to_png(figure)


def _draw_times(axis: Any, drawn: Sequence[Sounds], found: Repeats) -> None:
    """A mark for each occurrence; recordings follow each other as in the table."""
    begins, total = _begins(found)
    size, unit = next(
        (each for each in ((_HOUR, "hours"), (_MINUTE, "minutes")) if total > 3 * each[0]),
        (1, "s"),
    )
    for row, each in enumerate(drawn):
        times = [begins[one.channel] + one.when.start_s for one in each.occurrences]
        marks = np.array(times) / size, np.full(len(times), row)
        axis.plot(*marks, "|", ms=10, color=f"C{row % 10}")
    for begin in sorted(set(begins))[1:]:
        axis.axvline(begin / size, color="0.8", lw=0.7, zorder=0)
    axis.set_yticks(range(len(drawn)), [_name(each) for each in drawn], fontsize=7)
    axis.set_ylim(max(len(drawn), 1) - 0.5, -0.5)
    axis.set_xlim(0, max(total, 1e-3) / size)
    axis.set_xlabel(f"time ({unit}), recordings one after the other")


def _begins(found: Repeats) -> tuple[list[float], float]:
    """Where the recording of each channel begins, and where the last ends, in seconds."""
    begins: list[float] = []
    end, last = 0.0, None
    for channel in found.channels:
        heard = channel.heard
        if last is None or heard.path != last.path:
            begin = end
            end += max((part.start_s + part.seconds for part in heard.parts), default=0.0)
        begins.append(begin)
        last = heard
    return begins, end


def _draw_medoid(
    axis: Any, each: Sounds, found: Repeats, tokenizer: Tokenizer, clock: ClockSettings
) -> None:
    """The spectrogram around the occurrence that is most like the others, marked."""
    medoid = each.medoid
    heard = found.channels[medoid.channel].heard
    start = max(medoid.when.start_s - _AROUND_S, 0.0)
    seconds = min(medoid.seconds, _LONGEST_S) + 2 * _AROUND_S
    title = f"{_name(each)}: {len(each.occurrences)} times; this one in {heard.recording}"
    if medoid.low_hz >= tokenizer.edges_hz[-1]:
        title += ", above what the tokenizer hears"
    axis.set_title(title, fontsize=8, loc="left")
    axis.set_xlabel("time (s)")
    prep = panel_settings(each, tokenizer)
    values, frequencies = _levels(heard.path, heard.channel, prep, clock, start, seconds)
    if not values.size:
        return
    loudest = float(values.max())
    hop_s = prep.frame_s
    extent = (start - hop_s / 2, start + (values.shape[1] - 0.5) * hop_s, 0, len(values))
    image = axis.imshow(
        values,
        origin="lower",
        aspect="auto",
        extent=extent,
        vmin=max(loudest - _RANGE_DB, float(values.min())),
        vmax=loudest + 1e-3,
        cmap="magma",
        interpolation="nearest",
    )
    mark_hertz(axis, frequencies)
    _mark(axis, medoid, frequencies)
    axis.figure.colorbar(image, ax=axis, label="dB re full scale", pad=0.01)


def panel_settings(each: Sounds, tokenizer: Tokenizer) -> PrepSettings:
    """How a class is drawn: as the tokenizer hears it; impulses finer in time, up to their band."""
    if each.kind != "impulses":
        return tokenizer.prep
    rate = max(tokenizer.prep.true_rate, ceil(2 * each.medoid.high_hz))
    return PrepSettings(
        frontend="stft",
        sample_rate=rate,
        hop_length=max(round(rate * _IMPULSE_FRAME_S), 1),
        tile_size=_IMPULSE_BINS,
        full_scale=tokenizer.prep.full_scale,
    )


def _mark(axis: Any, medoid: Occurrence, frequencies: Any) -> None:
    """A box around an occurrence."""
    low, high = np.searchsorted(frequencies, [medoid.low_hz, medoid.high_hz])
    times = [medoid.when.start_s, medoid.when.end_s]
    box = [times[0], times[1], times[1], times[0], times[0]], [low, low, high, high, low]
    axis.plot(*box, color="white", lw=0.8, ls="--")


def _levels(
    path: Path,
    channel: int | None,
    prep: PrepSettings,
    clock: ClockSettings,
    start: float,
    seconds: float,
) -> tuple[Array, Any]:
    """Levels (M, n) of a part of a recording; empty if it can no longer be read."""
    frontend = build_frontend(prep)
    found = [np.empty((prep.tile_size, 0), np.float32)]
    try:
        spans = Clock.of(clock).timing(path).spans
        with open_recording(path, full_scale=prep.full_scale) as recording:
            shown = clip_spans(spans, recording.sample_rate, start, seconds)
            if shown:
                frames = sum(span.frames or 0 for span in shown)
                stretches = read_stretches(
                    *(recording, channel, prep.true_rate, shown),
                    hop=tile_grid(prep),
                    first=shown[0].frame,
                    frames=frames,
                )
                for stretch in stretches:
                    power = stream_power(frontend, stretch.blocks)
                    found += (to_db(block, SILENCE_DB) for block in power)
    except RefusedError:
        return found[0], frontend.frequencies
    return np.concatenate(found, axis=1), frontend.frequencies


def _draw_intervals(axis: Any, each: Sounds, *, last: bool) -> None:
    """A histogram of the intervals between occurrences, and the period."""
    intervals = np.concatenate([np.empty(0), *(np.diff(times) for times in each.times)])
    intervals = intervals[intervals > 0]
    if len(intervals):
        top = float(np.quantile(intervals, 0.9)) * 1.5
        if each.period is not None:
            top = max(min(top, 6 * each.period.seconds), 1.5 * each.period.seconds)
        axis.hist(intervals, bins=60, range=(0, top), color="0.4")
        axis.set_xlim(0, top)
    else:
        axis.set_axis_off()
    if each.period is not None:
        axis.axvline(each.period.seconds, color="C1", lw=1.2, zorder=0)
        title = f"period {each.period.seconds:.4g} s, jitter {each.period.jitter_s:.2g} s"
    else:
        title = "period unknown" if len(intervals) else "once in each recording"
    axis.set_title(title, fontsize=8, loc="left")
    axis.set_ylabel("intervals")
    if last:
        axis.set_xlabel("interval (s)")


def _name(each: Sounds) -> str:
    word = "class" if each.kind == "sound" else each.kind
    return f"{word} {each.number}"
