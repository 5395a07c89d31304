"""Pictures of a codebook: how often each code is used, and what each code decodes to."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array
from ulmo.pictures.axes import level_unit, own_style, to_png
from ulmo.pictures.own_matplotlib import Figure
from ulmo.preprocessing.frontends import build_frontend
from ulmo.tokenizer import Tokenizer

PICTURES = ("usage", "codes")  # the names of what is drawn
_Counts = NDArray[np.int64]

_MAX_CODES = 1024  # codes drawn, the most used first: more would be too small to see


@own_style()
def draw_pictures(
    tokenizer: Tokenizer, counted: dict[str, tuple[_Counts, _Counts]]
) -> dict[str, bytes]:
    """PNG files by name: `usage`, how often each code is used; `codes`, what each decodes to.

    `counted` holds the counts (CB,) among all tokens and among non-silent ones, by the name of what
    they were counted on. The first of them orders the codes.
    """
    counts, _ = next(iter(counted.values()))
    drawn = _draw_usage(counted), _draw_codes(tokenizer, counts)
    return dict(zip(PICTURES, drawn, strict=True))


def _draw_usage(measured: dict[str, tuple[_Counts, _Counts]]) -> bytes:
    """PNG: the sorted shares of the codes among all tokens and among non-silent ones."""
    figure = Figure(figsize=(6 * len(measured), 4), layout="constrained")
    axes = figure.subplots(1, len(measured), squeeze=False)[0]
    for axis, (name, kinds) in zip(axes, measured.items(), strict=True):
        for counts, kind in zip(kinds, ("all tokens", "non-silent tokens"), strict=True):
            shares = np.sort(counts)[::-1] / max(counts.sum(), 1)
            used = int((counts > 0).sum())
            axis.step(
                np.arange(1, used + 1),
                shares[:used],
                where="mid",
                label=f"{kind}: {used} of {len(counts)} codes",
            )
        axis.axhline(1 / len(counts), color="grey", ls="--", lw=1, label="all used alike")
        axis.set(
            title=f"codes of {name}",
            xlabel="codes, the most used first",
            ylabel="share of tokens",
            yscale="log",
            xlim=(0, len(counts) + 1),
        )
        axis.legend()
        axis.grid(alpha=0.3)
    return to_png(figure)


def _draw_codes(tokenizer: Tokenizer, counts: _Counts) -> bytes:
    """PNG: the patch of each code, the most used first by `counts` (CB,).

    A patch is the middle of the decoded grid of a single code. The patch of greatest contrast is
    drawn large, with seconds and the hertz of the middle band. All patches share one scale.
    """
    order = np.argsort(-counts, kind="stable")[:_MAX_CODES]
    patches = _decoded_codes(tokenizer, order)
    low, high = np.percentile(patches, [1, 99])
    height, width = patches.shape[1:]
    example = int(np.argmax(patches.std(axis=(1, 2))))
    across = min(max(round(np.sqrt(len(patches) * height / width)), 1), len(patches))
    down = -(-len(patches) // across)
    figure = Figure(figsize=(13, 8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 3))
    prep, constants = tokenizer.prep, tokenizer.manifest.normalization
    hop_s = prep.frame_s
    seconds = (np.arange(width + 1) - 0.5) * hop_s  # a frame lies around its centre
    bins = np.arange(height + 1)
    left.pcolormesh(seconds, bins, patches[example], vmin=low, vmax=high, cmap="magma")
    left.set_box_aspect(min(height / width, 2.5))
    left.set(title=f"code {order[example]}", xlabel="time (s)")
    _mark_middle_band(left, tokenizer)
    image = right.imshow(
        _mosaic(patches, across, down),
        origin="lower",
        vmin=low,
        vmax=high,
        cmap="magma",
        aspect="auto",
        interpolation="nearest",
    )
    right.set(
        title=f"{len(patches)} of {len(counts)} codes, by use from the upper left, row by row",
        xticks=[],
        yticks=[],
    )
    unit = "normalised level" if constants is None else level_unit(prep)
    figure.colorbar(image, ax=right, label=unit)
    return to_png(figure)


def _decoded_codes(tokenizer: Tokenizer, codes: NDArray[np.int64]) -> Array:
    """Levels (n, bins, frames) of the middle band of each code."""
    model = tokenizer.manifest.model
    first = (model.bands - 1) // 2 * model.frequency_stride
    return tokenizer.decode_codes(codes)[:, first : first + model.frequency_stride]


def _mosaic(patches: Array, across: int, down: int) -> Array:
    """Patches (n, bins, frames) in rows from the top, separated by empty lines."""
    height, width = patches.shape[1:]
    mosaic = np.full((down * (height + 1) + 1, across * (width + 1) + 1), np.nan, np.float32)
    for number, patch in enumerate(patches):
        row, column = divmod(number, across)
        bottom = (down - 1 - row) * (height + 1) + 1
        left = column * (width + 1) + 1
        mosaic[bottom : bottom + height, left : left + width] = patch
    return mosaic


def _mark_middle_band(axis: Any, tokenizer: Tokenizer) -> None:
    """Label a few bins in hertz: a band is too narrow to contain round frequencies."""
    model = tokenizer.manifest.model
    first = (model.bands - 1) // 2 * model.frequency_stride
    frequencies = build_frontend(tokenizer.prep).frequencies
    frequencies = frequencies[first : first + model.frequency_stride]
    bins = np.unique(np.linspace(0, len(frequencies) - 1, 5).round().astype(int))
    axis.set_yticks(bins + 0.5, [f"{hertz:.0f}" for hertz in frequencies[bins]])
    axis.set_ylabel("frequency (Hz)")
