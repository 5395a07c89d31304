"""Pictures of a codebook: how often each code is used, and what each code decodes to."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array
from ulmo.pictures.axes import level_unit, own_style, to_png
from ulmo.pictures.own_matplotlib import Figure
from ulmo.tokenizer import Tokenizer

PICTURES = ("usage", "codes")  # the names of what is drawn
_Counts = NDArray[np.int64]

_MAX_CODES = 512  # codes drawn, the most used first: more are a picture that nobody looks through
_LEAST_SHARE = 0.01  # of a code's tokens: a band with fewer is one where it is not used
_ACROSS = 32  # codes in a row
_CELL_IN = (0.42, 1.15)  # width and height of a code, with its id, in inches
_LEFT_IN, _BAR_IN, _TITLE_IN = 2.4, 1.1, 0.7
_ID_SHARE, _GAP_SHARE = 0.2, 0.25  # of a patch's height and width: for the id, and beside it
_ID_POINTS = 8
_EMPTY = 0.92  # grey of the bands where a code is not used, from black (0) to white
_MOST_TICKS = 8


@own_style()
def draw_pictures(
    tokenizer: Tokenizer, counted: dict[str, tuple[_Counts, _Counts]]
) -> dict[str, bytes]:
    """PNG files by name: `usage`, how often each code is used; `codes`, what each decodes to.

    `counted` holds the counts (bands, CB) of all tokens and of non-silent ones, by the name of what
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
        for by_band, kind in zip(kinds, ("all tokens", "non-silent tokens"), strict=True):
            counts = by_band.sum(axis=0)
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
    """PNG: what each code decodes to in the bands where it is used, the most used first.

    counts: tokens, (bands, CB). Above each patch stands the id. A patch is the middle of the
    decoded grid of a single code; a band with less than a hundredth of the code's tokens is left
    empty. The patch of greatest contrast is drawn large, with seconds and hertz. All patches share
    one scale. Without any token, all codes are drawn in all bands.
    """
    total = counts.sum(axis=0)
    order = np.argsort(-total, kind="stable")
    used = order[: max(np.count_nonzero(total), 1)] if total.any() else order
    codes = used[:_MAX_CODES]
    patches = _decoded_codes(tokenizer, codes, counts)
    low, high = np.nanpercentile(patches, [1, 99])
    across = min(len(codes), _ACROSS)
    down = -(-len(codes) // across)
    size = (_LEFT_IN + _CELL_IN[0] * across + _BAR_IN, _CELL_IN[1] * max(down, 2) + _TITLE_IN)
    figure = Figure(figsize=size, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(_LEFT_IN, _CELL_IN[0] * across + _BAR_IN))
    example = int(np.argmax(np.nanstd(patches, axis=(1, 2))))
    _draw_example(left, tokenizer, patches[example], vmin=low, vmax=high)
    left.set_title(f"code {codes[example]}")
    frames = _mosaic(np.full_like(patches, _EMPTY), across, down)
    how: Any = {"aspect": "auto", "interpolation": "nearest"}
    right.imshow(frames, vmin=0, vmax=1, cmap="gray", **how)
    mosaic = _mosaic(patches, across, down)
    image = right.imshow(mosaic, vmin=low, vmax=high, cmap="magma", **how)
    height, width = _cell(patches)
    for number, code in enumerate(codes.tolist()):
        row, column = divmod(number, across)
        place = (column + 0.5) * width - 0.5, (row + 1) * height - patches.shape[1] * 1.01
        text = right.text(*place, str(code), ha="center", va="bottom", fontsize=_ID_POINTS)
        text.set_in_layout(False)  # hundreds of them would take seconds
    right.set_title(
        f"{len(codes)} of {len(total)} codes, by use from the upper left, row by row; "
        "grey: not used in that band"
    )
    right.set_axis_off()
    constants = tokenizer.manifest.normalization
    unit = "normalised level" if constants is None else level_unit(tokenizer.prep)
    figure.colorbar(image, ax=right, label=unit, aspect=60, fraction=0.03)
    return to_png(figure)


def _decoded_codes(tokenizer: Tokenizer, codes: NDArray[np.int64], counts: _Counts) -> Array:
    """Levels (n, M, frames) of each code, and NaN in the bands where it is not used."""
    stride = tokenizer.manifest.model.frequency_stride
    patches = tokenizer.decode_codes(codes)
    shares = counts[:, codes] / np.maximum(counts[:, codes].sum(axis=0), 1)
    if counts.any():
        unused = np.repeat(shares < _LEAST_SHARE, stride, axis=0)[: patches.shape[1]].T
        patches[unused] = np.nan
    return patches


def _cell(patches: Array) -> tuple[int, int]:
    """Rows and columns that a patch (n, M, frames) takes, with the id above and a gap beside it."""
    _, height, width = patches.shape
    return height + max(round(_ID_SHARE * height), 1), width + max(round(_GAP_SHARE * width), 1)


def _mosaic(patches: Array, across: int, down: int) -> Array:
    """Patches (n, M, frames) in rows from the top, low frequencies below; NaN between them."""
    _, height, width = patches.shape
    tall, wide = _cell(patches)
    mosaic = np.full((down * tall, across * wide), np.nan, np.float32)
    for number, patch in enumerate(patches):
        row, column = divmod(number, across)
        left = column * wide + (wide - width) // 2
        mosaic[(row + 1) * tall - height : (row + 1) * tall, left : left + width] = patch[::-1]
    return mosaic


def _draw_example(axis: Any, tokenizer: Tokenizer, patch: Array, **scale: float) -> None:
    """A patch (M, frames) with seconds, and hertz at the edges of bands."""
    height, width = patch.shape
    seconds = (np.arange(width + 1) - 0.5) * tokenizer.prep.frame_s  # a frame is around its centre
    axis.pcolormesh(seconds, np.arange(height + 1), patch, cmap="magma", **scale)
    axis.set_facecolor(str(_EMPTY))
    axis.set_xlabel("time (s)")
    model, edges = tokenizer.manifest.model, tokenizer.edges_hz
    every = -(-model.bands // _MOST_TICKS)
    bands = np.arange(0, len(edges), every)
    places = np.minimum(bands * model.frequency_stride, height)
    axis.set_yticks(places, [f"{hertz:.0f}" for hertz in edges[bands]])
    axis.set_ylabel("frequency (Hz)")
    axis.set_anchor("N")
    axis.set_box_aspect(2.5)
