from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import soundfile

from tests.bounded import some_of
from tests.outputs import names
from tests.pipelines import recordings
from tests.pipelines.recordings import contents, counting, doomed, named, run_killed, stats
from tests.pipelines.tokenizing import hidden, join, tokenize
from tests.small_tokenizers import RATE, sound
from ulmo.config import ClockSettings, UserError
from ulmo.formats import FORMATS
from ulmo.formats.base import Labelling
from ulmo.formats.header import read_stored
from ulmo.formats.npy import read_npy
from ulmo.formats.publish import output_paths
from ulmo.formats.read import read_corpus, readers
from ulmo.pipelines.tokenize import pieces
from ulmo.pipelines.tokenize import tokenize as pipeline

COLUMN = 80
"""Samples of a column: 40 ms."""
MIDNIGHT = datetime(2023, 5, 1, tzinfo=UTC)


def record(folder, at, seconds, *, name="S_{}.wav", channels=1):
    """A recording that begins so many seconds after midnight, by its name."""
    time = MIDNIGHT + timedelta(seconds=at)
    stamp = f"{time:%Y%m%d_%H%M%S}_{time.microsecond // 1000:03d}"
    path = folder / name.format(stamp)
    path.parent.mkdir(parents=True, exist_ok=True)
    mono = np.roll(sound(round(seconds * RATE)), round(1000 * at))
    samples = np.stack([mono * (1 + channel) / 4 for channel in range(channels)], axis=1)
    soundfile.write(path, samples, RATE)
    return path


@pytest.fixture
def field(tmp_path):
    """Ten seconds, ten more right after, six after a gap of five that begin within a column."""
    folder = tmp_path / "field"
    record(folder, 0, 10)
    record(folder, 10, 10)
    record(folder / "card2", 25.01, 6.003)
    return folder


def joined(out):
    """Header and ids of the timeline in a file."""
    (stored,) = read_corpus(output_paths(out, "npy").files[0])
    return stored.header, stored.ids


LEDGER = ["recordings.parquet", "tokenize.json"]
FILE = ("outputs", "tokens_sha256")  # columns on the file, and not on the part


