import json
import shutil
from collections import Counter

import numpy as np
import pytest
import soundfile

from tests.outputs import names
from tests.pipelines.recordings import by_path, contents, rows_of
from tests.pipelines.tokenizing import hidden, record, tokenize
from tests.sealed import reseal
from tests.small_tokenizers import RATE
from ulmo.config import ClockSettings, JobError, UserError
from ulmo.formats import FORMATS
from ulmo.formats.base import Labelling
from ulmo.formats.header import read_stored
from ulmo.formats.npy import read_npy
from ulmo.formats.publish import output_paths, stream_paths
from ulmo.formats.read import read_corpus
from ulmo.pipelines.tokenize import job as tokenize_job
from ulmo.pipelines.tokenize.tokenize import Listener
from ulmo.tokenizer import load_tokenizer

READ = [name for name, kind in FORMATS.items() if kind.readable]
"""Formats that can be read back."""


def ids_in(output, file_format):
    """What is read back of one recording's output."""
    path = output_paths(output, file_format).files[-1]
    (stored,) = read_corpus(path)
    return stored.ids


class TestThePromise:
    """encode, stream, files by one worker or several, each format read back: the same ids."""

    def test_of_one_recording(self, tokenizer, tmp_path):
        path = record(tmp_path / "x.wav", seconds=12.34)
        tokens = tokenizer.encode(path)
        (result,) = tokenize(tokenizer, path)
        assert result.outputs == [tmp_path / "x.tokens.npy"]
        np.testing.assert_array_equal(np.load(result.outputs[0]), tokens.ids)
        assert tokens.ids.shape == (-(-1234 // 4), 4)
        assert len(np.unique(tokens.ids)) > 2
        assert (result.outcome.status, result.outcome.detail) == ("ok", None)
        row = result.outcome
        assert (row.duration_s, row.columns, row.bands) == (12.34, 309, 4)
        assert (row.frames, row.samples, row.channels) == (24680, 24680, 1)
        assert names(tmp_path) == ["x.tokens.json", "x.tokens.npy", "x.wav"]
        samples, _ = soundfile.read(path, dtype="float32")
        parts = tokenizer.stream(np.array_split(samples, 50), sample_rate=RATE)
        np.testing.assert_array_equal(np.concatenate([part.ids for part in parts]), tokens.ids)

    @pytest.mark.parametrize("file_format", READ)
    def test_of_each_format(self, file_format, tokenizer, tmp_path):
        path = record(tmp_path / "x.wav", seconds=9.87, channels=2)
        (mixed,) = tokenize(tokenizer, path, file_format=file_format, batch_size=3)
        expected = tokenizer.encode(path).ids
        np.testing.assert_array_equal(ids_in(mixed.outputs[0], file_format), expected)
        (each,) = tokenize(tokenizer, path, file_format=file_format, channels="each")
        assert each.outputs == stream_paths(mixed.outputs[0], [0, 1])
        for channel, output in enumerate(each.outputs):
            expected = tokenizer.encode(path, channel=channel).ids
            np.testing.assert_array_equal(ids_in(output, file_format), expected)
            assert read_stored(output_paths(output, file_format).header).header.channel == channel

    @pytest.mark.filterwarnings("ignore:over a third of the sound")
    def test_with_any_number_of_workers(self, tokenizer, audio, tmp_path):
        outs = [tmp_path / f"out{workers}" for workers in (1, 3)]
        for workers, out in zip((1, 3), outs, strict=True):
            results = tokenize(tokenizer, audio, out=out, workers=workers)
            listed = [row["path"].replace("\\xe9", "\udce9") for row in rows_of(out)]
            assert [result.source for result in results] == [audio / path for path in listed]
            assert hidden(out) == []
        assert contents(outs[1]) == contents(outs[0])
        for result in results:
            np.testing.assert_array_equal(
                read_npy(result.outputs[0]), tokenizer.encode(result.source).ids
            )
        assert len(results) == 8


class TestBadRecordings:
    def test_each_is_a_row_and_the_rest_go_on(self, tokenizer, damaged, tmp_path):
        (damaged / "x" / "loop.wav").symlink_to(damaged / "x" / "loop.wav")
        out = tmp_path / "out"
        results = tokenize(tokenizer, damaged, out=out, workers=2)
        rows = by_path(out)
        statuses = Counter((row["status"], row["reason"]) for row in rows.values())
        refused = ["empty_file", "no_samples", "unreadable", "unreadable", "too_short", "not_audio"]
        assert statuses == Counter(
            [
                *(("refused", reason) for reason in refused),
                *(("repaired", "header_sizes"), ("repaired", "non_finite")),
                *(("partial", "truncated"), *[("ok", None)] * 9),
            ]
        )
        assert len(rows) == len(results) == 18
        for row, result in zip(rows_of(out), results, strict=True):
            refused = row["status"] == "refused"
            assert (result.outputs == [] == row["outputs"]) is refused
            assert bool(row["detail"]) is (row["status"] != "ok")
            assert (row["columns"] == 0) is refused
        told = sorted(name for row in rows_of(out) for name in row["outputs"])
        found = sorted(path for path in contents(out) if path.endswith(".npy"))
        assert told == [path.replace("\udce9", "\\xe9") for path in found]
        assert hidden(out) == []

    def test_one_that_vanishes_meanwhile(self, tokenizer, tmp_path):
        paths = [record(tmp_path / "in" / name) for name in ("a.wav", "b.wav", "c.wav")]
        changes = {paths[1]: paths[1].unlink, paths[2]: lambda: paths[2].write_text("new")}

        def begin(_):
            for change in changes.values():
                change()
            return lambda *_: None

        listener = Listener(begin, lambda _: None)
        results = tokenize(tokenizer, *paths, out=tmp_path / "out", listener=listener)
        assert [result.outcome.reason for result in results] == [None, "unreadable", "not_audio"]
        assert names(tmp_path / "out") == [
            "recordings.parquet",
            "token_headers",
            "tokenize.json",
            "tokens",
        ]
        assert names(tmp_path / "out" / "tokens") == ["a.tokens.npy"]
        assert names(tmp_path / "out" / "token_headers") == ["a.tokens.json"]

    def test_one_that_vanishes_between_its_channels_leaves_nothing(
        self, tokenizer, tmp_path, monkeypatch
    ):
        path = record(tmp_path / "in" / "x.wav", channels=2)
        write_channel = tokenize_job._write

        def write_and_remove(*arguments):
            ended = write_channel(*arguments)
            path.unlink()
            return ended

        kept = shutil.copy(path, tmp_path / "kept.wav")
        monkeypatch.setattr(tokenize_job, "_write", write_and_remove)
        # Each channel is decoded in its turn.
        monkeypatch.setattr("ulmo.preprocessing.reading.channels.MOST_KEPT", 1)
        (result,) = tokenize(tokenizer, path, out=tmp_path / "out", channels="each")
        assert (result.outcome.reason, result.outputs) == ("unreadable", [])
        assert names(tmp_path / "out" / "tokens") == []
        monkeypatch.undo()
        shutil.copy(kept, path)
        (result,) = tokenize(tokenizer, path, out=tmp_path / "out", channels="each")
        assert len(result.outputs) == 2

    @pytest.mark.parametrize("folder", [None, "out"])
    @pytest.mark.parametrize("channels", ["mix", "each"])
    def test_a_recording_that_is_refused_now_keeps_no_old_tokens(
        self, channels, folder, tokenizer, tmp_path
    ):
        path = record(tmp_path / "in" / "x.wav", channels=2)
        other = record(tmp_path / "in" / "y.wav", channels=2)
        out = folder and tmp_path / folder
        tokenize(tokenizer, path, other, out=out, channels=channels)
        there = out / "tokens" if out else path.parent
        before = {name for name in contents(there) if name.startswith("y")}
        path.write_bytes(b"")
        tokenize(tokenizer, path, other, out=out, channels=channels)
        assert set(contents(there)) - {"x.wav"} == before

    def test_tokens_of_another_recording_stay_where_one_is_refused(self, tokenizer, tmp_path):
        path = record(tmp_path / "x.wav")
        tokenize(tokenizer, path, out=tmp_path / "x.tokens.npy")
        header = tmp_path / "x.tokens.json"
        reseal(header, recording="another.wav")
        path.write_bytes(b"")
        tokenize(tokenizer, path, out=tmp_path / "x.tokens.npy")
        assert header.exists()
        assert (tmp_path / "x.tokens.npy").exists()

    def test_a_recording_shorter_than_a_frame_is_a_column(self, tokenizer, tmp_path):
        (result,) = tokenize(tokenizer, record(tmp_path / "x.wav", seconds=1 / RATE))
        assert (result.outcome.status, result.outcome.columns) == ("ok", 1)
        assert read_npy(result.outputs[0]).shape == (1, 4)

    @pytest.mark.parametrize("workers", [1, 2])
    def test_what_is_in_the_way_of_one_output_is_no_fault_of_the_others(
        self, workers, tokenizer, tmp_path
    ):
        """Here a folder stands where a file of ids should be."""
        paths = [record(tmp_path / "in" / name) for name in ("a.wav", "b.wav", "c.wav")]
        blocked = tmp_path / "out" / "tokens" / "b.tokens.npy"
        blocked.mkdir(parents=True)
        results = tokenize(tokenizer, *paths, out=tmp_path / "out", workers=workers)
        assert [result.outcome.reason for result in results] == [None, "unwritable", None]
        assert (results[1].outcome.status, results[1].outcome.frames) == ("refused", 0)
        blocked.rmdir()
        tokenize(tokenizer, *paths, out=tmp_path / "out")
        tokenize(tokenizer, *paths, out=tmp_path / "fresh")
        assert contents(tmp_path / "out") == contents(tmp_path / "fresh")

    def test_a_write_that_fails_leaves_nothing(self, tokenizer, tmp_path, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        path = record(tmp_path / "in" / "x.wav")
        monkeypatch.setattr("ulmo.formats.npy.Npy._write", full)
        for out in (None, tmp_path / "out"):
            with pytest.raises(OSError, match="No space left"):
                tokenize(tokenizer, path, out=out)
        assert names(path.parent) == ["x.wav"]
        assert [path.name for path in hidden(tmp_path)] == [".tokenize.jsonl"]


class TestChannels:
    def test_one_that_is_not_there_is_refused(self, tokenizer, tmp_path):
        files = [record(tmp_path / "mono.wav"), record(tmp_path / "stereo.wav", channels=2)]
        first, second = tokenize(tokenizer, *files, channels="1")
        assert (first.outcome.status, first.outcome.reason) == ("refused", "no_channel")
        assert second.outputs == [tmp_path / "stereo.tokens.npy"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"channels": "left"}, "channels must be mix, each or a number from 0"),
        ({"channels": "٣"}, "channels must be mix, each or a number from 0"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1 to 1024"),
        ({"batch_size": 1025}, "batch_size must be a whole number from 1 to 1024"),
        ({"clock": ClockSettings(timestamp_pattern="%H")}, "has no date"),
        ({"clock": ClockSettings(timezone="Mars")}, "Mars"),
        ({"labelling": Labelling(frozenset([3]))}, "npy has none"),
        (
            {"file_format": "raven", "labelling": Labelling(frozenset([64]))},
            "64 is not an id",
        ),
        ({"file_format": "audacity", "labelling": Labelling(None, 0)}, "must be at least 1"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_opened(how, words, tokenizer, tmp_path):
    """Not even the first recording, which would be refused, is looked at."""
    (tmp_path / "x.wav").write_bytes(b"")
    with pytest.raises(UserError, match=words):
        tokenize(tokenizer, tmp_path / "x.wav", out=tmp_path / "out", **how)
    assert names(tmp_path) == ["x.wav"]


def test_a_folder_that_cannot_be_made_is_refused(tokenizer, tmp_path):
    (tmp_path / "file").touch()
    path = record(tmp_path / "x.wav")
    with pytest.raises(UserError, match=r"cannot make the folder .*: set --out"):
        tokenize(tokenizer, path, out=tmp_path / "file")


def test_the_folder_of_one_file_is_made(tokenizer, tmp_path):
    path, out = record(tmp_path / "x.wav"), tmp_path / "new" / "deep" / "y.tokens.npy"
    (result,) = tokenize(tokenizer, path, out=out)
    assert (result.outcome.status, result.outputs) == ("ok", [out])


class TestHeaders:
    def test_name_and_time_are_those_below_the_folder(self, tokenizer, tmp_path):
        folder, out = tmp_path / "in", tmp_path / "out"
        record(folder / "a" / "S_20230501_020304.wav", seconds=3.21)
        clock = ClockSettings(timezone="+02:00")
        tokenize(tokenizer, folder, out=out, clock=clock)
        header = json.loads(
            (out / "token_headers" / "a" / "S_20230501_020304.tokens.json").read_text()
        )
        assert header.pop("edges_hz")[0] >= 0
        assert {header.pop("checksum"), *header.pop("hashes")} >= {".npy"}
        assert header == {
            "schema_version": 3,
            "time_expansion": 1.0,
            "recording_rate": RATE,
            "recording_frames": round(3.21 * RATE),
            "gaps": "keep",
            "fingerprint": tokenizer.manifest.fingerprint,
            "sample_rate": 2000,
            "hop": 80,
            "frame_hop": 20,
            "codebook_size": 16,
            "recording": "a/S_20230501_020304.wav",
            "channel": None,
            "start": 0,
            "start_utc": "2023-05-01T00:03:04.000000Z",
            "columns": 81,  # 321 frames
            "frames": 321,
            "unknown": 0,
            "unk_quantile": None,
            "segments": [],
        }
        (row,) = rows_of(out)
        assert row["start_utc"].isoformat() == "2023-05-01T00:03:04+00:00"
        assert (row["start_source"], row["path"]) == ("name", "a/S_20230501_020304.wav")

    def test_a_file_is_named_as_it_was_given(self, tokenizer, tmp_path, monkeypatch):
        record(tmp_path / "a" / "x.wav")
        monkeypatch.chdir(tmp_path)
        (result,) = tokenize(tokenizer, *[path.relative_to(tmp_path) for path in [tmp_path / "a"]])
        assert read_stored(tmp_path / "a" / "x.tokens.json").header.recording == "x.wav"
        assert result.source.as_posix() == "a/x.wav"
        tokenize(tokenizer, result.source)
        assert read_stored(tmp_path / "a" / "x.tokens.json").header.recording == "a/x.wav"

    @pytest.mark.parametrize(
        ("pattern", "source", "time"),
        [(None, None, None), ("R%y%m%d-%H", "pattern", "2023-05-01T02:00:00.000000Z")],
    )
    def test_a_pattern_tells_the_time(self, pattern, source, time, tokenizer, tmp_path):
        path = record(tmp_path / "R230501-02.wav")
        clock = ClockSettings(timestamp_pattern=pattern)
        (result,) = tokenize(tokenizer, path, clock=clock)
        header = json.loads((tmp_path / "R230501-02.tokens.json").read_text())
        assert header["start_utc"] == time
        assert result.outcome.start_source == source


def test_a_tokenizer_that_is_replaced_meanwhile_is_told(make_bundle, tokenizer, tmp_path):
    folder = tmp_path / "tokenizer"
    make_bundle(folder, tokenizer.manifest.prep, seed=1)
    old = load_tokenizer(folder, threads=1)
    shutil.rmtree(folder)
    make_bundle(folder, tokenizer.manifest.prep, seed=2)
    paths = [record(tmp_path / name) for name in ("a.wav", "b.wav")]
    with pytest.raises(JobError, match="was replaced meanwhile: load or run the same again"):
        tokenize(old, *paths, workers=2)
    assert names(tmp_path) == ["a.wav", "b.wav", "tokenizer"]
