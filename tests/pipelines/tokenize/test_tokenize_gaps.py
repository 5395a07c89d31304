"""Files and timelines of recordings in which time was left out, and how gaps are written."""

from datetime import timedelta
from fractions import Fraction

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bounded import some_of
from tests.gaps import NOON, set_timing, timelines, write_triggered
from tests.pipelines.recordings import contents, count_moves, doomed, rows_of, run_killed
from tests.pipelines.tokenizing import join, tokenize
from tests.pipelines.verifying import found as faults_in
from tests.small_tokenizers import RATE, sound
from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.publish import output_paths
from ulmo.formats.read import read_corpus, readers
from ulmo.pipelines.tokenize import pieces
from ulmo.pipelines.tokenize import tokenize as pipeline
from ulmo.preprocessing.times.clock import WHOLE, Span

GAPS = ("keep", "one", "omit")
COLUMN = Fraction(80, RATE)
LONGEST = {"keep": 10**9, "one": 1, "omit": 0}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("audio") / "x.wav"
    soundfile.write(path, sound(7000), RATE, subtype="FLOAT")
    return path


def stored(path):
    """Header and ids of a file."""
    ((header, ids),) = read_corpus(path)
    return header, ids


@pytest.fixture
def field(tmp_path):
    """Two triggered recordings, one that nothing triggered, and one without gaps."""
    folder = tmp_path / "field"
    first = write_triggered(folder / "20230501_120000T.WAV", sound(1500), 40, sound(900), rate=RATE)
    empty = folder / "20230501_120100T.WAV"
    soundfile.write(empty, np.zeros(0), RATE, subtype="PCM_16")
    second = write_triggered(
        folder / "20230501_120130T.WAV", 9, sound(700), 1, sound(99), rate=RATE
    )
    soundfile.write(folder / "20230501_120200.wav", sound(2000), RATE)
    return folder, first, second


