"""Pictures of a run: tiles beside their reconstructions, and curves of losses and scores."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices
from ulmo.dataset import TileModel
from ulmo.pictures.axes import as_drawn, level_unit, mark_hertz, own_style, to_png
from ulmo.pictures.own_matplotlib import Figure
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.store import TileStore
from ulmo.storage.csv_log import read_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_Log = dict[str, NDArray[np.float64]]
_PICTURE_TILES = 4
_NAME_LETTERS = 48  # of a recording over its panels


def _spread_rows(store: TileStore, rows: Indices) -> Indices:
    """A few of the rows, each of another recording if there are enough recordings."""
    _, firsts = np.unique(store.recordings[rows], return_index=True)
    pool = rows[firsts] if len(firsts) >= _PICTURE_TILES else rows
    places = np.linspace(0, len(pool) - 1, min(_PICTURE_TILES, len(pool))).astype(int)
    chosen: Indices = pool[places]
    return chosen


@own_style()
def draw_reconstructions(store: TileStore, rows: Indices, model: TileModel) -> bytes:
    """PNG: a few of the rows, the original left; seconds, hertz, and one scale of decibels."""
    settings = store.manifest.settings
    rows = _spread_rows(store, rows)
    frequencies = build_frontend(settings).frequencies
    tiles, valid = store.read(rows), store.valid_frames[rows]
    made = model(tiles, valid).reconstructions
    figure = Figure(figsize=(10, 2.6 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), 2, squeeze=False)
    for i, row in enumerate(rows):
        name = as_drawn(str(store.recordings[row]), _NAME_LETTERS)
        normalization = store.normalization(int(row))
        panels = [normalization.undo(values[i, :, : valid[i], 0]) for values in (tiles, made)]
        low, high = np.percentile(panels[0], [1, 99.9])
        start_s = store.table["start_s"][int(row)].as_py()
        hop_s = settings.frame_s
        seconds = start_s + (np.arange(valid[i] + 1) - 0.5) * hop_s  # a frame around its centre
        for axis, panel, kind in zip(grid[i], panels, ("original", "reconstruction"), strict=True):
            bins = np.arange(len(panel) + 1)
            image = axis.pcolormesh(seconds, bins, panel, vmin=low, vmax=high, cmap="magma")
            axis.set_title(f"{name}: {kind}", fontsize=8)
            axis.set_xlabel("time (s)")
            mark_hertz(axis, frequencies)
        figure.colorbar(image, ax=grid[i], label=level_unit(settings))
    return to_png(figure)


@own_style()
def draw_losses(losses_csv: Path, epochs_csv: Path) -> bytes:
    """PNG: losses, the codebook's perplexity and the objectives' scores, by batch and by epoch."""
    batches, epochs = read_log(losses_csv), read_log(epochs_csv)
    figure = Figure(figsize=(15, 4), layout="constrained")
    left, right, own = figure.subplots(1, 3)
    for name in ("reconstruction", "commitment"):
        left.plot(batches["step"], batches[name], label=f"{name}, training", lw=0.8)
    right.plot(batches["step"], batches["perplexity"], label="training batch", lw=0.8)
    curves = {
        "val_reconstruction": (left, "reconstruction, held out"),
        "val_perplexity": (right, "all tokens, held out"),
        "val_sound_perplexity": (right, "non-silent tokens, held out"),
    }
    for name, (axis, label) in curves.items():
        if not np.isnan(epochs.get(name, np.nan)).all():
            axis.plot(epochs["step"], epochs[name], "o-", label=label)
    _draw_scores(own, batches, epochs)
    left.set(xlabel="step", ylabel="mean squared error, normalised units", yscale="log")
    right.set(xlabel="step", ylabel="codebook perplexity (codes)")
    for axis in (left, right, own):
        axis.legend()
        axis.grid(alpha=0.3)
    return to_png(figure)


def _draw_scores(axis: "Axes", batches: _Log, epochs: _Log) -> None:
    """The score of each objective, and chance as a dashed line."""
    objectives = [name.removesuffix("_score") for name in batches if name.endswith("_score")]
    for number, name in enumerate(objectives):
        color = f"C{number}"
        axis.plot(batches["step"], batches[f"{name}_score"], color=color, lw=0.8, alpha=0.5)
        axis.plot(batches["step"], batches[f"{name}_chance"], color=color, lw=0.8, ls="--")
        steps, held_out = (epochs.get(each, np.empty(0)) for each in ("step", f"val_{name}_score"))
        axis.plot(steps, held_out, "o-", color=color, label=f"{name}, held out")
    axis.set(xlabel="step", ylabel="score of the own task (dashed: chance)")
