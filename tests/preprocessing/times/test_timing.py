"""Time that was left out inside a recording: xwav, and AudioMoth recordings of a trigger."""

import struct
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import chunk, wav_bytes
from ulmo.preprocessing.reading.audio import open_recording
from ulmo.preprocessing.stretches import read_stretches
from ulmo.preprocessing.times.clock import WHOLE, Clock, Span, Start, Timing
from ulmo.preprocessing.times.metadata import read_metadata

NOON = datetime(2023, 1, 1, 12, tzinfo=UTC)
RATE = 8000
MS = timedelta(milliseconds=1)


def seconds(time):
    return Fraction(time // timedelta(microseconds=1), 1_000_000)


def wav(data, **options):
    return wav_bytes(data, sample_rate=RATE, bits=16, **options)


def timing_of(folder, content, name="x.wav", **options):
    (folder / name).write_bytes(content)
    return Clock(**options).timing(folder / name)


class TestHarp:
    """The layout is that of rdxwavhd.m in Triton."""

    @staticmethod
    def entry(time, byte, length, rate=RATE, year=None):
        year = time.year - 2000 if year is None else year
        date = (year, time.month, time.day, time.hour, time.minute, time.second)
        fields = (time.microsecond // 1000, byte, length, length // 512, rate)
        return struct.pack("<6BH4IB7x", *date, *fields, 1)

    @staticmethod
    def harp(entries, version=1, count=None, floats=0):
        count = len(entries) if count is None else count
        fields = (version, b"V2.01", b"DL01", b"TEST", b"EXPERIM1", 1, b"12345678", count)
        head = struct.pack("<B10s4s4s8sB8sHiih", *fields, -11700000, 3300000, 100) + bytes(8)
        more = struct.pack(f"<{floats}f", *[0.0] * floats)
        return chunk(b"harp", head + more + b"".join(entry + more for entry in entries))

    def xwav(self, raws, channels=1, data=None, **options):
        """A file of raw files: of each its time and its frames."""
        frame = 2 * channels
        more = options.get("floats", 0)
        # RIFF 12, fmt 24, harp 8 + 56 + its entries, data 8
        first = byte = 12 + 24 + 8 + 56 + 4 * more + len(raws) * (32 + 4 * more) + 8
        entries = []
        for time, frames in raws:
            entries.append(self.entry(time, byte, frames * frame))
            byte += frames * frame
        sound = bytes(byte - first) if data is None else data
        before = self.harp(entries, **options)
        return wav(sound, channels=channels, before=before)

    def test_a_duty_cycle(self, tmp_path):
        raws = [(NOON, 8000), (NOON + timedelta(minutes=15), 16000)]
        timing = timing_of(tmp_path, self.xwav(raws))
        spans = Span(0, 8000, Fraction(0)), Span(8000, None, Fraction(900))
        assert timing[:6] == (Start(NOON, "harp"), spans, True, None, False, None)

    @given(st.data())
    @settings(max_examples=30)
    def test_every_frame_has_its_time(self, tmp_path_factory, data):
        """An oracle by raw files: stamps are cut to milliseconds, and gaps are at least 5 ms."""
        raws, time = [], NOON + data.draw(st.integers(0, 10**6)) * timedelta(microseconds=1)
        for _ in range(data.draw(st.integers(1, 8))):
            frames = data.draw(st.integers(1, 5000))
            raws.append((time, frames))
            time += timedelta(microseconds=round(Fraction(frames, RATE) * 10**6))
            time += data.draw(st.sampled_from((0, 0, 5, 1234, 900_000))) * MS
        timing = timing_of(tmp_path_factory.mktemp("harp"), self.xwav(raws))
        assert timing.linear
        assert abs(timing.start.utc - raws[0][0]) <= MS
        first = 0
        for time, frames in raws:
            for frame in (first, first + frames - 1):
                span = next(s for s in reversed(timing.spans) if s.frame <= frame)
                assert span.frames is None or frame < span.frame + span.frames
                told = seconds(timing.start.utc - NOON) + span.offset
                told += Fraction(frame - span.frame, RATE)
                assert abs(told - seconds(time - NOON) - Fraction(frame - first, RATE)) < 0.003
            first += frames
        ends = [span.frames and span.frame + span.frames for span in timing.spans]
        assert ends == [*(span.frame for span in timing.spans[1:]), None]
        parts = sum(late - time >= 5 * MS for time, late in self.gaps(raws))
        assert len(timing.spans) == 1 + parts

    @staticmethod
    def gaps(raws):
        """The end of each raw file and the time of the next."""
        for (time, frames), (following, _) in pairwise(raws):
            yield time + timedelta(seconds=frames / RATE), following

    def test_errors_do_not_add_up(self, tmp_path):
        """An hour of raw files of 75 s, each 0.9 ms late by the clock: never 2 ms wrong."""
        raws = [(NOON + index * (timedelta(seconds=0.5) + 0.9 * MS), 4000) for index in range(48)]
        timing = timing_of(tmp_path, self.xwav(raws))
        for index, (time, _) in enumerate(raws):
            span = next(s for s in reversed(timing.spans) if s.frame <= 4000 * index)
            told = span.offset + Fraction(4000 * index - span.frame, RATE)
            assert abs(told - seconds(time - NOON)) < Fraction(2, 1000)

    def test_samples_that_were_taken_a_little_too_fast_are_no_fault(self, tmp_path):
        raws = [(NOON + index * (timedelta(seconds=0.5) - MS), 4000) for index in range(48)]
        timing = timing_of(tmp_path, self.xwav(raws))
        assert timing[1:6] == (WHOLE, True, None, False, None)

    @pytest.mark.parametrize("version", [1, ord("1"), 2, ord("2")])
    def test_versions(self, tmp_path, version):
        """Of some writers the version is a digit; version 2 has a float a channel."""
        raws = [(NOON, 800), (NOON + timedelta(hours=1), 800)]
        floats = 3 if version in (2, ord("2")) else 0
        content = self.xwav(raws, channels=3, version=version, floats=floats)
        spans = timing_of(tmp_path, content).spans
        assert spans == (Span(0, 800, Fraction(0)), Span(800, None, Fraction(3600)))

    def test_a_file_that_was_cut_short_has_the_spans_that_it_holds(self, tmp_path):
        raws = [(NOON + timedelta(hours=index), 800) for index in range(3)]
        timing = timing_of(tmp_path, self.xwav(raws)[:-2400])
        assert timing.spans == (Span(0, 800, Fraction(0)), Span(800, None, Fraction(3600)))

    def test_sound_of_a_file_behind_it_is_read_on(self, tmp_path):
        """The table is about the first file alone: what follows it is sound too."""
        raws = [(NOON, 800), (NOON + timedelta(seconds=10), 800)]
        sound = np.arange(1600, dtype="<i2").tobytes()
        (tmp_path / "x.wav").write_bytes(self.xwav(raws, data=sound) + wav(sound))
        spans = Clock().timing(tmp_path / "x.wav").spans
        with open_recording(tmp_path / "x.wav") as recording:
            stretches = read_stretches(recording, None, RATE, spans, hop=Fraction(1, 10))
            lengths = [sum(map(len, stretch.blocks)) for stretch in stretches]
        assert (lengths, recording.frames_read) == ([800, 2400], 3200)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda e: (e(NOON, 0, 800), e(NOON + timedelta(hours=1), 400, 1200)), "follow"),
            (lambda e: (e(NOON, 0, 800), e(NOON + timedelta(hours=1), 900, 800)), "follow"),
            (lambda e: (e(NOON, 0, 800), e(NOON - timedelta(hours=1), 800, 800)), "before the end"),
            (lambda e: (e(NOON, 0, 800), e(NOON, 800, 800)), "before the end"),
            (lambda e: (e(NOON, 0, 0), e(NOON, 0, 1600)), "0 bytes"),
            (lambda e: (e(NOON, 0, 801), e(NOON, 801, 799)), "801 bytes"),
            (lambda e: (e(NOON, 0, 800), e(NOON + timedelta(hours=1), 800, 400)), "600 frames"),
            (lambda e: (e(NOON, 0, 800), e(NOON, 800, 800, year=123)), "no time"),
            (lambda e: (e(NOON, 0, 800, rate=9), e(NOON, 800, 800)), "9 Hz"),
        ],
    )
    def test_a_table_that_cannot_be_true_is_not_believed(self, tmp_path, change, words):
        before = self.harp(change(self.entry))
        content = wav(bytes(1600), before=before)
        timing = timing_of(tmp_path, content, "20240101_120000.wav")
        assert timing.start == Start(NOON.replace(year=2024), "name")
        assert (timing.spans, timing.linear) == (WHOLE, False)
        assert words in timing.note
        facts = timing.facts({"flags": [], "detail": None})
        assert (facts["flags"], facts["detail"]) == (["time_not_linear"], timing.note)

    def test_a_wrong_table_of_one_raw_file_is_no_gap(self, tmp_path):
        before = self.harp([self.entry(NOON, 0, 800, year=200)])
        content = wav(bytes(1600), before=before)
        assert timing_of(tmp_path, content)[:3] == (None, WHOLE, True)

    @pytest.mark.parametrize("count", [2, 3000])  # more than 64 KiB
    def test_in_a_flac_file_that_keeps_the_chunks(self, tmp_path, count):
        """As `flac --keep-foreign-metadata` writes it; positions are those of the xwav file."""
        raws = [(NOON + timedelta(hours=index), 4) for index in range(count)]
        content = self.xwav(raws, channels=2)
        chunk_at = content.index(b"harp")
        block = b"riff" + content[chunk_at : content.index(b"data")]
        path = tmp_path / "x.flac"
        soundfile.write(path, np.zeros((4 * count, 2)), RATE, subtype="PCM_16")
        made = path.read_bytes()
        head = b"\x02" + len(block).to_bytes(3, "big")
        path.write_bytes(made[:42] + head + block + made[42:])
        timing = read_metadata(path).harp
        assert timing.start == Start(NOON, "harp")
        spans = [Span(4 * index, 4, Fraction(3600 * index)) for index in range(count)]
        assert timing.spans == (*spans[:-1], spans[-1]._replace(frames=None))

    def test_more_raw_files_than_the_chunk_holds(self, tmp_path):
        before = self.harp([self.entry(NOON, 0, 1600)], count=65535)
        content = wav(bytes(1600), before=before)
        timing = timing_of(tmp_path, content)
        assert not timing.linear
        assert "shorter" in timing.note


