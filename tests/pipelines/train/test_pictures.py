import struct
from types import SimpleNamespace

import numpy as np
import pytest

from ulmo.dataset import ModelOutput
from ulmo.pipelines.train import pictures
from ulmo.pipelines.train.pictures import _spread_rows, draw_losses, draw_reconstructions
from ulmo.preprocessing.store import TileStore
from ulmo.storage.csv_log import CsvLog, batch_columns, epoch_columns


@pytest.fixture(scope="module")
def store(tiny_tiles):
    return TileStore(tiny_tiles)


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn, in place of their pixels."""
    kept = []
    monkeypatch.setattr(pictures, "to_png", lambda figure: kept.append(figure) or b"")
    return kept


def halved(tiles, valid_frames):
    """A model whose reconstruction is half of the tile."""
    return ModelOutput(tiles / 2, np.zeros((len(tiles), 1, 1), np.int32), np.zeros(1, np.float32))


def size_of(png):
    """Width and height in pixels, from the header that must come first."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    assert png.endswith(b"IEND\xae\x42\x60\x82")
    return struct.unpack(">II", png[16:24])


def rows_of(store, count):
    return _spread_rows(store, np.arange(len(store)))[:count]


@pytest.mark.parametrize("count", [1, 3])
def test_both_are_a_png_and_reconstructions_have_a_row_a_tile(count, store, logs):
    rows = rows_of(store, count)
    first = draw_reconstructions(store, rows, halved)
    assert size_of(first) == (1000, 260 * count)
    paths = logs(validation=count > 1)
    losses = draw_losses(*paths)
    assert size_of(losses) == (1500, 400)
    if count > 1:  # the same again
        assert draw_reconstructions(store, rows, halved) == first
        assert draw_losses(*paths) == losses


def test_reconstructions_are_labelled_in_seconds_and_hertz(store, figures):
    rows = np.flatnonzero(store.valid_frames < 32)[-2:]
    draw_reconstructions(store, rows, halved)
    *panels, _, _ = figures[0].axes  # the last two are the colour bars
    assert len(panels) == 4
    for i, axis in enumerate(panels):
        row, kind = int(rows[i // 2]), ("original", "reconstruction")[i % 2]
        assert axis.get_title() == f"{store.recordings[row]}: {kind}"
        assert (axis.get_xlabel(), axis.get_ylabel()) == ("time (s)", "frequency (kHz)")
        start = store.table["start_s"][row].as_py() - 0.5 * 64 / 8000
        end = start + store.valid_frames[row] * 64 / 8000
        assert axis.get_xlim() == pytest.approx((start, end))
        assert axis.get_ylim() == (0, 32)


def test_ticks_stand_at_their_frequencies(store, figures):
    """Bin k of an STFT of 64 samples at 8 kHz is centred on (k + 1) * 125 Hz, at k + 0.5."""
    draw_reconstructions(store, rows_of(store, 1), halved)
    axis = figures[0].axes[0]
    ticks = {
        float(label.get_text()): place
        for label, place in zip(axis.get_yticklabels(), axis.get_yticks(), strict=True)
    }
    assert ticks == {khz: pytest.approx(8 * khz - 0.5) for khz in sorted(ticks)}
    assert {0.5, 1, 2, 4} <= ticks.keys()


def test_both_panels_show_decibels_on_one_scale(store, figures):
    row = rows_of(store, 1)
    draw_reconstructions(store, row, halved)
    left, right, bar = figures[0].axes
    original, made = (axis.collections[0] for axis in (left, right))
    values = store.read(row)[0, :, : store.valid_frames[row[0]], 0]
    normalization = store.normalization(int(row[0]))
    for image, expected in ((original, values), (made, values / 2)):
        np.testing.assert_allclose(
            np.asarray(image.get_array()).reshape(expected.shape), normalization.undo(expected)
        )
    low, high = np.percentile(normalization.undo(values), [1, 99.9])
    assert original.get_clim() == made.get_clim() == pytest.approx((low, high))
    assert bar.get_ylabel() == "dB re tracked level"


@pytest.mark.parametrize(
    ("names", "rows", "expected"),
    [
        ("a" * 9, range(9), [0, 2, 5, 8]),
        ("aaab", [1, 3], [1, 3]),
        ("a", [0], [0]),
        ("aaaaabbcde", range(10), [0, 5, 7, 9]),
        ("aabbccddee", [1, 2, 3, 5, 6, 9], [1, 2, 5, 9]),
    ],
)
def test_rows_are_of_different_recordings_or_far_apart(names, rows, expected):
    store = SimpleNamespace(recordings=np.array(list(names)))
    assert list(_spread_rows(store, np.array(rows))) == expected
    assert len(expected) <= pictures._PICTURE_TILES


@pytest.fixture
def logs(tmp_path):
    """A function that writes the logs of a run; returns their paths."""

    def write(*, validation):
        batches, epochs = (tmp_path / name for name in ("losses.csv", "epochs.csv"))
        columns = batch_columns(["reconstruct"])
        log = CsvLog(batches, columns, last=0)
        for step in range(1, 9):
            log.write({**dict.fromkeys(columns, 1 / step), "epoch": 0, "step": step})
        log.close()
        columns = epoch_columns(["reconstruct"])
        log = CsvLog(epochs, columns, last=0)
        names = [name for name in columns if validation or name.startswith("train")]
        for epoch in range(2):
            log.write({**dict.fromkeys(names, 0.5), "epoch": epoch, "step": 4 * epoch + 4})
        log.close()
        return batches, epochs

    return write


@pytest.mark.parametrize("validation", [True, False])
def test_losses_have_a_curve_for_each_label(validation, logs, figures):
    draw_losses(*logs(validation=validation))
    left, right, own = figures[0].axes
    assert {axis.get_xlabel() for axis in (left, right, own)} == {"step"}
    assert left.get_ylabel() == "mean squared error, normalised units"
    assert right.get_ylabel() == "codebook perplexity (codes)"
    curves = {line.get_label(): line for axis in (left, right) for line in axis.lines}
    training = {"reconstruction, training", "commitment, training", "training batch"}
    kinds = ("reconstruction", "all tokens", "non-silent tokens")
    held_out = {f"{kind}, held out" for kind in kinds}
    assert set(curves) == training | (held_out if validation else set())
    line = curves["commitment, training"]
    assert list(line.get_xdata()) == list(range(1, 9))
    np.testing.assert_allclose(line.get_ydata(), 1 / np.arange(1, 9), rtol=1e-6)
    assert own.get_ylabel() == "score of the own task (dashed: chance)"
    score, chance, held_out_score = own.lines
    np.testing.assert_allclose(score.get_ydata(), 1 / np.arange(1, 9), rtol=1e-6)
    assert chance.get_linestyle() == "--"
    if validation:
        assert list(curves["all tokens, held out"].get_xdata()) == [4, 8]
        assert list(held_out_score.get_xdata()) == [4, 8]
        assert held_out_score.get_label() == "reconstruct, held out"
