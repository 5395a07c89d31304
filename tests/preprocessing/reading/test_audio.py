import math

import numpy as np
import pytest
import soundfile

from tests.oracles import chunk, wav_bytes
from ulmo.preprocessing.reading.audio import (
    BLOCK_FRAMES,
    MAX_AMPLITUDE,
    RefusedError,
    open_recording,
    repair,
)

RATE = 16000
NOISE = np.random.default_rng(0).normal(0, 0.2, 20_001).clip(-0.9, 0.9).astype(np.float32)


def pcm(samples, bits):
    """Little-endian integers of so many bits (8: unsigned), and the samples that they stand for."""
    scale = 1 << (bits - 1)
    numbers = np.round(np.asarray(samples, np.float64) * scale).astype(np.int64)
    stored = numbers + scale if bits == 8 else numbers
    width = bits // 8
    data = stored.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
    return data, (numbers / scale).astype(np.float32).reshape(np.shape(samples))


def write(path, content):
    path.write_bytes(content)
    return path


def plain_wav(samples=NOISE[:1000], **options):
    """A 16-bit WAV file byte by byte."""
    return wav_bytes(pcm(samples, 16)[0], sample_rate=RATE, **options)


def read(path, **run):
    """Samples (n, channels) of one run, and the recording after it."""
    with open_recording(path) as recording:
        blocks = list(recording.blocks(**run))
        return np.concatenate([np.empty((0, recording.channels), np.float32), *blocks]), recording


def refusal(path):
    with pytest.raises(RefusedError) as error, open_recording(path):
        pass
    assert "\n" not in error.value.detail
    return error.value.reason


def test_the_facts_of_a_recording_are_columns_of_its_row(tmp_path):
    cut = plain_wav(data_size=4000)
    _, recording = read(write(tmp_path / "x.wav", cut))
    assert recording.facts() == {
        "status": "partial",
        "reason": "truncated",
        "detail": recording.detail,
        "sample_rate": RATE,
        "channels": 1,
        "frames": 1000,
        "frames_declared": 2000,
        "frames_missing": 1000,
        "duration_s": 1000 / RATE,
        "flags": [],
        "peak_db": 20 * math.log10(recording.peak),
    }
    assert 0 < recording.peak < 1


def test_the_facts_of_a_refusal_are_columns_of_its_row():
    refused = RefusedError("no_samples", "a header but no samples", declared=7, missing=5)
    assert refused.facts() == {
        "status": "refused",
        "reason": "no_samples",
        "detail": "a header but no samples",
        "frames": 0,
        "frames_declared": 7,
        "frames_missing": 5,
        "flags": [],
    }


class TestFormats:
    @pytest.mark.parametrize("bits", [8, 16, 24, 32])
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("extensible", [False, True])
    def test_integers(self, tmp_path, bits, channels, extensible):
        data, expected = pcm(NOISE[:600].reshape(-1, channels), bits)
        options = {"channels": channels, "bits": bits, "extensible": extensible}
        path = write(tmp_path / "x.wav", wav_bytes(data, sample_rate=44100, **options))
        samples, recording = read(path)
        assert samples.dtype == np.float32
        np.testing.assert_array_equal(samples, expected)
        assert (recording.sample_rate, recording.channels) == (44100, channels)
        assert recording.frames == recording.frames_read == 600 // channels
        assert recording.frames_missing == 0
        assert recording.verdict == ("ok", None)
        assert recording.detail is None
        assert recording.peak == np.abs(expected).max()

    @pytest.mark.parametrize(("kind", "bits"), [("<f4", 32), ("<f8", 64)])
    def test_floats(self, tmp_path, kind, bits):
        content = wav_bytes(NOISE.astype(kind).tobytes(), sample_rate=RATE, bits=bits, tag=3)
        samples, _ = read(write(tmp_path / "x.wav", content))
        np.testing.assert_array_equal(samples[:, 0], NOISE)

    @pytest.mark.parametrize("above", [0, 8])
    def test_24_bits_in_four_bytes(self, tmp_path, above):
        """In the lower three, as arecord writes S24_LE, or in the upper three."""
        _, expected = pcm(NOISE[:600], 24)
        numbers = (expected.astype(np.float64) * (1 << 23)).astype("<i4") << above
        content = bytearray(wav_bytes(numbers.tobytes(), sample_rate=RATE, bits=24))
        content[32] = 4  # block_align
        samples, recording = read(write(tmp_path / "x.wav", bytes(content)))
        np.testing.assert_array_equal(samples[:, 0], expected)
        assert recording.verdict == ("ok", None)
        assert (recording.frames_read, recording.frames_declared) == (600, 600)

    @pytest.mark.parametrize(
        ("suffix", "subtype", "bits"),
        [
            ("flac", "PCM_16", 16),
            ("flac", "PCM_24", 24),
            *((suffix, "PCM_16", 16) for suffix in ("aiff", "w64", "rf64", "au", "caf")),
        ],
    )
    def test_lossless(self, tmp_path, suffix, subtype, bits):
        _, expected = pcm(NOISE, bits)
        path = tmp_path / f"x.{suffix}"
        soundfile.write(path, expected, RATE, subtype=subtype)
        samples, recording = read(path)
        np.testing.assert_array_equal(samples[:, 0], expected)
        assert recording.verdict == ("ok", None)

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("x.ogg", {"subtype": "VORBIS"}),
            ("x.opus", {"format": "OGG", "subtype": "OPUS"}),
            ("x.mp3", {}),
        ],
    )
    def test_lossy(self, tmp_path, name, options):
        tone = 0.5 * np.sin(np.arange(32_000) * 2 * np.pi * 440 / RATE).astype(np.float32)
        soundfile.write(tmp_path / name, tone, RATE, **options)
        samples, recording = read(tmp_path / name)
        assert recording.verdict == ("ok", None)
        assert samples.shape == (len(tone), 1)
        kept = slice(4000, 28_000)
        assert np.corrcoef(samples[kept, 0], tone[kept])[0, 1] > 0.99

    def test_a_coding_that_cannot_be_sought_in_is_read_from_anywhere(self, tmp_path):
        path = tmp_path / "x.wav"
        soundfile.write(path, NOISE[:16_000], 8000, subtype="GSM610")
        with open_recording(path) as recording:
            first, again = (np.concatenate(list(recording.blocks())) for _ in range(2))
        assert first.shape == (16_000, 1)
        np.testing.assert_array_equal(first, again)
        assert recording.verdict == ("ok", None)
        np.testing.assert_array_equal(read(path, start=5, frames=10)[0], first[5:15])


