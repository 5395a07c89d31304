"""ulmo lm curve: which columns it compares, what recurs, and its picture; that of ulmo lm score."""

import csv
import json
from itertools import pairwise

import numpy as np
import pytest

from tests.commands import assert_refused, run
from tests.token_models import TINY, model_of
from ulmo.cli.main import ulmo as command
from ulmo.listening.classes import Classes
from ulmo.pictures.own_matplotlib import Figure
from ulmo.pipelines.lm.curve import CurvePoint
from ulmo.pipelines.lm.picture import ScorePicture, draw_curve
from ulmo.pipelines.lm.score import score_row
from ulmo.pipelines.lm.targets import KINDS, TARGET, marks_of, targets_of
from ulmo.pipelines.lm.token_row import Source, TokenRow

COLUMN_S = 0.04
HEAD = "recording,channel,kind,class,start_s,end_s\n"


def row_of(columns, *names, seed=0):
    """Recordings of so many columns each, in one row."""
    ids = np.random.default_rng(seed).integers(0, TINY.codebook_size, (columns * len(names), 2))
    seconds = np.arange(len(ids)) * COLUMN_S
    sources = [Source(n * columns, name, n * columns * COLUMN_S) for n, name in enumerate(names)]
    return TokenRow(sources, None, ids.astype(np.int32), seconds, COLUMN_S, None)


def spans(marks, value):
    edges = np.flatnonzero(np.diff(marks == value, prepend=False, append=False))
    return [tuple(each) for each in edges.reshape(-1, 2).tolist()]


def test_the_first_occurrence_of_a_class_and_those_that_follow_are_told_apart():
    row = row_of(1000, "a.wav")
    found = [(4.0, 4.4, 1), (8.0, 8.4, 2), (12.0, 12.8, 1), (30.0, 30.005, 1), (20.0, 20.4, 1)]
    marks = marks_of(row, Classes({("a.wav", None): found, ("b.wav", None): [(5.0, 6.0, 1)]}))
    assert spans(marks, 1) == [(100, 110), (200, 210)]  # an impulse is shorter than a column
    assert spans(marks, 2) == [(300, 320), (500, 510)]


def test_parts_that_touch_are_one_occurrence():
    row = row_of(1000, "a.wav")
    marks = marks_of(row, Classes({("a.wav", None): [(4.0, 4.4, 1), (4.44, 4.8, 1)]}))
    assert spans(marks, 1) == [(100, 110), (111, 120)]
    assert not (marks == 2).any()


def test_an_earlier_recording_counts_only_in_one_row():
    repeats = Classes({(name, None): [(8.0, 8.4, 7)] for name in ("a.wav", "b.wav")})
    assert spans(marks_of(row_of(500, "b.wav"), repeats), 1) == [(200, 210)]
    both = marks_of(row_of(500, "a.wav", "b.wav"), repeats)
    assert (spans(both, 1), spans(both, 2)) == ([(200, 210)], [(700, 710)])


def test_targets_are_spread_and_leave_out_the_begin_of_each_recording():
    marks = np.zeros(2000, int)
    marks[1010:1100], marks[1300:1500], marks[1700:1710], marks[1900:1901] = 2, 2, 1, 2
    found = targets_of(1000, 2000, 4, marks)
    assert list(found) == [*KINDS]
    assert [each.first for each in found["all"]] == [1064, 1354, 1645, 1936]
    assert all(each.end - each.first == TARGET for each in found["all"])
    assert found["later"][0] == (1064, 1100)
    assert len(found["later"]) == 4
    assert all(first.end <= second.first for first, second in pairwise(found["later"]))
    assert found["first"] == [(1700, 1710)]
    assert targets_of(0, 100, 4, None) == {}