class TestOneRecording:
    @given(spans=timelines(RATE), gaps=st.sampled_from(GAPS))
    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_the_file_has_the_tokens_of_encode(self, spans, gaps, tokenizer, recording, tmp_path):
        out = tmp_path / "x.npy"
        with pytest.MonkeyPatch.context() as patch:
            set_timing(patch, spans)
            tokens = tokenizer.encode(recording)
            (result,) = tokenize(tokenizer, recording, out=out, gaps=gaps)
        header, ids = stored(out)
        gap = (tokens.ids == tokenizer.vocabulary.special("<gap>")).all(axis=1)
        if gaps == "keep":
            np.testing.assert_array_equal(ids, tokens.ids)
            assert header.frames == tokens.frames
        assert header.start_utc == NOON.utc
        in_ids = (ids == tokenizer.vocabulary.special("<gap>")).all(axis=1)
        np.testing.assert_array_equal(ids[~in_ids], tokens.ids[~gap])
        seconds = np.array([header.seconds(column) for column in range(len(ids))])
        late = np.abs(seconds[~in_ids] - tokens.seconds[~gap])
        assert late.max() <= (0 if gaps == "keep" else COLUMN / 2 + Fraction(1, RATE))
        assert faults_in(out) == set()
        row = result.outcome
        assert row.columns == len(ids)
        assert row.stretches == max(len(header.segments), 1)
        if header.segments:
            ends = [0, *(segment.column + segment.columns for segment in header.segments)]
            gaps_in = [s.column - end for s, end in zip(header.segments, ends, strict=False)]
            assert max(gaps_in) <= LONGEST[gaps]
            assert sum(gaps_in) == in_ids.sum()

    @pytest.mark.parametrize("file_format", [*FORMATS])
    @pytest.mark.parametrize("gaps", GAPS)
    def test_in_every_format(self, file_format, gaps, tokenizer, recording, tmp_path, monkeypatch):
        monkeypatch.setattr(pieces, "_AT_ONCE", 7)
        spans = (Span(0, 3000, Fraction(0)), Span(3100, None, Fraction(7, 2)))
        set_timing(monkeypatch, spans)
        out = tmp_path / f"x{FORMATS[file_format].suffixes[0]}"
        tokenize(tokenizer, recording, out=out, file_format=file_format, gaps=gaps)
        if FORMATS[file_format].readable:
            tokenize(tokenizer, recording, out=tmp_path / "y.npy", gaps=gaps)
            path = output_paths(out, file_format).files[-1]
            assert path.suffix in readers()
            np.testing.assert_array_equal(stored(path)[1], stored(tmp_path / "y.npy")[1])
        assert faults_in(tmp_path) == set()

    def test_without_gaps_is_as_ever(self, tokenizer, recording, tmp_path):
        made = []
        for gaps in GAPS:
            tokenize(tokenizer, recording, out=tmp_path / gaps / "x.npy", gaps=gaps)
            made.append(contents(tmp_path / gaps))
        assert made[0] == made[1] == made[2]
        header, _ = stored(tmp_path / "keep" / "x.npy")
        assert (header.segments, header.gaps) == ((), "keep")

    def test_gaps_that_are_long_for_so_little_sound_are_refused_if_they_are_kept(
        self, tokenizer, recording, tmp_path, monkeypatch
    ):
        """7,000 frames may have gaps of an hour in all."""
        hour = (Span(0, 800, Fraction(0)), Span(800, None, 3600 + Fraction(800, RATE)))
        set_timing(monkeypatch, hour)
        (result,) = tokenize(tokenizer, recording, out=tmp_path / "hour.npy")
        assert (result.outcome.status, result.outcome.columns) == ("ok", 90_088)
        set_timing(monkeypatch, tuple(Span(900 * i, 900, Fraction(1202 * i)) for i in range(4)))
        (kept,) = tokenize(tokenizer, recording, out=tmp_path / "x.npy")
        assert (kept.outcome.reason, kept.outputs) == ("long_gaps", [])
        (short,) = tokenize(tokenizer, recording, out=tmp_path / "x.npy", gaps="one")
        assert (short.outcome.status, short.outcome.columns) == ("ok", 4 * 12 + 3)

    def test_whose_gaps_are_not_known_has_a_flag(self, tokenizer, recording, tmp_path, monkeypatch):
        set_timing(monkeypatch, WHOLE, linear=False)
        (result,) = tokenize(tokenizer, recording, out=tmp_path / "x.npy")
        assert result.outcome.status == "ok"
        assert "time_not_linear" in result.outcome.flags


class TestFolder:
    def test_a_recording_that_nothing_triggered_is_no_fault(self, field, tokenizer, tmp_path):
        out = tmp_path / "out"
        tokenize(tokenizer, field[0], out=out)
        rows = {row["path"]: row for row in rows_of(out)}
        empty = rows["20230501_120100T.WAV"]
        assert (empty["status"], empty["reason"], empty["outputs"]) == ("ok", None, [])
        assert empty["detail"] == "recorded with a trigger that never fired: it has no sound"
        assert [row["stretches"] for _, row in sorted(rows.items())] == [2, 0, 2, 1]
        assert faults_in(out) == set()
        before = contents(out)
        again = tokenize(tokenizer, field[0], out=out)
        assert all(result.reused for result in again)
        assert contents(out) == before

    def test_gaps_written_in_another_way_are_another_folder(self, field, tokenizer, tmp_path):
        tokenize(tokenizer, field[0], out=tmp_path / "out")
        with pytest.raises(UserError, match="gaps"):
            tokenize(tokenizer, field[0], out=tmp_path / "out", gaps="one")


