"""The folder of a corpus: complete or to be gone on with, and what its tables say."""

import csv

import numpy as np
import pytest
import soundfile

from recipes.corpora.folder import Content, Corpus, Label, Pair, build, write_recording
from tests.bundles import contents
from ulmo.config import UserError

RATE = 8000


def samples(number):
    return (1000 * np.sin(np.arange(RATE) * (number + 1) / 9)).astype(np.int16)


class Maker:
    """Makes three recordings, or is killed after `most` of them."""

    def __init__(self, most=3):
        self.most, self.calls = most, 0

    def __call__(self, folder, workers):
        self.calls += 1
        names = [f"kind/{number}.flac" for number in range(3)]
        for number, name in enumerate(names):
            if number == self.most:
                raise KeyboardInterrupt
            write_recording(folder / name, samples(number), RATE)
        labels = [Label(name, "tone", f"number={number}") for number, name in enumerate(names)]
        pairs = [Pair(names[0], names[2], (0.0, 0.5, 1.0), (0.1, 0.4, 0.9))]
        return Content(labels, pairs, "Nobody's.\n")


def corpus(make, edition=1):
    return Corpus("tones", "CC0-1.0", edition, make)


def test_tables_and_recordings(tmp_path):
    summary = build(corpus(Maker()), tmp_path, 1)
    folder = tmp_path / "tones"
    assert (summary.recordings, summary.seconds, summary.pairs) == (3, 3.0, 1)
    assert summary.bytes == sum(path.stat().st_size for path in folder.glob("kind/*.flac"))
    found, rate = soundfile.read(folder / "kind" / "1.flac", dtype="int16")
    np.testing.assert_array_equal(found, samples(1))
    assert rate == RATE
    assert (folder / "labels.csv").read_text().splitlines()[:2] == [
        *("file,label,extra,start,end", "kind/0.flac,tone,number=0,,")
    ]
    with (folder / "pairs.csv").open(newline="") as file:
        (pair,) = csv.DictReader(file)
    assert (pair["a"], pair["b"]) == ("kind/0.flac", "kind/2.flac")
    assert [float(time) for time in pair["a_times"].split()] == [0, 0.5, 1]
    assert [float(time) for time in pair["b_times"].split()] == [0.1, 0.4, 0.9]
    assert (folder / "LICENSE.txt").read_text() == "Nobody's.\n"


def test_a_second_run_changes_nothing(tmp_path):
    maker = Maker()
    first = build(corpus(maker), tmp_path, 1)
    before = contents(tmp_path / "tones" / "kind")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "tones").rglob("*")}
    assert build(corpus(maker), tmp_path, 2) == first
    assert maker.calls == 1
    assert contents(tmp_path / "tones" / "kind") == before
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "tones").rglob("*")} == times


def test_a_killed_run_goes_on(tmp_path):
    build(corpus(Maker()), tmp_path / "whole", 1)
    with pytest.raises(KeyboardInterrupt):
        build(corpus(Maker(most=2)), tmp_path / "killed", 1)
    folder = tmp_path / "killed" / "tones"
    assert not (folder / "labels.csv").exists()
    (folder / "kind" / ".2.flac.0123456789abcdef.tmp").write_bytes(b"fLaC")
    kept = (folder / "kind" / "0.flac").stat().st_mtime_ns
    build(corpus(Maker()), tmp_path / "killed", 1)
    assert (folder / "kind" / "0.flac").stat().st_mtime_ns == kept
    for part in ("", "kind"):
        files = {path.name: path for path in (folder / part).iterdir() if path.is_file()}
        whole = tmp_path / "whole" / "tones" / part
        assert {name: path.read_bytes() for name, path in files.items()} == {
            path.name: path.read_bytes() for path in whole.iterdir() if path.is_file()
        }


def test_another_edition_is_not_mixed_with_this_one(tmp_path):
    build(corpus(Maker()), tmp_path, 1)
    with pytest.raises(UserError, match=r"tones is edition 1, not 2: remove .*tones, and run"):
        build(corpus(Maker(), edition=2), tmp_path, 1)