class TestJoined:
    def test_each_part_is_its_recording_alone_and_stands_at_its_time(
        self, tokenizer, field, tmp_path
    ):
        out = tmp_path / "t.tokens.npy"
        results, timeline = join(tokenizer, field, out=out)
        header, ids = joined(out)
        gap = tokenizer.vocabulary.special("<gap>")
        found = [
            (segment.recording, segment.column, segment.columns, segment.start_utc)
            for segment in header.segments
        ]
        after = MIDNIGHT + timedelta(seconds=25.01)
        assert found == [
            ("S_20230501_000000_000.wav", 0, 250, MIDNIGHT),
            ("S_20230501_000010_000.wav", 250, 250, MIDNIGHT + timedelta(seconds=10)),
            ("card2/S_20230501_000025_010.wav", 625, 151, after),  # 625.25, 150.1 columns
        ]
        for segment in header.segments:
            part = slice(segment.column, segment.column + segment.columns)
            alone = tokenizer.encode(field / segment.recording).ids
            np.testing.assert_array_equal(ids[part], alone)
            late = header.utc(segment.column) - segment.start_utc
            assert abs(late.total_seconds()) <= COLUMN / RATE / 2
        assert (ids[500:625] == gap).all()
        assert not (np.delete(ids, slice(500, 625), axis=0) == gap).any()
        assert (header.recording, header.channel, header.start_utc) == ("t", None, MIDNIGHT)
        assert (header.columns, header.frames) == (776, 775 * 4 + 1)  # 601 frames in the last
        assert timeline == (out, 3, 1, 5.0, 776, 4, [])
        assert [result.source for result in results] == [field / name for name, *_ in found]
        made = ["t.tokens.json", "t.tokens.npy", *(f"t.tokens.npy.{name}" for name in LEDGER)]
        assert names(tmp_path) == ["field", *made]

    def test_the_order_is_that_of_the_times(self, tokenizer, tmp_path):
        paths = [
            record(tmp_path, 30, 2, name="a_{}.wav"),
            record(tmp_path, 0, 2, name="b_{}.wav"),
            record(tmp_path, 15, 2, name="c_{}.wav"),
        ]
        join(tokenizer, *paths, out=tmp_path / "t.npy")
        header, _ = joined(tmp_path / "t.npy")
        assert [segment.recording for segment in header.segments] == [
            path.as_posix() for path in (paths[1], paths[2], paths[0])
        ]
        assert [segment.column for segment in header.segments] == [0, 375, 750]

    def test_cards_of_one_recorder_have_files_of_one_name(self, tokenizer, tmp_path):
        """Their headers tell the times apart, and the paths as they were given the names."""
        for card, second in (("one", "00"), ("two", "10")):
            (tmp_path / card).mkdir()
            with soundfile.SoundFile(tmp_path / card / "REC.flac", "w", RATE, 1) as file:
                file.date = f"2023-05-01T00:00:{second}"
                file.write(sound(4 * RATE))
        join(tokenizer, tmp_path / "one", tmp_path / "two", out=tmp_path / "t.npy")
        header, ids = joined(tmp_path / "t.npy")
        names = [f"{tmp_path.as_posix()}/{card}/REC.flac" for card in ("one", "two")]
        assert [segment.recording for segment in header.segments] == names
        np.testing.assert_array_equal(ids[:100], ids[250:])

    @pytest.mark.parametrize("file_format", FORMATS)
    def test_in_every_format(self, file_format, tokenizer, field, tmp_path):
        out = tmp_path / ("t" + FORMATS[file_format].suffixes[0])
        join(tokenizer, field, out=out, file_format=file_format)
        join(tokenizer, field, out=tmp_path / "plain.npy")
        header, ids = joined(tmp_path / "plain.npy")
        paths = output_paths(out, file_format)
        expected = header.model_copy(update={"recording": "t"})
        assert read_stored(paths.header).header == expected
        if paths.files[-1].suffix in readers():
            (stored,) = read_corpus(paths.files[-1])
            np.testing.assert_array_equal(stored.ids, ids)
        else:
            text = paths.files[0].read_text()
            assert text.count("<gap>") == (0 if file_format == "raven" else 4)  # bands
        assert hidden(tmp_path) == []

    def test_runs_are_labelled_as_they_are_asked_for(self, tokenizer, field, tmp_path):
        out = tmp_path / "t.labels.txt"
        gap = tokenizer.vocabulary.special("<gap>")
        labelling = Labelling(frozenset([gap]), 100)
        join(tokenizer, field, out=out, file_format="audacity", labelling=labelling)
        lines = out.read_text().splitlines()[::2]
        assert lines == ["20.000000\t25.000000\t<gap>"] * 4

    def test_of_one_channel(self, tokenizer, tmp_path):
        paths = [record(tmp_path, at, 4, channels=2) for at in (0, 6)]
        join(tokenizer, *paths, out=tmp_path / "t.npy", channels="1")
        header, ids = joined(tmp_path / "t.npy")
        for path, segment in zip(paths, header.segments, strict=True):
            alone = tokenizer.encode(path, channel=1).ids
            np.testing.assert_array_equal(ids[segment.column :][:100], alone)

    def test_with_any_number_of_workers(self, tokenizer, field, tmp_path):
        for workers in (1, 2):
            join(tokenizer, field, out=tmp_path / str(workers) / "t.npy", workers=workers)
        assert contents(tmp_path / "1") == contents(tmp_path / "2")

    @pytest.mark.parametrize("piece", [1, 7, 100])
    def test_a_gap_is_written_in_pieces(self, piece, tokenizer, tmp_path, monkeypatch):
        monkeypatch.setattr(pieces, "_AT_ONCE", piece)
        paths = [record(tmp_path, at, 1) for at in (0, 5)]
        _, timeline = join(tokenizer, *paths, out=tmp_path / "t.npy")
        ids = read_npy(tmp_path / "t.npy")
        assert len(ids) == timeline.columns == 150
        assert (ids[25:125] == tokenizer.vocabulary.special("<gap>")).all()


