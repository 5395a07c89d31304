"""Tokens in a notebook: a picture of coloured cells, and a table of coloured ids.

It is given arrays and words, not Tokens: `ulmo.tokens` imports it, inside functions.
"""

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulmo.pictures.colours import cell_colours, colours_by_id, ink_on

_MOST_ROWS, _MOST_BANDS = 10, 16  # of a table: more are left out in the middle
_MOST_TICKS = 9  # of hertz
_Ids = NDArray[np.int32]
_Colours = NDArray[np.uint8] | None
_CELL = "padding:1px 6px;text-align:right;"


def draw_tokens(
    axes: Any,
    ids: _Ids,
    starts_s: NDArray[np.float64],
    column_s: float,
    edges_hz: NDArray[np.float64],
    colours: _Colours,
) -> Any:
    """Draw tokens (time, band) over seconds and hertz; returns the axes of Matplotlib.

    axes: to draw in; None: those of a new figure.
    starts_s: (time,) start of each column; where they are further apart, there is a gap.
    colours: (CB, 3) of the codes; None: those of `colours_by_id`.
    """
    if axes is None:
        from ulmo.pictures.own_matplotlib import new_axes

        axes = new_axes(9, 2.4)
    cells = cell_colours(ids.T, colours_by_id() if colours is None else colours)
    begins = np.flatnonzero(np.diff(starts_s) > 1.5 * column_s) + 1
    bands = ids.shape[1]
    for first, last in zip([0, *begins], [*begins, len(ids)], strict=True):
        if last > first:
            start, end = starts_s[first], starts_s[last - 1] + column_s
            axes.imshow(
                cells[:, first:last],
                origin="lower",
                aspect="auto",
                extent=(start, end, 0, bands),
                interpolation="nearest",
            )
    left = starts_s[0] if len(ids) else 0.0
    axes.set_xlim(left, (starts_s[-1] if len(ids) else left) + column_s)
    axes.set_ylim(0, bands)
    unit, size = ("kHz", 1000) if edges_hz[-1] >= 1000 else ("Hz", 1)
    shown = np.unique(np.linspace(0, bands, min(bands + 1, _MOST_TICKS)).round().astype(int))
    axes.set_yticks(shown, [f"{round(edges_hz[edge] / size, 2):g}" for edge in shown])
    axes.set_ylabel(f"band edges ({unit})")
    axes.set_xlabel("time (s)")
    likeness = "like codes have like colours" if colours is not None else "a colour for each id"
    caption = f"{len(ids)} x {bands} tokens, a column each {1000 * column_s:g} ms; {likeness}"
    axes.set_title(caption, fontsize=9, loc="left")
    return axes


def html_table(
    facts: Mapping[str, str],
    ids: _Ids,
    starts_s: NDArray[np.float64],
    edges_hz: NDArray[np.float64],
    colours: _Colours,
) -> str:
    """HTML: the facts, then the first and last columns of tokens, each a row with its second.

    All text is escaped. Needs no Matplotlib.
    """
    cells = cell_colours(ids, colours_by_id() if colours is None else colours)
    words = "; ".join(f"{escape(name)} {escape(value)}" for name, value in facts.items())
    bands = _ends(ids.shape[1], _MOST_BANDS)
    heads = ["seconds"]
    for band in bands:
        low, high = ("", "") if band is None else edges_hz[band : band + 2]
        heads.append("…" if band is None else f"{low:.0f} to {high:.0f} Hz")
    rows = ["".join(f'<th style="{_CELL}">{head}</th>' for head in heads)]
    for row in _ends(len(ids), _MOST_ROWS):
        if row is None:
            rows.append(f'<td style="{_CELL}">…</td>' * len(heads))
            continue
        parts = [f'<th style="{_CELL}">{starts_s[row]:.3f}</th>']
        for band in bands:
            if band is None:
                parts.append(f'<td style="{_CELL}">…</td>')
            else:
                parts.append(_cell(int(ids[row, band]), cells[row, band].tolist()))
        rows.append("".join(parts))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<div><p><strong>Tokens</strong>: {words}</p><table>{body}</table></div>"


def _cell(code: int, colour: list[int]) -> str:
    """A cell with an id on its colour; a token that is no sound has none."""
    red, green, blue, opacity = colour
    style = _CELL
    if opacity:
        style += f"background:rgb({red},{green},{blue});color:{ink_on((red, green, blue))};"
    return f'<td style="{style}">{code}</td>'


def _ends(count: int, most: int) -> list[int | None]:
    """Indices from 0 to count; of more than `most`, the first and last, and None between."""
    if count <= most:
        return [*range(count)]
    half = most // 2
    return [*range(half), None, *range(count - half, count)]
