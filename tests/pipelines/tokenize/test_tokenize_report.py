"""What ulmo-tokenize tells: the report over all recordings, and its progress."""

import pyarrow.parquet as pq
import pytest

from tests.outputs import names
from tests.pipelines.recordings import NON_UTF8, noise, rows_of, write
from tests.pipelines.tokenizing import join, record, tokenize
from tests.small_tokenizers import RATE
from ulmo.encoding import EncodedStretch, window_columns
from ulmo.formats.base import Format
from ulmo.formats.header import read_stored
from ulmo.formats.places import header_path
from ulmo.formats.publish import output_paths
from ulmo.jobs.outcome import Tokenized
from ulmo.pipelines.tokenize.tokenize import Listener
from ulmo.preprocessing.reading.audio import BLOCK_FRAMES
from ulmo.reports.tokenize import timeline_line
from ulmo.storage.tables import schema_of


class TestReport:
    def test_its_rows_say_what_became_of_each(self, tokenizer, tmp_path):
        folder, out = tmp_path / "in", tmp_path / "out"
        path = record(folder / "x.wav", seconds=3.21, channels=2)
        write(folder / NON_UTF8, noise(500, 3), 500)
        tokenize(tokenizer, folder, out=out, channels="each")
        assert pq.read_schema(out / "recordings.parquet").equals(schema_of(Tokenized))
        second, first = rows_of(out) if rows_of(out)[1]["path"] == "x.wav" else rows_of(out)[::-1]
        assert len(first.pop("key")) == len(first.pop("tokens_sha256")) == 64
        assert first.pop("ends_crc32c")
        assert -20 < first.pop("peak_db") < 0
        assert first == {
            "path": "x.wav",
            "bytes": path.stat().st_size,
            "status": "ok",
            "reason": None,
            "detail": None,
            "sample_rate": RATE,
            "channels": 2,
            "frames": 6420,
            "frames_declared": 6420,
            "frames_missing": 0,
            "duration_s": 3.21,
            "flags": [],
            "bandwidth_hz": RATE / 2,
            "share_above": 0.0,
            "stretches": 1,
            "start_utc": None,
            "start_source": None,
            "columns": 81,
            "bands": 4,
            "samples": 6420,
            "unknown": 0,
            "outputs": ["tokens/x.ch0.tokens.npy", "tokens/x.ch1.tokens.npy"],
        }
        assert (second["path"], second["outputs"]) == (
            "caf\\xe9.wav",
            ["tokens/caf\\xe9.tokens.npy"],
        )
        assert (second["sample_rate"], second["frames"], second["samples"]) == (500, 500, 2000)

    def test_ids_that_are_unknown_are_counted_over_all_channels(
        self, tokenizer, tmp_path, monkeypatch
    ):
        columns = EncodedStretch.__iter__

        def some_unknown(self):
            for part in columns(self):
                part.ids[0, 0] = tokenizer.vocabulary.unk
                yield part

        monkeypatch.setattr(EncodedStretch, "__iter__", some_unknown)
        path = record(tmp_path / "x.wav", channels=3)
        (result,) = tokenize(tokenizer, path, channels="each")
        headers = [
            read_stored(header_path(output.with_suffix(""))).header for output in result.outputs
        ]
        assert sum(header.unknown for header in headers) == result.outcome.unknown
        assert headers[0].unknown > 0

    def test_there_is_none_beside_recordings_and_one_file(self, tokenizer, tmp_path):
        path = record(tmp_path / "x.wav")
        tokenize(tokenizer, tmp_path)
        tokenize(tokenizer, path, out=tmp_path / "y.npy")
        assert names(tmp_path) == ["x.tokens.json", "x.tokens.npy", "x.wav", "y.json", "y.npy"]


class TestProgress:
    @pytest.mark.parametrize("mode", ["corpus", "recording", "tile"])
    @pytest.mark.parametrize("channels", ["mix", "each"])
    def test_it_moves_within_a_recording_and_ends_with_it(
        self, mode, channels, tokenizer_of, tmp_path
    ):
        path = record(tmp_path / "x.wav", seconds=3.5 * BLOCK_FRAMES / RATE, channels=2)
        (tmp_path / "bad.wav").write_text("no sound")
        told, begun = [], []

        def begin(size):
            begun.append(size)
            return lambda *done: told.append(done)

        tokenize(
            tokenizer_of(mode=mode),
            *(path, tmp_path / "bad.wav"),
            channels=channels,
            listener=Listener(begin, lambda _: told.append((0, 0))),
        )
        sizes, milliseconds = zip(*told, strict=True)
        assert begun == [sum(sizes)] == [path.stat().st_size + 8]
        assert sum(milliseconds) == int(3500 * BLOCK_FRAMES / RATE)
        within = told[: told.index((0, 0))]
        assert len(within) >= 4
        assert max(size for size, _ in within) < path.stat().st_size / 2

    @pytest.mark.parametrize("channels", ["mix", "each"])
    def test_columns_are_written_as_they_come(self, channels, tokenizer, tmp_path, monkeypatch):
        """Memory does not hold a recording's tokens."""
        sizes = []
        write_ids = Format.write

        def watched(self, ids):
            sizes.append(len(ids))
            write_ids(self, ids)

        monkeypatch.setattr(Format, "write", watched)
        (result,) = tokenize(
            tokenizer, record(tmp_path / "x.wav", 200, channels=2), channels=channels
        )
        assert (
            sum(sizes) == result.outcome.columns * len(result.outputs) == 5000 * len(result.outputs)
        )
        assert max(sizes) <= window_columns(tokenizer.manifest.model, any_width=True) <= 120


def test_recordings_without_a_column_on_a_timeline_are_named(tokenizer, tmp_path):
    """Of 10 ms each: a column for each would be ever later than its time."""
    for number in range(200):
        second, rest = divmod(number, 100)
        record(tmp_path / "clips" / f"20230501_0000{second:02d}.{10 * rest:03d}.wav", seconds=0.01)
    out = tmp_path / "t.tokens.npy"
    for reused in (False, True):
        results, timeline = join(tokenizer, tmp_path / "clips", out=out)
        header = read_stored(output_paths(out, "npy").header).header
        without = [each.recording for each in header.segments if not each.columns]
        assert 0 < len(without) == timeline.recordings - timeline.columns
        assert timeline.without_columns == without
        for result in results:
            row = result.outcome
            assert (row.path in without, result.reused) == (not row.columns, reused)
            assert ("no column of it" in (row.detail or "")) == (not row.columns)
        words = f"short       {len(without)} recordings (such as {without[0]}) have no column"
        assert words in timeline_line(timeline)
