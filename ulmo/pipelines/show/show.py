"""ulmo show: one recording through one or more front ends, as one picture.

recording -> levels of each front end -> columns -> panels, tile borders marked
          -> tokens, if they are wanted -> a panel of coloured cells below
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ulmo.arrays import Array
from ulmo.config import LIMITS, Limits, PrepSettings, UserError
from ulmo.jobs.outcome import FlagCount, count_flags
from ulmo.pictures.axes import (
    level_unit,
    mark_hertz,
    mark_seconds,
    own_style,
    refuse_foreign_picture,
    to_png,
)
from ulmo.pictures.colours import ink_on
from ulmo.pictures.own_matplotlib import Figure
from ulmo.pipelines.show.tokens import TokenRows, token_rows
from ulmo.preprocessing.frontends import FrontEnd, build_frontend
from ulmo.preprocessing.hearing import Hearing
from ulmo.preprocessing.normalize import quiet_level
from ulmo.preprocessing.reading.audio import (
    Recording,
    RefusedError,
    channel_list,
    open_recording,
)
from ulmo.preprocessing.spectrogram import check_sound, levels
from ulmo.preprocessing.stretches import check_gaps, clip_spans, read_stretches, tile_grid
from ulmo.preprocessing.times.clock import NEVER_FIRED, Clock, Span, Timing
from ulmo.storage.atomic import make_folder, publish
from ulmo.tokenizer import Tokenizer

_MAX_COLUMNS = 2400  # of a panel, two for each pixel; in longer recordings, each shows more frames
_RANGE_DB = 80.0  # decibels from the loudest colour to the faintest
_MIN_BORDER_PIXELS = 40  # between lines where tiles begin: nearer ones bury the picture
_MIN_ID_PIXELS, _MOST_ID_BANDS = 24, 16  # of a cell that shows its id
_GAP_FRAMES = 4096  # of a gap that are drawn at once
_PANEL_INCHES = (12.0, 2.4)
_DPI = 100
_REMEDY = "name the picture with --out FILE.png"


class _Panel(NamedTuple):
    """A recording through one front end."""

    name: str
    values: Array  # (M, columns)
    frames: int
    frames_per_column: int
    frontend: FrontEnd
    hearing: Hearing
    stretches: list[tuple[int, int]]  # first frame of each, and the frame after its last


class Shown(NamedTuple):
    """A picture of a recording."""

    picture: Path
    seconds: float
    sample_rate: int  # of the recording, in hertz
    bandwidth_hz: float  # the highest frequency that the panels show
    time_expansion: float
    flags: Mapping[str, FlagCount]  # what is unusual about it, through the panel that shows most
    stretches: int  # drawn; between them, time was left out


def show(
    path: Path,
    picture: Path,
    frontends: Sequence[str],
    settings: PrepSettings,
    *,
    start: float = 0.0,
    seconds: float | None = None,
    limits: Limits = LIMITS,
    tokenizer: Tokenizer | None = None,
    replace: bool = True,
) -> Shown:
    """Draw a recording, or `seconds` of it from `start` on, and write the PNG.

    tokenizer: draw its tokens below, too, in the colours of the page of `ulmo look`.
    `replace` is for a picture that the user named: without it, no file is replaced but a picture
    that ulmo drew.
    Raises UserError for settings that a front end does not support, and for a picture that cannot
    be written where it should be; RefusedError for a recording that cannot be read.
    """
    chosen = [settings.model_copy(update={"frontend": name}) for name in frontends]
    for each in chosen:
        check_sound(each, limits)
        build_frontend(each)
    if settings.channels == "each":
        raise UserError("one picture shows one channel: set --channels to mix, or to a number")
    if picture.suffix.lower() != ".png":
        raise UserError(f"{picture} does not end with .png, and pictures are PNG: name it so")
    if picture.exists() and path.exists() and picture.samefile(path):
        raise UserError(f"{picture} is the recording itself: {_REMEDY}")
    make_folder(picture.parent, _REMEDY)
    if not replace:
        refuse_foreign_picture(picture, _REMEDY)
    timing = Clock().timing(path)
    with _open_recording(path, settings, timing) as recording:
        panels = [_panel(recording, each, timing.spans, start, seconds) for each in chosen]
        rate = recording.sample_rate
        widest = max((panel.hearing for panel in panels), key=lambda hearing: hearing.bandwidth_hz)
        facts = timing.facts({"path": path.name, **widest.facts(recording.facts())})
    if not panels[0].frames:
        raise RefusedError("too_short", f"no frame of sound from {start:g} s on")
    shown_s = panels[0].frames * settings.frame_s
    rows = None
    if tokenizer is not None:
        rows = token_rows(tokenizer, path, settings.channels, start, shown_s)
    image = _draw(panels, settings, rows, title=path.name, start=start)
    with publish(picture) as file:
        file.write(image)
    return Shown(
        picture,
        seconds=shown_s,
        sample_rate=rate,
        bandwidth_hz=widest.bandwidth_hz,
        time_expansion=settings.time_expansion,
        flags=count_flags([facts]),
        stretches=len(panels[0].stretches),
    )


@contextmanager
def _open_recording(path: Path, settings: PrepSettings, timing: Timing) -> Iterator[Recording]:
    try:
        with open_recording(path, full_scale=settings.full_scale) as recording:
            yield recording
    except RefusedError as refusal:
        if refusal.reason == "no_samples" and not timing.spans:
            raise UserError(f"{path} was {NEVER_FIRED}: there is nothing to draw") from None
        raise


@own_style()
def _draw(
    panels: Sequence[_Panel],
    settings: PrepSettings,
    rows: TokenRows | None,
    *,
    title: str,
    start: float,
) -> bytes:
    """PNG: a panel for each front end, with seconds, hertz, and lines where tiles begin; tokens."""
    width, height = _PANEL_INCHES
    count = len(panels) + (rows is not None)
    figure = Figure(figsize=(width, height * count + 0.6), layout="constrained", dpi=_DPI)
    axes = figure.subplots(count, 1, squeeze=False, sharex=True)[:, 0]
    hop_s = settings.frame_s
    for axis, panel in zip(axes, panels, strict=False):
        values = panel.values
        loudest = float(np.percentile(values, 99.95))
        quietest = float(values.min())
        if settings.normalization != "pcen":
            quietest = max(quietest, loudest - _RANGE_DB)
        columns = values.shape[1]
        extent = (
            start - 0.5 * hop_s,
            start + (columns * panel.frames_per_column - 0.5) * hop_s,
            0,
            len(values),
        )
        image = axis.imshow(
            values,
            origin="lower",
            aspect="auto",
            extent=extent,
            vmin=quietest,
            vmax=max(loudest, quietest + 1e-3),
            cmap="magma",
            interpolation="nearest",
        )
        axis.set_xlim(extent[0], start + (panel.frames - 0.5) * hop_s)
        mark_hertz(axis, panel.frontend.frequencies)
        caption = f"{panel.name}: {len(values)} bins, {panel.frames} frames of {1000 * hop_s:g} ms"
        if panel.frames_per_column > 1:
            caption += f", each column the loudest of {panel.frames_per_column}"
        if rows is None and _mark_tiles(axis, panel, settings, start):
            caption += "; dashed: where a tile begins"
        axis.set_title(caption, fontsize=9, loc="left")
        figure.colorbar(image, ax=axis, label=level_unit(settings), pad=0.01)
    if rows is not None:
        _draw_tokens(axes[-1], rows)
    mark_seconds(axes[-1], *axes[-1].get_xlim())
    figure.suptitle(title, fontsize=10)
    return to_png(figure)


def _draw_tokens(axis: Any, rows: TokenRows) -> None:
    """A cell for each token, with its id where there is room."""
    axis.imshow(
        rows.pixels,
        origin="lower",
        aspect="auto",
        extent=rows.extent,
        interpolation="nearest",
    )
    axis.set_ylim(0, len(rows.frontend.frequencies))
    mark_hertz(axis, rows.frontend.frequencies)
    columns, bands = rows.ids.shape
    caption = f"tokens: {bands} bands, a column each {1000 * rows.column_s:g} ms"
    axis.set_title(f"{caption}; like codes have like colours", fontsize=9, loc="left")
    if _PANEL_INCHES[0] * _DPI / columns < _MIN_ID_PIXELS or bands > _MOST_ID_BANDS:
        return
    for (column, band), code in np.ndenumerate(rows.ids):
        red, green, blue, opacity = rows.pixels[band, column].tolist()
        if opacity:
            axis.text(
                rows.start_s + (column + 0.5) * rows.column_s,
                (band + 0.5) * rows.bins,
                str(code),
                color=ink_on((red, green, blue)),
                fontsize=7,
                ha="center",
                va="center",
                clip_on=True,
            )


def _pooled(blocks: Iterable[Array]) -> tuple[Array, int, int]:
    """Blocks (M, n) as at most _MAX_COLUMNS columns; frames per column; number of frames.

    A column is the maximum of its frames, which keeps a short call visible in a long recording.
    Whenever there are too many columns, pairs are merged: the length need not be known.
    """
    kept: list[Array] = []
    rest: Array | None = None
    width, columns, frames = 1, 0, 0
    for block in blocks:
        frames += block.shape[1]
        block = block if rest is None else np.concatenate([rest, block], axis=1)
        whole = block.shape[1] // width * width
        kept.append(_loudest(block[:, :whole], width))
        rest = block[:, whole:]
        columns += kept[-1].shape[1]
        while columns > _MAX_COLUMNS:
            joined = np.concatenate(kept, axis=1)
            even = joined.shape[1] // 2 * 2
            kept = [_loudest(joined[:, :even], 2)]
            if even < joined.shape[1]:  # an odd column waits for its other half
                rest = np.concatenate([np.repeat(joined[:, even:], width, axis=1), rest], axis=1)
            width, columns = 2 * width, kept[0].shape[1]
    if rest is not None and rest.shape[1]:
        kept.append(rest.max(axis=1, keepdims=True))
    return (np.concatenate(kept, axis=1) if kept else np.empty((0, 0), np.float32)), width, frames


def _loudest(block: Array, width: int) -> Array:
    found: Array = block.reshape(len(block), -1, width).max(axis=2)
    return found


def _panel(
    recording: Recording,
    settings: PrepSettings,
    spans: tuple[Span, ...],
    start: float,
    seconds: float | None,
) -> _Panel:
    """A panel in true time, with silence in gaps."""
    frontend = build_frontend(settings)
    (channel,) = channel_list(settings.channels, recording.channels)
    rate, hop_s = recording.sample_rate, Fraction(settings.hop_length, settings.true_rate)
    shown = clip_spans(spans, rate, start, seconds)
    if not shown or (recording.frames and shown[0].frame >= recording.frames):
        raise RefusedError("too_short", f"no sound from {start:g} s on")
    first, last = shown[0].frame, shown[-1]
    length = None if last.frames is None else last.frame + last.frames - first
    begin = Fraction(round(start * rate), rate)
    stretches: list[tuple[int, int]] = []
    hearing = Hearing(frontend, settings)

    def blocks() -> Iterator[Array]:
        frames = gaps = 0
        for stretch in read_stretches(
            *(recording, channel, settings.true_rate, shown),
            hop=tile_grid(settings),
            first=first,
            frames=length,
            hearing=hearing,
        ):
            gap = max(round((stretch.start - begin) / hop_s) - frames, 0)
            gaps += gap
            held = max(recording.frames, recording.frames_read)
            check_gaps(gaps * hop_s, held, "draw a part of it with --start and --seconds")
            for left in range(gap, 0, -_GAP_FRAMES):
                count = min(left, _GAP_FRAMES)
                yield np.full((settings.tile_size, count), quiet_level(settings), np.float32)
            begun = frames = frames + gap
            for block in levels(stretch.blocks, frontend, settings, hearing=hearing):
                frames += block.shape[1]
                yield block
            stretches.append((begun, frames))

    values, width, frames = _pooled(blocks())
    return _Panel(settings.frontend, values, frames, width, frontend, hearing, stretches)


def _mark_tiles(axis: Any, panel: _Panel, settings: PrepSettings, start: float) -> int:
    """Draw a line where each tile begins, unless lines would hide the picture; how many."""
    pixels = _PANEL_INCHES[0] * _DPI * settings.tile_hop / panel.frames
    if pixels < _MIN_BORDER_PIXELS:
        return 0
    hop_s = settings.frame_s
    begins = [
        frame
        for first, end in panel.stretches
        for frame in range(first, end, settings.tile_hop)
        if frame
    ]
    for frame in begins:
        axis.axvline(start + (frame - 0.5) * hop_s, color="white", lw=0.7, ls="--", alpha=0.8)
    return len(begins)
