"""What a notebook shows of tokens: Tokens.plot, and the table of their cells."""

import re
from datetime import UTC, datetime

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from ulmo.pictures.colours import UNKNOWN, code_colours, colours_by_id
from ulmo.tokens import Tokens

CODES = 8
COLOURS = code_colours(np.random.default_rng(1).normal(size=(CODES, 5)))
UNK, GAP = CODES, CODES + 5
IDS = np.array([[0, 7], [1, UNK], [GAP, GAP], [3, 3]], np.int32)


def tokens_of(ids=IDS, **options):
    known = {"colours": COLOURS, "edges_hz": np.array([0.0, 900.0, 8000.0]), **options}
    distances = np.zeros(ids.shape, np.float32)
    return Tokens(ids, distances, 16_000, 640, frames=4 * len(ids), **known)


def axes():
    return Figure().subplots()


def cells_of(axis):
    (image,) = axis.images
    return np.asarray(image.get_array())  # (band, time, 4)


def test_a_cell_has_the_colour_of_its_code():
    drawn = tokens_of().plot(axes())
    cells = cells_of(drawn)
    assert np.array_equal(cells[0, [0, 1, 3], :3], COLOURS[[0, 1, 3]])
    assert cells[1, 1].tolist() == [*UNKNOWN, 255]
    assert (cells[:, 2, 3] == 0).all()
    assert cells[..., 3].sum() == 6 * 255
    assert drawn.images[0].get_extent() == [0, pytest.approx(0.16), 0, 2]
    assert [label.get_text() for label in drawn.get_yticklabels()] == ["0", "0.9", "8"]
    assert "like codes have like colours" in drawn.get_title("left")


def test_without_colours_each_id_has_its_own():
    tokens = tokens_of(colours=None)
    drawn = tokens.plot(axes())
    assert np.array_equal(cells_of(drawn)[..., :3], colours_by_id()[IDS.T])
    assert "a colour for each id" in drawn.get_title("left")
    assert np.array_equal(
        cells_of(tokens.plot(axes(), colours=COLOURS)), cells_of(tokens_of().plot(axes()))
    )


def test_time_that_was_left_out_is_left_empty():
    tokens = tokens_of(samples=np.array([0, 640, 6400, 7040]))
    drawn = tokens.plot(axes())
    spans = [image.get_extent()[:2] for image in drawn.images]
    assert np.allclose(spans, [(0, 0.08), (0.4, 0.48)])
    assert np.allclose(drawn.get_xlim(), (0, 0.48))


def test_a_figure_is_made_where_none_is_given():
    drawn = tokens_of(np.zeros((0, 2), np.int32)).plot()
    try:
        assert drawn.figure is pyplot.gcf()
        assert len(drawn.images) == 0
        assert np.allclose(drawn.get_xlim(), (0, 0.04))
    finally:
        pyplot.close(drawn.figure)


def test_the_table_shows_both_ends():
    ids = np.arange(100, dtype=np.int32)[:, None] + 100 * np.arange(20, dtype=np.int32)
    edges = np.linspace(0, 8000, 21)
    html = tokens_of(ids, edges_hz=edges, colours=None)._repr_html_()
    rows = html.split("<tr>")[1:]
    assert len(rows) == 1 + 10 + 1
    assert len(re.findall("<td", rows[1])) == 16 + 1
    assert re.findall(r">(\d+)</td>", rows[1]) == [str(100 * band) for band in range(20)][:8] + [
        str(100 * band) for band in range(12, 20)
    ]
    assert "3.960" in rows[-1]
    assert "400 to 800 Hz" in rows[0]


def test_a_cell_of_the_table_has_the_colour_of_its_code():
    html = tokens_of()._repr_html_()
    red, green, blue = COLOURS[7].tolist()
    assert re.search(rf"background:rgb\({red},{green},{blue}\);color:(black|white);\">7<", html)
    assert re.search(rf'<td style="[^"]*right;">{GAP}<', html)  # no sound: no colour


def test_all_text_is_escaped():
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    html = tokens_of(fingerprint="<b>&'", start_utc=moment)._repr_html_()
    assert "tokenizer &lt;b&gt;&amp;&#x27;" in html
    assert "2026-05-01T00:00:00+00:00" in html


def test_encode_gives_the_colours(tokenizer_of):
    tokenizer = tokenizer_of()
    rate = tokenizer.prep.sample_rate
    tokens = tokenizer.encode(np.zeros(rate, np.float32), sample_rate=rate)
    assert np.array_equal(tokens.colours, code_colours(tokenizer.codebook))