class TestBounds:
    """Each stretch costs time, however short it is."""

    def test_a_file_with_more_gaps_than_a_recorder_leaves_is_not_linear(self, tmp_path):
        raws = [(NOON + timedelta(minutes=index), 64) for index in range(400)]
        timing = timing_of(tmp_path, TestHarp().xwav(raws))
        assert (timing.start, timing.spans) == (Start(NOON, "harp"), WHOLE)
        assert (timing.linear, timing.slowed) == (False, False)
        assert "261 gaps within 16704 frames are more than a recorder leaves" in timing.note

    @pytest.mark.parametrize(
        ("rate", "frames"),
        [
            (8000, 16384),  # of an AudioMoth between two markers: a buffer of 32 KiB
            (384_000, 16384),
            (2000, 150_000),  # of a raw file of 75 s, as HARPs write it, decimated by 100
        ],
    )
    def test_gaps_as_recorders_leave_them_stay(self, rate, frames):
        spans = tuple(Span(n * frames, frames, Fraction(2 * n * frames, rate)) for n in range(9000))
        timing = Timing(None, spans)
        assert timing.bounded() is timing
        far = (*spans[:1], *(span._replace(frame=0) for span in spans[1:258]), spans[-1])
        assert not Timing(None, far).bounded().linear  # however far behind the last one is
        short = Timing(None, spans[:1] + tuple(span._replace(frame=0) for span in spans[1:258]))
        assert not short.bounded().linear

    @pytest.mark.parametrize("seconds", [51 * 365 * 24 * 3600, 10**9 * 300])
    def test_gaps_that_last_longer_than_any_recorder_are_not_used(self, seconds):
        """No later time could be written, nor could samples be counted exactly."""
        spans = Span(0, 9, Fraction(0)), Span(9, None, Fraction(seconds))
        timing = Timing(Start(NOON, "log"), spans)
        bounded = timing.bounded()
        assert (bounded.spans, bounded.linear, bounded.start) == (WHOLE, False, timing.start)
        assert "its gaps last more than 50 years" in bounded.note