class TestBlocks:
    @pytest.fixture
    def path(self, tmp_path):
        long = np.resize(NOISE, 2 * BLOCK_FRAMES + 5)
        return write(tmp_path / "x.wav", plain_wav(long))

    @pytest.mark.parametrize(
        ("channels", "frames", "expected"),
        [(1, 2 * BLOCK_FRAMES + 5, [BLOCK_FRAMES, BLOCK_FRAMES, 5]), (1024, 2000, [1024, 976])],
    )
    def test_they_are_bounded_over_all_channels(self, tmp_path, channels, frames, expected):
        content = wav_bytes(bytes(2 * channels * frames), sample_rate=RATE, channels=channels)
        with open_recording(write(tmp_path / "x.wav", content)) as recording:
            assert [block.shape for block in recording.blocks()] == [
                (length, channels) for length in expected
            ]

    def test_each_run_begins_anew(self, path):
        with open_recording(path) as recording:
            first = np.concatenate(list(recording.blocks()))
            next(iter(recording.blocks()))
            assert recording.frames_read == BLOCK_FRAMES
            np.testing.assert_array_equal(np.concatenate(list(recording.blocks())), first)
        assert recording.frames_read == len(first)

    @pytest.mark.parametrize(
        ("start", "frames", "expected"),
        [(0, 10, 10), (7, 100_000, 100_000), (131_070, 50, 7), (131_077, 5, 0), (0, 0, 0)],
    )
    def test_a_stretch(self, path, start, frames, expected):
        whole, _ = read(path)
        part, recording = read(path, start=start, frames=frames)
        np.testing.assert_array_equal(part, whole[start : start + frames])
        assert recording.frames_read == len(part) == expected
        assert recording.verdict == ("ok", None)


class TestRepair:
    def test_what_is_no_number_or_huge_becomes_0(self, tmp_path):
        dirty = NOISE.copy()
        dirty[[3, 40, 500, 6000, 7000, 8000]] = [
            *(np.nan, np.inf, -np.inf, 1e30),
            *(-2 * MAX_AMPLITUDE, MAX_AMPLITUDE),
        ]
        clean = dirty.copy()
        clean[[3, 40, 500, 6000, 7000]] = 0
        content = wav_bytes(dirty.tobytes(), sample_rate=RATE, bits=32, tag=3)
        with open_recording(write(tmp_path / "x.wav", content)) as recording:
            for _ in range(2):  # the second run counts none twice
                np.testing.assert_array_equal(np.concatenate([*recording.blocks()])[:, 0], clean)
                assert recording.verdict == ("repaired", "non_finite")
                assert recording.non_finite == 5
                assert recording.detail.startswith("5 samples")
                assert recording.peak == MAX_AMPLITUDE

    def test_sound_samples_are_not_copied(self):
        same, count = repair(NOISE)
        assert same is NOISE
        assert count == 0