class TestRefusedRecordings:
    def test_are_gaps(self, tokenizer, field, tmp_path):
        before = tmp_path / "t.npy"
        path = field / "S_20230501_000010_000.wav"
        path.write_bytes(b"")
        (field / "notime.wav").write_text("dear diary")
        results, timeline = join(tokenizer, field, out=before)
        assert {result.source.name for result in results if not result.outputs} == {
            path.name,
            "notime.wav",
        }
        assert (timeline.recordings, timeline.gaps, timeline.gap_seconds) == (2, 1, 15.0)
        header, ids = joined(before)
        assert (ids[250:625] == tokenizer.vocabulary.special("<gap>")).all()
        assert [segment.column for segment in header.segments] == [0, 625]

    def test_and_where_there_are_no_others_nothing_is_written(self, tokenizer, tmp_path):
        path = tmp_path / "S_20230501_000000.wav"
        path.write_bytes(b"")
        results, timeline = join(tokenizer, path, out=tmp_path / "t.npy")
        assert (timeline, results[0].outcome.reason) == (None, "empty_file")
        assert names(tmp_path) == [path.name]

    def test_and_then_an_older_timeline_goes(self, tokenizer, field, tmp_path):
        out = tmp_path / "out" / "t.tokens.npy"
        join(tokenizer, field, out=out)
        for path in field.rglob("*.wav"):
            path.write_bytes(b"")
        join(tokenizer, field, out=out)
        assert names(out.parent) == []

    def test_one_that_breaks_off_is_followed_by_a_gap(self, tokenizer, field, tmp_path):
        path = field / "S_20230501_000010_000.wav"
        path.write_bytes(path.read_bytes()[: -2 * 3 * RATE])
        _, timeline = join(tokenizer, field, out=tmp_path / "t.npy")
        assert (timeline.recordings, timeline.gap_seconds) == (3, 8.0)


def unknown(folder):
    record(folder, 0, 2, name="nothing.wav")
    return r"nothing\.wav: neither header nor name says when it began: .*--timestamp-pattern"


def overlapping(folder):
    record(folder, 6.5, 10)
    return r"S_20230501_000006_500\.wav begins 3\.5 s before .*000000_000\.wav ends"


def apart(folder):
    record(folder, 8 * 24 * 3600, 2)
    return r"S_20230509_000000_000\.wav begins 8\.0 days after .*: tokenize the two .* apart"