def marker(blocks):
    """As main.c of AudioMoth's firmware writes it."""
    bits = [1 if blocks >> bit & 1 else -1 for bit in range(32)]
    return np.array(bits + [0] * 224, np.int16)


COMMENT = (
    "Recorded at 12:00:00 01/01/2023 (UTC) by AudioMoth 24F319016080B3C7 at medium gain while "
    "battery was 4.2V. Amplitude threshold was 512 with 1s minimum trigger duration."
)
COMMENT_CHUNK = chunk(b"LIST", b"INFO" + chunk(b"ICMT", COMMENT.encode().ljust(384, b"\0")))


class TestTriggered:
    @staticmethod
    def sound(frames, seed=0):
        return np.random.default_rng(seed).integers(-300, 300, frames).astype(np.int16)

    @given(
        parts=st.lists(
            st.tuples(st.sampled_from((0, 1, 255, 16140, 65536, 65500)), st.integers(1, 70000)),
            max_size=4,
        ),
        last=st.sampled_from((0, 300, 16384)),
        kind=st.sampled_from(("WAV", "FLAC")),
    )
    @settings(max_examples=20, deadline=None)
    def test_markers_anywhere_become_gaps(self, tmp_path_factory, parts, last, kind):
        """Across the borders of blocks that are read, and in a FLAC file made of it."""
        pieces, spans, frame, true = [np.empty(0, np.int16)], [], 0, 0
        for frames, blocks in [*parts, (last, 0)]:
            if frames:
                spans.append(Span(frame, frames, Fraction(true, RATE)))
            pieces += [self.sound(frames), marker(blocks)]
            frame += frames + 256
            true += frames + 256 * blocks
        samples = np.concatenate(pieces)[:-256]
        if not len(samples):
            return
        path = tmp_path_factory.mktemp("moth") / f"20230101_120000T.{kind}"
        soundfile.write(path, samples, RATE, subtype="PCM_16", format=kind)
        timing = Clock().timing(path)
        assert timing.linear
        assert timing.start == Start(NOON, "name")
        assert timing.spans == (tuple(spans) if parts else WHOLE)

    @pytest.mark.parametrize(
        ("name", "before", "scanned"),
        [
            ("20230101_120000T.WAV", b"", True),
            ("24F319016080B3C7_20230101_120000T.wav", b"", True),
            ("renamed.wav", COMMENT_CHUNK, True),
            ("20230101_120000.WAV", b"", False),
            ("x.wav", COMMENT_CHUNK.replace(b"thres", b"X").replace(b"trig", b"X"), False),
        ],
    )
    def test_only_recordings_of_a_trigger_are_searched(self, tmp_path, name, before, scanned):
        samples = np.concatenate([self.sound(1000), marker(64), self.sound(1000)])
        content = wav(samples.tobytes(), before=before)
        spans = timing_of(tmp_path, content, name).spans
        late = Fraction(1256 + 63 * 256, RATE)
        assert spans == ((Span(0, 1000, Fraction(0)), Span(1256, 1000, late)) if scanned else WHOLE)

    @pytest.mark.parametrize(
        "samples",
        [
            np.zeros(1000, np.int16),
            -marker(0xFFFFFFFF),  # a count of 0
            np.append(marker(64)[:-1], np.int16(1)),
            np.where(np.arange(256) == 5, 2, marker(64)).astype(np.int16),
            np.random.default_rng(0).integers(-1, 2, 200_000).astype(np.int16),
            marker(64)[:255],
        ],
    )
    def test_what_is_no_marker(self, tmp_path, samples):
        content = wav(samples.tobytes())
        timing = timing_of(tmp_path, content, "20230101_120000T.WAV")
        assert timing[1:6] == (WHOLE, True, None, False, None)

    @pytest.mark.parametrize(("kind", "channels"), [("OGG", 1), ("MP3", 1), ("WAV", 2)])
    def test_a_conversion_hides_the_markers(self, tmp_path, kind, channels):
        path = tmp_path / f"20230101_120000T.{kind.lower()}"
        soundfile.write(path, np.zeros((4000, channels)), RATE, format=kind)
        timing = Clock().timing(path)
        assert timing[:3] == (Start(NOON, "name"), WHOLE, False)
        assert "a conversion hides" in timing.note

    def test_an_impossible_count_makes_time_not_linear(self, tmp_path):
        content = wav(marker(1 << 31).tobytes())
        timing = timing_of(tmp_path, content, "20230101_120000T.WAV")
        assert (timing.spans, timing.linear) == (WHOLE, False)
        assert "more than a recording can have" in timing.note

    @pytest.mark.parametrize(
        ("name", "content", "empty"),
        [
            ("20230101_120030T.WAV", wav(b""), True),
            ("x.wav", wav(b"", before=COMMENT_CHUNK), True),
            ("20230101_120030T.WAV", wav(b"", after=chunk(b"guan", b"GUANO|x")), True),
            ("20230101_120030.WAV", wav(b""), False),
            ("20230101_120030T.WAV", wav(bytes(2000), data_size=0), False),  # crashed
            ("20230101_120030T.WAV", wav(b"", data_size=2000), False),  # cut short
            ("20230101_120030T.WAV", b"RIFF", False),
            ("20230101_120030T.WAV", b"", False),
        ],
    )
    def test_empty_is_no_fault(self, tmp_path, name, content, empty):
        (tmp_path / name).write_bytes(content)
        assert (Clock().timing(tmp_path / name).spans == ()) is empty
