"""Every fault of the table ends as one row, by ulmo-prep and by ulmo-tokenize."""

import numpy as np
import pytest

from tests.pipelines.faults import FAULTS, LENGTH, OGG, PCM, wav, written
from tests.pipelines.recordings import TINY, by_path, rows_of
from tests.pipelines.tokenizing import tokenize
from ulmo.pipelines.prep.prep import prepare
from ulmo.preprocessing.reading.quality import FLAGS
from ulmo.preprocessing.store import TileStore

NAMES = {fault: f"{number:02d}.wav" for number, fault in enumerate(FAULTS)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    for fault, name in NAMES.items():
        (folder / name).write_bytes(FAULTS[fault].content)
    return folder


@pytest.fixture(scope="module")
def outs(folder, tmp_path_factory, tokenizer):
    """What ulmo-prep and ulmo-tokenize make of them."""
    place = tmp_path_factory.mktemp("outs")
    prepare(folder, place / "prepared", TINY)
    tokenize(tokenizer, folder, out=place / "tokenized")
    return place


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("command", ["prepared", "tokenized"])
def test_a_fault_and_its_row(fault, command, outs):
    row = by_path(outs / command)[NAMES[fault]]
    due = FAULTS[fault]
    assert (row["status"], row["reason"]) == (due.status, due.reason)
    assert (row["detail"] is None) == (due.status == "ok")
    found = (row["frames"], row["frames_missing"], row["frames_declared"])
    assert found == (due.read, due.missing, due.declared)
    flags = set(row["flags"])
    if command == "tokenized":  # at half the rate: above it lies half of the noise
        flags = flags - {"above_bandwidth"} | (set(due.flags) & {"above_bandwidth"})
    assert flags == set(due.flags)
    assert "above_bandwidth" not in due.flags or "above_bandwidth" in row["flags"]


@pytest.mark.parametrize("command", ["prepared", "tokenized"])
def test_what_was_read_and_what_is_missing_is_what_is_declared_or_held(command, outs):
    """Where the sizes are wrong, what the file holds; there is one row a file, and no other."""
    rows = by_path(outs / command)
    assert sorted(rows) == sorted(NAMES.values())
    for fault, name in NAMES.items():
        row = rows[name]
        both = row["frames"] + row["frames_missing"]
        if row["reason"] in ("header_sizes", "no_samples"):
            held = {"a tail of NULs": LENGTH + 1500, "the header and NULs": 4000}
            held["ADPCM, crashed"] = 4040  # whole blocks
            assert both == held.get(fault, LENGTH if row["frames"] else 0)
        elif row["reason"] == "more_data":
            assert both == 2 * LENGTH
        elif row["frames_declared"] is not None and row["reason"] != "lost_sizes":
            assert both == row["frames_declared"]


def test_tiles_are_finite_and_refused_recordings_have_none(outs):
    store = TileStore(outs / "prepared")
    assert np.isfinite(store.read(range(len(store)))).all()
    for row in rows_of(outs / "prepared"):
        assert (row["tiles"] == 0) == (row["status"] == "refused")


def test_every_flag_of_the_samples_is_in_the_table():
    assert {flag for fault in FAULTS.values() for flag in fault.flags} >= set(list(FLAGS)[:7])


def test_mp3_and_ogg_named_wav_are_read_for_what_they_are(tmp_path):
    (tmp_path / "mp3.wav").write_bytes(written("MP3", "MPEG_LAYER_III", rate=8000))
    (tmp_path / "ogg.wav").write_bytes(OGG)
    prepare(tmp_path, tmp_path / "out", TINY)
    rows = by_path(tmp_path / "out")
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert all(row["frames"] == row["frames_declared"] >= LENGTH for row in rows.values())


def test_an_ogg_stream_without_its_end_is_told(tmp_path):
    """How much is missing nobody can tell."""
    (tmp_path / "x.ogg").write_bytes(OGG[: len(OGG) * 3 // 4])
    prepare(tmp_path, tmp_path / "out", TINY)
    (row,) = rows_of(tmp_path / "out")
    assert (row["status"], row["reason"]) == ("partial", "truncated")
    assert "an unknown length is missing" in row["detail"]
    assert 0 < row["frames"] == row["frames_declared"] < 20 * LENGTH


def test_a_thousand_recordings_of_which_fifty_are_bad(tmp_path):
    bad = [fault.content for fault in FAULTS.values() if fault.status == "refused"]
    for number in range(1000):
        path = tmp_path / "audio" / f"{number % 10}" / f"{number:03d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        start = 2 * (number % 900)
        path.write_bytes(
            bad[number // 20 % len(bad)] if number % 20 == 7 else wav(PCM[start:][:400])
        )
    summary = prepare(tmp_path / "audio", tmp_path / "out", TINY)
    rows = rows_of(tmp_path / "out")
    assert len({row["path"] for row in rows}) == len(rows) == summary.recordings == 1000
    assert summary.statuses == {"ok": 950, "refused": 50}
    assert sum(row["tiles"] == 1 for row in rows) == summary.tiles == 950