def test_a_curve_of_what_recurs_stands_beside_that_of_all(lm, tokens, tmp_path):
    table, out = tmp_path / "repeats.csv", tmp_path / "curve.csv"
    rows = [
        f"20260301_12{minute:02}00.wav,,sound,1,{start},{start + 0.4}\n"
        for minute in range(5)
        for start in (2.8, 4.0, 5.2)
    ]
    table.write_text(HEAD + "".join(rows))
    own = (tokens, "--lm", lm, "--targets", 2, "--repeats", table)
    done = run(command, "lm", "curve", *own, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    points = json.loads(done.stdout)["points"]
    assert [point["columns"] for point in points] == [kind for kind in KINDS for _ in range(2)]
    assert [point["context_tokens"] for point in points] == [100, None] * 3  # none has 400 before
    tokens_of = {point["columns"]: point["tokens"] for point in points}
    assert tokens_of == {"all": (1 + 1 + 2 + 2 + 2) * 128, "later": 5 * 2 * 20, "first": 5 * 20}
    assert all(point["recordings"] == 5 for point in points)
    with out.open(newline="") as file:
        assert [row["columns"] for row in csv.DictReader(file)] == [p["columns"] for p in points]
    shown = run(command, "lm", "curve", *own, "--joined").stdout
    assert "past        bits a token               later                      first" in shown
    assert "targets     20 tokens of 1 recording in first occurrences" in shown
    table.write_text(HEAD + "other.wav,,sound,1,4,5\n")
    assert_refused(run(command, "lm", "curve", *own), "none of the repeats is in these tokens")


@pytest.fixture
def figures(monkeypatch):
    """Figures that were saved."""
    made, save = [], Figure.savefig

    def kept(figure, *arguments, **options):
        made.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", kept)
    return made


def test_the_picture_of_a_curve_has_a_line_and_a_band_for_each_kind(figures, tmp_path):
    points = [
        CurvePoint(kind, context, 2.0 - number, 1.9 - number, 2.1 - number, 640, 3)
        for number, kind in enumerate(KINDS[:2])
        for context in (100, 400, None)
    ]
    draw_curve(points, tmp_path / "x.png")
    ((axis,),) = [figure.axes for figure in figures]
    assert axis.get_xscale() == "log"
    labels = [label.get_text() for label in axis.get_xticklabels()]
    assert labels == ["100", "400", "all"]
    assert [line.get_xdata().tolist() for line in axis.lines] == [[100, 400, 1600]] * 2
    assert len(axis.collections) == 2
    assert axis.get_ylabel() == "bits a token"


def test_the_picture_of_scores_is_in_seconds_and_breaks_at_gaps(figures, tmp_path):
    model, picture = model_of(tmp_path / "lm"), ScorePicture()
    row = row_of(300, "a.wav", "b.wav")
    row.ids[100:150] = 13  # <gap>
    scored = score_row(model, row)
    picture.add(scored)
    picture.publish(tmp_path / "x.png")
    (figure,) = figures
    bits, surprise, gain = figure.axes
    assert bits.get_xlim() == (0, pytest.approx(24.0))
    assert gain.get_xlabel() == "time (s), recordings one after the other"
    first, second = bits.lines[:2]
    x, y = first.get_data()
    assert np.isnan(y).sum() == 1
    assert x[~np.isnan(y)].tolist() == row.seconds[[*range(100), *range(150, 300)]].tolist()
    np.testing.assert_allclose(y[~np.isnan(y)], scored.scores.column_bits[:250])
    assert second.get_xdata()[0] == pytest.approx(12.0)
    assert [axis.get_ylabel() for axis in figure.axes] == ["bits", "surprise (bits)", "gain (bits)"]
    assert [text.get_text() for text in bits.texts] == ["a.wav", "b.wav"]
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    assert surprise is not None


def test_long_recordings_are_drawn_by_means_and_highest_values(figures, tmp_path):
    model, picture = model_of(tmp_path / "lm"), ScorePicture()
    scored = score_row(model, row_of(2500, "a.wav"))
    picture.add(scored)
    picture.publish(tmp_path / "x.png")
    axis = figures[0].axes[0]
    bits = scored.scores.column_bits
    line = axis.lines[0].get_ydata()
    np.testing.assert_allclose(line[:833], bits[:2499].reshape(833, 3).mean(axis=1))
    highest = axis.collections[0].get_paths()[0].vertices[:, 1].max()
    assert highest == pytest.approx(bits.max())
    words = "line: the mean of up to 3 columns; pale: up to the highest"
    assert [text.get_text() for text in figures[0].axes[-1].texts] == [words]


def test_pictures_are_png_and_replace_no_foreign_file(lm, tokens, tmp_path):
    own, out = (tokens, "--lm", lm), ("--out", tmp_path / "x.csv")
    (tmp_path / "mine.png").write_bytes(b"\x89PNG mine")
    for name, words in (("x.jpg", "does not end with .png"), ("mine.png", "is there")):
        for arguments in (("score", *own, *out), ("curve", *own)):
            refused = run(command, "lm", *arguments, "--picture", tmp_path / name)
            assert_refused(refused, words, "--picture FILE.png")
    drawn = tmp_path / "x.png"
    done = run(command, "lm", "score", *own, *out, "--picture", drawn)
    assert done.stdout.endswith(f"picture     {drawn}\n")
    assert drawn.read_bytes()[:4] == b"\x89PNG"