class TestNoTimeline:
    @pytest.mark.parametrize("spoil", [unknown, overlapping, apart])
    def test_is_known_before_anything_is_tokenized(
        self, spoil, tokenizer, field, tmp_path, monkeypatch
    ):
        words = spoil(field)
        called = []
        monkeypatch.setattr(
            pipeline, "tokenize_recording", counting(called, pipeline.tokenize_recording)
        )
        with pytest.raises(UserError, match=words) as refusal:
            join(tokenizer, field, out=tmp_path / "new" / "t.npy")
        assert "\n" not in str(refusal.value)
        assert called == []
        assert names(tmp_path) == ["field"]

    @pytest.mark.parametrize("spoil", [unknown, overlapping, apart])
    def test_is_known_at_the_latest_in_the_end_and_work_is_kept(
        self, spoil, tokenizer, field, tmp_path, monkeypatch
    ):
        """Where headers lied."""
        words = spoil(field)
        monkeypatch.setattr(pipeline, "survey", lambda *_: None)
        with pytest.raises(UserError, match=words):
            join(tokenizer, field, out=tmp_path / "t.npy")
        assert names(tmp_path) == [".t.npy.parts", "field"]
        for path in field.glob("*"):
            if path.name not in ("card2", "S_20230501_000000_000.wav"):
                path.unlink()
        results, _ = join(tokenizer, field, out=tmp_path / "t.npy")
        assert all(result.reused for result in results)
        assert names(tmp_path) == ["field", "t.json", "t.npy", *(f"t.npy.{x}" for x in LEDGER)]

    @pytest.mark.parametrize(
        ("out", "how", "words"),
        [
            ("t.npy", {"channels": "each"}, "a timeline has one channel: set --channels to mix"),
            ("t", {}, r"t is no name for one: set --out to NAME\.tokens\.npy"),
            ("t.npy", {"file_format": "bin"}, r"no name for one: set --out to NAME\.tokens\.bin"),
            ("field/S_20230501_000000_000.wav/t.npy", {}, "cannot make the folder"),
        ],
    )
    def test_of_such_options(self, out, how, words, tokenizer, field, tmp_path):
        with pytest.raises(UserError, match=words):
            join(tokenizer, field, out=tmp_path / out, **how)
        assert names(tmp_path) == ["field"]

    def test_headers_that_do_not_say_how_long_they_are_refuse_nothing(self, tokenizer, tmp_path):
        """FLAC from a pipe: its length is 0 in the header."""
        field = tmp_path / "field"
        for second in (0, 10, 20):
            path = field / f"S_20230501_0000{second:02d}.flac"
            field.mkdir(exist_ok=True)
            soundfile.write(path, sound(10 * RATE), RATE)
            content = bytearray(path.read_bytes())
            content[21] &= 0xF0
            content[22:26] = bytes(4)
            path.write_bytes(content)
        _, timeline = join(tokenizer, field, out=tmp_path / "t.npy")
        assert (timeline.recordings, timeline.gaps, timeline.columns) == (3, 0, 750)


