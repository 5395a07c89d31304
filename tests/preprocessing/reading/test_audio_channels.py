"""Channels, resampling, files over 4 GiB, and bounds of what is read."""

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import wav_bytes
from tests.preprocessing.reading.test_audio import LIST, NOISE, RATE, pcm, plain_wav, read, write
from ulmo.config import UserError
from ulmo.preprocessing.reading.audio import (
    RefusedError,
    channel_list,
    open_recording,
    pick_channel,
    read_channel,
    read_mono,
    resample,
)


class TestChannels:
    STEREO = np.stack([NOISE[:999], NOISE[1:1000]], axis=1)

    @pytest.mark.parametrize(
        ("channels", "expected"), [("mix", [None]), ("each", [0, 1, 2]), ("0", [0]), ("2", [2])]
    )
    def test_list(self, channels, expected):
        assert channel_list(channels, 3) == expected

    @pytest.mark.parametrize("channels", ["", "all", "-1", "1.5"])
    def test_what_names_no_channel_is_a_mistake(self, channels):
        with pytest.raises(UserError, match="mix, each or a number"):
            channel_list(channels, 3)

    def test_one_that_is_not_there_is_refused(self, tmp_path):
        with pytest.raises(RefusedError, match="no_channel"):
            channel_list("3", 3)
        with pytest.raises(RefusedError, match="no_channel"):
            list(read_mono(write(tmp_path / "x.wav", plain_wav()), sample_rate=RATE, channel=1))

    def test_pick(self):
        blocks = [self.STEREO[:100], self.STEREO[100:]]
        for channel, expected in (
            (None, (self.STEREO[:, 0] + self.STEREO[:, 1]) / 2),
            (0, self.STEREO[:, 0]),
            (1, self.STEREO[:, 1]),
        ):
            picked = list(pick_channel(blocks, channel))
            assert [len(block) for block in picked] == [100, 899]
            np.testing.assert_allclose(np.concatenate(picked), expected, rtol=1e-6)

    def test_the_mean_of_one_channel_is_that_channel(self):
        (only,) = pick_channel([NOISE[:, None]], None)
        np.testing.assert_array_equal(only, NOISE)

    def test_read(self, tmp_path):
        data, expected = pcm(self.STEREO, 16)
        path = write(tmp_path / "x.wav", wav_bytes(data, sample_rate=RATE, channels=2))
        second = np.concatenate(list(read_mono(path, sample_rate=RATE, channel=1)))
        np.testing.assert_array_equal(second, expected[:, 1])
        with open_recording(path) as recording:
            mean = np.concatenate(list(read_channel(recording, None, RATE)))
        np.testing.assert_allclose(mean, expected.mean(axis=1), atol=1e-7)


class TestResample:
    RATES = ((44100, 16000), (8000, 16000), (48000, 16000), (22050, 4000), (16000, 96000))

    @pytest.mark.parametrize(("rate", "new_rate"), RATES)
    @settings(max_examples=15, deadline=None)
    @given(cuts=st.lists(st.integers(0, len(NOISE)), max_size=10))
    def test_it_is_one_shot_soxr_however_the_blocks_are_cut(self, rate, new_rate, cuts):
        blocks = np.split(NOISE, sorted(cuts))
        found = np.concatenate(list(resample(blocks, rate, new_rate)))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, soxr.resample(NOISE, rate, new_rate, quality="HQ"))

    def test_the_same_rate_changes_nothing(self):
        blocks = [NOISE[:10], NOISE[10:]]
        assert list(resample(blocks, RATE, RATE)) == blocks
        assert sum(len(block) for block in resample([], 44100, RATE)) == 0


class TestOver4GiB:
    """Sparse files: nothing of them is read but what is asked for."""

    BYTES = (1 << 32) + 4_000_000

    def write(self, path, data_size, after=b""):
        header = plain_wav(NOISE[:0], data_size=data_size)
        with path.open("wb") as file:
            file.write(header)
            file.seek(44 + self.BYTES - 2000)
            file.write(pcm(NOISE[:1000], 16)[0] + after)
        return path

    @pytest.mark.parametrize(
        ("size", "after"),
        [(BYTES - (1 << 32), b""), (BYTES - (1 << 32), LIST), (0, b""), (0xFFFFFFFF, b"")],
    )
    def test_a_size_that_ran_over_or_is_unknown_is_read_to_the_last_frame(
        self, tmp_path, size, after
    ):
        with open_recording(self.write(tmp_path / "x.wav", size, after)) as recording:
            last = np.concatenate(list(recording.blocks(recording.frames - 1000, 1000)))
            assert recording.frames == self.BYTES // 2
            assert recording.verdict == ("repaired", "header_sizes")
            assert recording.frames_missing == 0
            assert recording.frames_declared == (None if size == 0xFFFFFFFF else size // 2)
        np.testing.assert_array_equal(last[:, 0], pcm(NOISE[:1000], 16)[1])


class TestBounds:
    @pytest.mark.parametrize("size", [0x7FFFFFF0, 0xFFFFFFFF, 1 << 47])
    def test_nothing_is_allocated_from_a_header(self, tmp_path, size):
        resource = pytest.importorskip("resource")
        path = write(tmp_path / "x.wav", plain_wav(data_size=min(size, 0xFFFFFFFF)))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        samples, recording = read(path)
        assert len(samples) == 1000
        assert recording.frames_read + recording.frames_missing >= 1000
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
