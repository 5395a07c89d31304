"""Draw the picture of README.md: a recording, its tokens, and its repeated calls.

    python docs/pictures.py [OUT.png]

The recording is data_samples/harmonic_calls.wav, in which one call sounds six times. The same
versions of ulmo and Matplotlib draw the same bytes. `make pictures` draws all pictures of docs/.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

import ulmo
from ulmo.pictures.axes import own_style
from ulmo.pictures.colours import cell_colours, ink_on
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.normalize import Normalization

Floats = NDArray[np.float64]

FOLDER = Path(__file__).parent
SAMPLES = FOLDER.parent / "data_samples"
RECORDING = SAMPLES / "harmonic_calls.wav"
OTHERS = ("whistles.wav", "near_silence.wav")  # eight seconds do not show what chance repeats
ENLARGED = (4.4, 7.0)  # starts of two calls whose ids are printed, from data_samples/events.csv
COLUMNS = 15  # columns of an enlarged call: 0.6 s
TICKS_KHZ = (0.2, 0.5, 1, 2, 4, 7)
RANGE_DB = 66.0  # from the brightest colour of the spectrogram to the darkest
INK = "#222222"


class Heard(NamedTuple):
    """What the picture shows of the recording."""

    decibels: Floats  # (bins, frames)
    frequencies: Floats  # of the bins, in hertz
    tokens: ulmo.Tokens
    repeats: list[dict[str, Any]]  # those in the recording


def main(out: Path) -> None:
    """Encode the recording, find what recurs, and write the PNG."""
    draw(listen(), out)


def listen() -> Heard:
    """The recording's levels, its tokens, and its repeats among the sounds of three recordings."""
    tokenizer = ulmo.load_tokenizer()
    tokens = tokenizer.encode(RECORDING)
    settings = tokenizer.prep.model_copy(update={"normalization": "corpus", "overlap": 0})
    decibels = ulmo.preprocess(
        RECORDING, settings=settings, normalization=Normalization(offset=0.0, scale=1.0)
    )
    spectrogram = np.concatenate(list(decibels[..., 0]), axis=1)[:, : tokens.frames]
    paths = [RECORDING, *(SAMPLES / name for name in OTHERS)]
    found = ulmo.repeats(paths, tokenizer=tokenizer, impulses=False)
    rows = [row for row in found if Path(row["recording"]).name == RECORDING.name]
    return Heard(spectrogram, build_frontend(settings).frequencies, tokens, rows)


def draw(heard: Heard, out: Path) -> None:
    """Draw four rows of panels, and write the PNG."""
    tokens = heard.tokens
    with (
        own_style(),
        mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 10.5, "text.color": INK}),
    ):
        figure = Figure(figsize=(11, 7.6), layout="constrained", dpi=110)
        rows = figure.add_gridspec(4, 2, height_ratios=(2.2, 1.1, 0.4, 1.4))
        upper = figure.add_subplot(rows[0, :])
        draw_spectrogram(upper, heard)
        grid = tokens.plot(figure.add_subplot(rows[1, :], sharex=upper))
        grid.set_xlabel("")
        grid.set_ylabel("bands (kHz)")
        grid.tick_params(labelbottom=False)
        grid.set_title(
            f"Tokens: an id of a code for each band, every {1000 * step_s(tokens):.0f} ms; "
            "like codes have like colours",
            loc="left",
        )
        draw_repeats(figure.add_subplot(rows[2, :], sharex=upper), heard.repeats)
        for column, start_s in enumerate(ENLARGED):
            draw_call(figure.add_subplot(rows[3, column]), tokens, start_s)
        FigureCanvasAgg(figure)
        figure.savefig(out, metadata={"Software": None})


def step_s(tokens: ulmo.Tokens) -> float:
    """Seconds from a column to the next."""
    return tokens.hop / tokens.sample_rate


def draw_spectrogram(axis: Any, heard: Heard) -> None:
    """Draw the levels, hertz where the bins' centres put them, and the bands of the tokens."""
    bins = len(heard.decibels)
    tokens, loudest = heard.tokens, heard.decibels.max()
    axis.imshow(
        heard.decibels,
        origin="lower",
        aspect="auto",
        extent=(0.0, len(tokens.ids) * step_s(tokens), 0, bins),
        vmin=loudest - RANGE_DB,
        vmax=loudest,
        cmap="magma",
        interpolation="antialiased",
    )
    bands = tokens.ids.shape[1]
    for band in range(1, bands):
        axis.axhline(band * bins / bands, color="white", lw=0.8, ls=(0, (5, 4)), alpha=0.7)
    places = np.interp(TICKS_KHZ, heard.frequencies / 1000, np.arange(bins) + 0.5)
    axis.set_yticks(places, [f"{mark:g}" for mark in TICKS_KHZ])
    axis.set_ylabel("frequency (kHz)")
    axis.tick_params(labelbottom=False)
    axis.set_title("A recording: one call, six times; dashed: the bands of the tokens", loc="left")


def draw_repeats(axis: Any, repeats: list[dict[str, Any]]) -> None:
    """Draw a bar for each repeat, in a lane for each class."""
    classes = sorted({row["class"] for row in repeats})
    for row in repeats:
        lane = classes.index(row["class"])
        axis.barh(lane, row["end_s"] - row["start_s"], left=row["start_s"], color=f"C{lane}")
    axis.set_yticks(range(len(classes)), [f"class {number}" for number in classes])
    axis.set_ylim(len(classes) - 0.5, -0.5)
    axis.set_xlabel("time (s)")
    axis.set_title("What recurs, as ulmo repeats finds it in the tokens", loc="left")


def draw_call(axis: Any, tokens: ulmo.Tokens, start_s: float) -> None:
    """Draw the tokens of one call with their ids; bold where both calls have the same id."""
    first = round(start_s / step_s(tokens))
    others = [round(other / step_s(tokens)) for other in ENLARGED]
    same = np.equal(*(tokens.ids[place : place + COLUMNS] for place in others))
    ids = tokens.ids[first : first + COLUMNS]
    cells = cell_colours(ids, tokens.colours)
    columns, bands = ids.shape
    left, width = first * step_s(tokens), step_s(tokens)
    axis.pcolormesh(
        left + np.arange(columns + 1) * width,
        np.arange(bands + 1),
        cells.transpose(1, 0, 2),
        edgecolors="white",
    )
    for column, band in np.ndindex(same.shape):
        axis.text(
            left + (column + 0.5) * width,
            band + 0.5,
            ids[column, band],
            ha="center",
            va="center",
            fontsize=9.5,
            weight="bold" if same[column, band] else "normal",
            color=ink_on(tuple(cells[column, band, :3].tolist())),
        )
    axis.set_yticks(np.arange(bands) + 0.5, range(bands))
    axis.tick_params(left=False)
    axis.set_ylabel("band")
    axis.spines[:].set_visible(False)
    axis.set_xlabel("time (s)")
    title = f"The call at {start_s:.1f} s"
    if start_s == ENLARGED[0]:
        title += f": {same.sum()} of its {same.size} ids (bold) return at {ENLARGED[1]:.1f} s"
    axis.set_title(title, loc="left")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "tokens.png")