class TestTimeline:
    @pytest.mark.parametrize(("gaps", "workers"), [*((each, 1) for each in GAPS), ("one", 2)])
    def test_all_stretches_of_all_recordings_stand_at_their_time(
        self, gaps, workers, field, tokenizer, tmp_path
    ):
        folder, first, second = field
        out = tmp_path / "t.tokens.npy"
        results, timeline = join(tokenizer, folder, out=out, gaps=gaps, workers=workers)
        assert [result.outcome.status for result in results] == ["ok"] * 4
        header, ids = stored(out)
        true = [place / RATE for _, place in first]
        true += [90 + place / RATE for _, place in second]
        true.append(120.0)
        starts = [NOON.utc + timedelta(seconds=seconds) for seconds in true]
        assert [segment.start_utc for segment in header.segments] == starts
        parts = [tokenizer.encode(samples, sample_rate=RATE) for samples, _ in (*first, *second)]
        parts.append(tokenizer.encode(folder / "20230501_120200.wav"))
        for segment, tokens in zip(header.segments, parts, strict=True):
            part = ids[segment.column : segment.column + segment.columns]
            alone = tokens.ids[: segment.columns]
            np.testing.assert_array_equal(part, alone)
            late = header.utc(segment.column) - segment.start_utc
            assert abs(late.total_seconds()) <= COLUMN / 2
        in_gap = (ids == tokenizer.vocabulary.special("<gap>")).all(axis=1)
        assert len(ids) - in_gap.sum() == sum(segment.columns for segment in header.segments)
        assert {"keep": in_gap.sum() > 1000, "one": in_gap.sum() == 4, "omit": not in_gap.any()}[
            gaps
        ]
        assert (timeline.recordings, timeline.columns) == (3, len(ids))
        assert faults_in(tmp_path) == set()
        before = contents(tmp_path)
        again, same = join(tokenizer, folder, out=out, gaps=gaps)
        assert (same, all(result.reused for result in again)) == (timeline, True)
        assert contents(tmp_path) == before

    @pytest.mark.kills
    def test_survives_a_kill(self, field, tokenizer, tmp_path, monkeypatch):
        folder = field[0]
        whole = tmp_path / "whole" / "t.npy"
        moves = count_moves(monkeypatch, join, tokenizer, folder, out=whole, gaps="one")
        for number in some_of(range(moves)):
            out = tmp_path / str(number) / "t.npy"
            run_killed(monkeypatch, doomed(number), join, tokenizer, folder, out=out, gaps="one")
            join(tokenizer, folder, out=out, gaps="one")
            assert contents(out.parent) == contents(whole.parent)

    def test_a_long_gap_needs_no_room_if_it_is_not_kept(self, field, tokenizer, tmp_path):
        folder = field[0]
        soundfile.write(folder / "20240501_120000.wav", sound(900), RATE)
        with pytest.raises(UserError, match=r"366\.0 days after .* or set --gaps one"):
            join(tokenizer, folder, out=tmp_path / "t.npy")
        _, timeline = join(tokenizer, folder, out=tmp_path / "t.npy", gaps="omit")
        assert (timeline.recordings, timeline.gaps) == (4, 5)
        assert timeline.gap_seconds == pytest.approx(366 * 24 * 3600, rel=1e-5)

    def test_is_refused_if_the_time_in_a_recording_is_not_known(
        self, field, tokenizer, tmp_path, monkeypatch
    ):
        set_timing(monkeypatch, WHOLE, linear=False)
        called = []
        monkeypatch.setattr(pipeline, "tokenize_recording", lambda *each: called.append(each))
        with pytest.raises(
            UserError, match=r"_120000T\.WAV: time was or may have been left out in"
        ):
            join(tokenizer, field[0], out=tmp_path / "t.npy")
        assert called == []

    def test_of_nothing_but_silent_triggers_there_is_none(self, tokenizer, tmp_path):
        path = tmp_path / "20230501_120100T.WAV"
        soundfile.write(path, np.zeros(0), RATE, subtype="PCM_16")
        (result,), timeline = join(tokenizer, path, out=tmp_path / "t.npy")
        assert (result.outcome.status, result.outputs, timeline) == ("ok", [], None)

    def test_a_header_of_another_file_beside_it_is_left_alone(self, field, tokenizer, tmp_path):
        """Files of one name share their header, and so the way in which gaps are written."""
        join(tokenizer, field[0], out=tmp_path / "t.npy")
        before = contents(tmp_path)
        with pytest.raises(
            UserError, match=r"t\.json cannot be written: it also describes t\.npy, "
        ):
            join(tokenizer, field[0], out=tmp_path / "t.csv", file_format="csv", gaps="one")
        assert contents(tmp_path) == before
        join(tokenizer, field[0], out=tmp_path / "t.csv", file_format="csv")
        assert faults_in(tmp_path) == set()
