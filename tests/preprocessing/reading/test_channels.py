"""Channels that are read one after the other are decoded once for a group of them."""

from tempfile import SpooledTemporaryFile

import numpy as np
import pytest

from tests.preprocessing.reading.sounds import written
from ulmo.preprocessing.reading import channels
from ulmo.preprocessing.reading.audio import open_recording
from ulmo.preprocessing.reading.channels import in_turn

MANY, FRAMES = 1024, 2500


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "many.wav"
    path.write_bytes(written("wav", FRAMES, channels=MANY))
    return path


@pytest.mark.parametrize(("most", "times"), [(1 << 30, 1), (300 * 4 * FRAMES, 4), (1, MANY)])
def test_each_group_is_decoded_once(most, times, path, decoded, monkeypatch):
    monkeypatch.setattr(channels, "MOST_KEPT", most)
    chosen = range(MANY) if times < MANY else range(5)
    with open_recording(path) as recording:
        whole = np.concatenate(list(recording.blocks()))
        facts = recording.facts()
        decoded.clear()
        heard = []
        recording.on_frames = heard.append
        with in_turn(recording, chosen):
            for channel in chosen:
                blocks = list(recording.in_turn(channel, 0, None))
                np.testing.assert_array_equal(np.concatenate(blocks), whole[:, [channel]])
        assert recording.in_turn is None
        assert recording.facts() == facts
    assert sum(decoded) == min(times, len(chosen)) * FRAMES
    assert sum(heard) == len(chosen) * FRAMES


def test_parts_of_a_recording_and_runs_that_were_given_up(path, decoded):
    with open_recording(path) as recording, in_turn(recording, [0, 1, 2]):
        next(recording.in_turn(0, 0, None))
        parts = [
            np.concatenate(list(recording.in_turn(channel, start, 1500)))
            for start in (0, 800)
            for channel in (0, 1, 2)
        ]
        whole = np.concatenate(list(recording.blocks()))
    for number, part in enumerate(parts):
        start = 800 * (number // 3)
        np.testing.assert_array_equal(part, whole[start : start + 1500, [number % 3]])
    assert sum(decoded) < 3 * 1500 + 2 * FRAMES


def test_without_room_each_is_decoded(path, decoded, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SpooledTemporaryFile, "write", full)
    with open_recording(path) as recording, in_turn(recording, [3, 4]):
        for channel in (3, 4):
            assert sum(map(len, recording.in_turn(channel, 0, None))) == FRAMES
    assert sum(decoded) == 2 * FRAMES


def test_one_channel_and_the_mean_of_all_keep_nothing(path):
    for chosen in ([None], [7]):
        with open_recording(path) as recording, in_turn(recording, chosen):
            assert recording.in_turn is None
