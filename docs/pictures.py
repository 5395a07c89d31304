"""Draw the picture of README.md: the shipped tokenizer's tokens under a spectrogram.

    python docs/pictures.py [OUT.png]

The recording is data_samples/harmonic_calls.wav, in which one call sounds six times. The same
versions of ulmo and Matplotlib draw the same bytes.
"""

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

import ulmo
from ulmo.pictures.axes import own_style
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.normalize import Normalization

Floats = NDArray[np.float64]

FOLDER = Path(__file__).parent
RECORDING = FOLDER.parent / "data_samples" / "harmonic_calls.wav"
ENLARGED = (4.4, 7.0)  # starts of two calls whose ids are printed, from data_samples/events.csv
COLUMNS = 15  # columns of an enlarged call: 0.6 s
TICKS_KHZ = (0.2, 0.5, 1, 2, 4, 7)
RANGE_DB = 66.0  # from the brightest colour of the spectrogram to the darkest
TOKEN_COLOURS = "viridis"  # ordered by lightness too: readable with any colour vision
INK = "#222222"


def main(out: Path) -> None:
    """Encode the recording, draw three rows of panels, write the PNG."""
    tokenizer = ulmo.load_tokenizer()
    tokens = tokenizer.encode(RECORDING)
    settings = tokenizer.manifest.prep.model_copy(update={"normalization": "corpus", "overlap": 0})
    decibels = ulmo.preprocess(
        RECORDING, settings=settings, normalization=Normalization(offset=0.0, scale=1.0)
    )
    spectrogram = np.concatenate(list(decibels[..., 0]), axis=1)[:, : tokens.frames]
    places = places_of(tokenizer.codebook, tokens.ids, spectrogram)

    with (
        own_style(),
        mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 10.5, "text.color": INK}),
    ):
        figure = Figure(figsize=(11, 7.2), layout="constrained", dpi=130)
        rows = figure.add_gridspec(3, 2, height_ratios=(2.4, 1.2, 1.5))
        upper = figure.add_subplot(rows[0, :])
        draw_spectrogram(upper, spectrogram, build_frontend(settings).frequencies, tokens)
        draw_grid(figure.add_subplot(rows[1, :], sharex=upper), places, tokens)
        for column, start_s in enumerate(ENLARGED):
            draw_call(figure.add_subplot(rows[2, column]), places, tokens, start_s)
        FigureCanvasAgg(figure)
        figure.savefig(out, metadata={"Software": None})


def places_of(codebook: NDArray[np.float32], ids: NDArray[np.int32], decibels: Floats) -> Floats:
    """Colour of each token, 0 to 1, shape (time, band): within a band, similar codes look alike.

    The codes that occur in a band are ordered along the first principal component of its tokens'
    vectors, in the direction in which levels rise.
    """
    columns, bands = ids.shape
    places = np.empty(ids.shape)
    cells = decibels.reshape(bands, len(decibels) // bands, columns, -1).mean(axis=(1, 3))
    for band in range(bands):
        used, inverse, counts = np.unique(ids[:, band], return_inverse=True, return_counts=True)
        vectors = codebook[ids[:, band]].astype(float)
        vectors -= vectors.mean(axis=0)
        scores = vectors @ np.linalg.svd(vectors, full_matrices=False)[2][0]
        scores *= np.sign(scores @ (cells[band] - cells[band].mean()))
        order = np.argsort([scores[inverse == code][0] for code in range(len(used))])
        edges = np.cumsum(np.sqrt(counts[order]))  # a frequent code takes more of the colours
        place = np.empty(len(used))
        place[order] = (edges - edges[0]) / max(edges[-1] - edges[0], 1.0)
        places[:, band] = place[inverse]
    return places


def draw_spectrogram(axis: Any, decibels: Floats, frequencies: Floats, tokens: ulmo.Tokens) -> None:
    """Draw the levels, hertz where the bins' centres put them, and the bands of the tokens."""
    bins, frames = decibels.shape
    hop_s = tokens.hop / tokens.sample_rate * len(tokens.ids) / frames
    loudest = decibels.max()
    axis.imshow(
        decibels,
        origin="lower",
        aspect="auto",
        extent=(0.0, frames * hop_s, 0, bins),
        vmin=loudest - RANGE_DB,
        vmax=loudest,
        cmap="magma",
        interpolation="antialiased",
    )
    bands = tokens.ids.shape[1]
    for band in range(1, bands):
        axis.axhline(band * bins / bands, color="white", lw=0.8, ls=(0, (5, 4)), alpha=0.7)
    places = np.interp(TICKS_KHZ, frequencies / 1000, np.arange(bins) + 0.5)
    axis.set_yticks(places, [f"{mark:g}" for mark in TICKS_KHZ])
    axis.set_ylabel("frequency (kHz)")
    axis.tick_params(labelbottom=False)
    axis.set_title("Spectrogram of one call, six times; dashed: the four bands", loc="left")


def draw_grid(axis: Any, places: Floats, tokens: ulmo.Tokens) -> None:
    """Draw every token as a coloured cell, on the time axis of the spectrogram."""
    paint(axis, places, tokens, 0, len(places))
    for start_s in ENLARGED:
        end_s = start_s + COLUMNS * tokens.hop / tokens.sample_rate
        axis.plot([start_s, end_s], [-0.12] * 2, color=INK, lw=2.5, clip_on=False)
    axis.set_ylim(0, places.shape[1])
    axis.set_xlabel("time (s)")
    step_ms = 1000 * tokens.hop / tokens.sample_rate
    axis.set_title(
        f"Tokens: a column every {step_ms:.0f} ms; in a band, similar codes have similar colours",
        loc="left",
    )


def draw_call(axis: Any, places: Floats, tokens: ulmo.Tokens, start_s: float) -> None:
    """Draw the tokens of one call with their ids; bold where both calls have the same id."""
    step_s = tokens.hop / tokens.sample_rate
    first = round(start_s / step_s)
    paint(axis, places, tokens, first, first + COLUMNS)
    others = [round(other / step_s) for other in ENLARGED]
    same = np.equal(*(tokens.ids[place : place + COLUMNS] for place in others))
    for column, band in np.ndindex(same.shape):
        axis.text(
            (first + column + 0.5) * step_s,
            band + 0.5,
            tokens.ids[first + column, band],
            ha="center",
            va="center",
            fontsize=9.5,
            weight="bold" if same[column, band] else "normal",
            color="white" if places[first + column, band] < 0.6 else INK,
        )
    axis.set_xlabel("time (s)")
    title = f"The call at {start_s:.1f} s"
    if start_s == ENLARGED[0]:
        title += f": {same.sum()} of its {same.size} ids (bold) return at {ENLARGED[1]:.1f} s"
    axis.set_title(title, loc="left")


def paint(axis: Any, places: Floats, tokens: ulmo.Tokens, first: int, last: int) -> None:
    """Draw columns `first` to `last` as cells, the lowest band below."""
    step_s = tokens.hop / tokens.sample_rate
    axis.pcolormesh(
        np.arange(first, last + 1) * step_s,
        np.arange(places.shape[1] + 1),
        places[first:last].T,
        vmin=0.0,
        vmax=1.0,
        cmap=TOKEN_COLOURS,
        edgecolors="none" if last - first > COLUMNS else "white",
    )
    axis.set_yticks(np.arange(places.shape[1]) + 0.5, range(places.shape[1]))
    axis.tick_params(left=False)
    axis.set_ylabel("band")
    axis.spines[:].set_visible(False)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "tokens.png")