class TestAgain:
    @pytest.mark.kills
    @pytest.mark.parametrize("file_format", ["npy", "megatron"])
    def test_killed_at_each_move(self, file_format, tokenizer, field, tmp_path, monkeypatch):
        suffix = FORMATS[file_format].suffixes[0]
        how = {"file_format": file_format}
        for path in sorted(field.rglob("*.wav"))[1:]:
            path.unlink()
        record(field, 12, 1)
        moves = recordings.count_moves(
            monkeypatch, join, tokenizer, field, out=tmp_path / "fresh" / f"t{suffix}", **how
        )
        # the ledger of the parts, 2 parts, its end, the timeline and its header, its ledger
        assert moves == 2 + 2 * 2 + 2 + len(FORMATS[file_format].suffixes) + 1 + 4
        for number in some_of(range(moves), file_format):
            out = tmp_path / str(number) / f"t{suffix}"
            run_killed(monkeypatch, doomed(number), join, tokenizer, field, out=out, **how)
            results, _ = join(tokenizer, field, out=out, **how)
            assert sum(result.reused for result in results) == min(max(number - 2, 0) // 2, 2)
            assert contents(out.parent) == contents(tmp_path / "fresh")

    def test_two_timelines_in_one_folder_do_not_meet(self, tokenizer, field, tmp_path, monkeypatch):
        """t.tokens.npy and t.tokens.csv; and a t.npy, whose name is not theirs."""
        outs = {"t.tokens.npy": "npy", "t.tokens.csv": "csv", "t.npy": "npy"}
        for name, file_format in outs.items():
            run_killed(
                monkeypatch,
                doomed(4),
                join,
                tokenizer,
                field,
                out=tmp_path / "out" / name,
                file_format=file_format,
            )
        assert len(names(tmp_path / "out")) == 3
        for name, file_format in outs.items():
            results, _ = join(
                tokenizer, field, out=tmp_path / "out" / name, file_format=file_format
            )
            assert sum(result.reused for result in results) == 1
        assert hidden(tmp_path / "out") == []

    @pytest.mark.parametrize(
        "change",
        [lambda field: record(field, 40, 2), lambda f: (f / "S_20230501_000010_000.wav").unlink()],
    )
    def test_a_recording_that_comes_later_or_is_gone(self, change, tokenizer, field, tmp_path):
        join(tokenizer, field, out=tmp_path / "out" / "t.npy")
        change(field)
        join(tokenizer, field, out=tmp_path / "out" / "t.npy")
        join(tokenizer, field, out=tmp_path / "fresh" / "t.npy")
        assert contents(tmp_path / "out") == contents(tmp_path / "fresh")

    @pytest.mark.parametrize("name", ["tokenize.json", "recordings.parquet", ".tokenize.jsonl"])
    def test_damaged_parts_are_made_again(self, name, tokenizer, field, tmp_path, monkeypatch):
        run_killed(
            monkeypatch, named("out/t.npy"), join, tokenizer, field, out=tmp_path / "out" / "t.npy"
        )
        (tmp_path / "out" / ".t.npy.parts" / name).write_bytes(b"dear diary")
        join(tokenizer, field, out=tmp_path / "out" / "t.npy")
        join(tokenizer, field, out=tmp_path / "fresh" / "t.npy")
        assert contents(tmp_path / "out") == contents(tmp_path / "fresh")

    def test_a_finished_one_is_left_as_it_is(self, tokenizer, field, tmp_path, monkeypatch):
        (field / "b.wav").write_text("dear diary")
        first, timeline = join(tokenizer, field, out=tmp_path / "out" / "t.npy")
        before, called = stats(tmp_path / "out"), []
        monkeypatch.setattr(
            pipeline, "tokenize_recording", counting(called, pipeline.tokenize_recording)
        )
        again, same = join(tokenizer, field, out=tmp_path / "out" / "t.npy")
        assert called == []
        assert same == timeline
        assert stats(tmp_path / "out") == before
        for earlier, later in zip(first, again, strict=True):
            of_the_file = {name: getattr(later.outcome, name) for name in FILE}
            assert later.outcome == earlier.outcome.model_copy(update=of_the_file)
        assert [len(result.outputs) for result in again] == [1, 1, 0, 1]
        assert all(result.reused for result in again)

    @pytest.mark.parametrize("lost", ["t.npy", "t.json", *(f"t.npy.{name}" for name in LEDGER)])
    def test_what_is_missing_is_made_again(self, lost, tokenizer, field, tmp_path):
        join(tokenizer, field, out=tmp_path / "out" / "t.npy")
        before = contents(tmp_path / "out")
        (tmp_path / "out" / lost).unlink()
        join(tokenizer, field, out=tmp_path / "out" / "t.npy")
        assert contents(tmp_path / "out") == before

    def test_another_tokenizer_is_refused_without_the_settings_too(
        self, tokenizer, tokenizer_of, field, tmp_path
    ):
        out = tmp_path / "out" / "t.npy"
        join(tokenizer, field, out=out)
        (tmp_path / "out" / "t.npy.tokenize.json").unlink()
        with pytest.raises(UserError, match="another tokenizer"):
            join(tokenizer_of("mel"), field, out=out)

    def test_a_file_of_other_recordings_is_made_again(self, tokenizer, field, tmp_path):
        """As a job that knows nothing of the ledger may have written it."""
        out = tmp_path / "out" / "t.npy"
        join(tokenizer, field, out=out)
        before = contents(out.parent)
        tokenize(tokenizer, field / "S_20230501_000010_000.wav", out=out)
        assert contents(out.parent) != before
        join(tokenizer, field, out=out)
        assert contents(out.parent) == before

    def test_parts_of_other_settings_are_made_again(self, tokenizer, field, tmp_path, monkeypatch):
        """Whoever corrects --timezone after a kill need not know of a hidden folder."""
        how = {"clock": ClockSettings(timezone="+01:00")}
        run_killed(monkeypatch, doomed(4), join, tokenizer, field, out=tmp_path / "out" / "t.npy")
        join(tokenizer, field, out=tmp_path / "out" / "t.npy", **how)
        join(tokenizer, field, out=tmp_path / "fresh" / "t.npy", **how)
        assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