DATA = pcm(NOISE[:1000], 16)[0]
LIST = chunk(b"LIST", b"INFOabcd")
OK, CRASHED, CUT = ("ok", None), ("repaired", "header_sizes"), ("partial", "truncated")
DAMAGED = {
    "truncated": (plain_wav()[:-600], CUT, 700, 300),
    "truncated in a sample": (plain_wav()[:-601], CUT, 699, 301),
    **{
        f"size {size:#x}": (plain_wav(data_size=size), CRASHED, 1000, 0)
        for size in (0, 44, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF, 2044)  # 2044: header counted
    },
    "crashed, after a chunk": (plain_wav(data_size=0, before=LIST), CRASHED, 1000, 0),
    "a few samples": (plain_wav(NOISE[:22], after=LIST), OK, 22, 0),
    "a chunk after": (plain_wav(after=LIST), OK, 1000, 0),
    "one sample": (plain_wav(NOISE[:1]), OK, 1, 0),
    **{
        f"riff size {wrong.hex()}": (b"RIFF" + wrong + plain_wav()[8:], OK, 1000, 0)
        for wrong in ((2000).to_bytes(4, "little"), bytes(4), b"\xff" * 4)  # libsndfile reads it
    },
}

REFUSED = {
    "empty_file": b"",
    "not_audio": b"this is a text, and no sound at all\n" * 50,
    "no_samples": wav_bytes(b"", sample_rate=RATE),
    "bad_rate": wav_bytes(DATA, sample_rate=1),
}


class TestDamage:
    @pytest.mark.parametrize(
        ("content", "verdict", "frames", "missing"), DAMAGED.values(), ids=DAMAGED
    )
    def test_what_is_there_is_read_and_what_is_missing_counted(
        self, tmp_path, content, verdict, frames, missing
    ):
        samples, recording = read(write(tmp_path / "x.wav", content))
        _, expected = pcm(NOISE[:1000], 16)
        np.testing.assert_array_equal(samples[:, 0], expected[:frames])
        assert recording.verdict == verdict
        assert (recording.frames_read, recording.frames_missing) == (frames, missing)
        assert (recording.detail is None) == (verdict[0] == "ok")

    @pytest.mark.parametrize("bits", [8, 16, 24, 32])
    def test_a_crashed_recorder_of_any_width(self, tmp_path, bits):
        data, expected = pcm(NOISE.reshape(-1, 3), bits)
        content = wav_bytes(data, sample_rate=RATE, channels=3, bits=bits, data_size=0)
        samples, recording = read(write(tmp_path / "x.wav", content))
        np.testing.assert_array_equal(samples, expected)
        assert recording.verdict == ("repaired", "header_sizes")
        part, _ = read(tmp_path / "x.wav", start=100, frames=50)
        np.testing.assert_array_equal(part, expected[100:150])

    def test_partial_outweighs_repaired(self, tmp_path):
        dirty = np.full(100, np.nan, "<f4").tobytes()
        content = wav_bytes(dirty, sample_rate=RATE, bits=32, tag=3)[:-40]
        _, recording = read(write(tmp_path / "x.wav", content))
        assert recording.verdict == ("partial", "truncated")
        assert recording.frames_missing == 10

    @pytest.mark.parametrize(("reason", "content"), REFUSED.items())
    def test_what_is_refused(self, tmp_path, reason, content):
        assert refusal(write(tmp_path / "x.wav", content)) == reason

    def test_what_is_no_file_is_refused(self, tmp_path):
        assert refusal(tmp_path / "none.wav") == "unreadable"
        assert refusal(tmp_path) == "unreadable"

    def test_an_error_of_the_one_who_reads_is_none_of_the_recording(self, tmp_path):
        """A full disk must not look like a damaged recording."""
        path = write(tmp_path / "x.wav", plain_wav())

        def fill_the_disk():
            with open_recording(path) as recording:
                for _ in recording.blocks():
                    raise OSError("the disk is full")

        with pytest.raises(OSError, match="the disk is full"):
            fill_the_disk()


class TestFlac:
    @pytest.fixture
    def whole(self):
        return pcm(np.resize(NOISE, 3 * BLOCK_FRAMES), 16)[1]

    @pytest.fixture
    def path(self, tmp_path, whole):
        soundfile.write(tmp_path / "x.flac", whole, RATE)
        return tmp_path / "x.flac"

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_a_truncated_one_gives_every_frame_before_the_cut(self, path, whole, share):
        content = path.read_bytes()
        write(path, content[: int(len(content) * share)])
        with open_recording(path) as recording:
            samples, again = (np.concatenate(list(recording.blocks())) for _ in range(2))
        np.testing.assert_array_equal(samples, again)
        assert abs(len(samples) - share * len(whole)) < 2 * 4096  # FLAC's block
        np.testing.assert_array_equal(samples[:, 0], whole[: len(samples)])
        assert recording.verdict == ("partial", "decode_error")
        assert recording.frames_read == len(samples)
        assert recording.frames_missing == len(whole) - len(samples)
        assert str(len(samples)) in recording.detail

    def test_one_from_a_pipe_says_nothing_of_its_length(self, path, whole):
        content = bytearray(path.read_bytes())
        content[21] &= 0xF0  # 36 bits of STREAMINFO: total samples
        content[22:26] = bytes(4)
        samples, recording = read(write(path, content))
        np.testing.assert_array_equal(samples[:, 0], whole)
        assert recording.frames == len(whole)
        assert recording.verdict == ("repaired", "header_sizes")
        assert (recording.frames_read, recording.frames_missing) == (len(whole), 0)
