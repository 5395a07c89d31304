"""A short recording that is read twice is decoded once, and nothing of what is read changes."""

import os
from tempfile import SpooledTemporaryFile

import numpy as np
import pytest

from tests.preprocessing.reading.sounds import written
from ulmo.preprocessing.reading import kept
from ulmo.preprocessing.reading.audio import RefusedError, open_recording
from ulmo.preprocessing.reading.channels import in_turn
from ulmo.preprocessing.reading.kept import keeping_short

FROM_THE_BEGINNING = ("ogg, vorbis", "ogg, opus", "mp3")
FRAMES = 70_000  # more than a block
STRETCHES = ((0, 500), (66_000, 2000), (30_000, 36_000), (FRAMES - 100, 1000))


def read(path, *, again):
    """Stretches of a recording, the whole, and what is found out on the way."""
    parts = []
    with open_recording(path, again=again) as recording:
        for start, frames in STRETCHES:
            blocks = list(recording.blocks(start, frames))
            parts.append(np.concatenate(blocks) if blocks else None)
    with open_recording(path) as recording:
        blocks = list(recording.blocks())
        facts = recording.facts()
    return [*parts, np.concatenate(blocks)], [len(block) for block in blocks], facts


def read_or_refused(path, *, again):
    try:
        return read(path, again=again)
    except RefusedError as refusal:
        return refusal.facts()


def place(tmp_path, kind, channels=1):
    path = tmp_path / "recording"
    path.write_bytes(written(kind, FRAMES, channels=channels))
    return path


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", FROM_THE_BEGINNING)
def test_it_is_decoded_once(kind, channels, tmp_path, decoded):
    path = place(tmp_path, kind, channels)
    expected = read(path, again=False)
    assert sum(decoded) > 1.5 * FRAMES
    decoded.clear()
    with keeping_short():
        found = read(path, again=True)
    assert sum(decoded) == len(expected[0][-1])
    for one, other in zip(found[0], expected[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[1:] == expected[1:]


def test_channels_in_turn(tmp_path, decoded):
    path = place(tmp_path, "ogg, vorbis", channels=2)
    with open_recording(path) as recording:
        whole = np.concatenate(list(recording.blocks()))
    decoded.clear()
    with keeping_short():
        for _ in range(2):
            with open_recording(path, again=True) as recording, in_turn(recording, [0, 1]):
                for channel in (0, 1):
                    blocks = list(recording.in_turn(channel, 0, None))
                    np.testing.assert_array_equal(np.concatenate(blocks), whole[:, [channel]])
    assert sum(decoded) == FRAMES


@pytest.mark.parametrize("kind", ["wav", "wav, GSM", "flac", "aiff"])
def test_others_are_not(kind, tmp_path, decoded):
    path = place(tmp_path, kind)
    read(path, again=False)
    plainly = sum(decoded)
    decoded.clear()
    with keeping_short():
        read(path, again=True)
    assert sum(decoded) == plainly


@pytest.mark.parametrize("limit", ["MOST_OF_ONE", "MOST_KEPT"])
def test_not_more_than_there_is_room_for(limit, tmp_path, decoded, monkeypatch):
    """One too long is decoded for each reader, and so is one that was decoded, but not kept."""
    path = place(tmp_path, "ogg, vorbis")
    expected = read(path, again=False)
    plainly = sum(decoded)
    decoded.clear()
    monkeypatch.setattr(kept, limit, 4 * FRAMES - 1)
    with keeping_short():
        found = read(path, again=True)
    assert sum(decoded) == (plainly if limit == "MOST_OF_ONE" else 2 * FRAMES)
    np.testing.assert_array_equal(found[0][-1], expected[0][-1])


def test_a_full_disk(tmp_path, decoded, monkeypatch):
    class Full(SpooledTemporaryFile):
        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept, "SpooledTemporaryFile", Full)
    path = place(tmp_path, "ogg, vorbis")
    with keeping_short():
        found = read(path, again=True)
    assert sum(decoded) == 2 * FRAMES
    assert found[2]["frames"] == FRAMES


def test_one_that_changed_is_read_anew(tmp_path):
    path = place(tmp_path, "ogg, vorbis")
    with keeping_short():
        with open_recording(path, again=True) as recording:
            list(recording.blocks(0, 500))
        status = path.stat()
        path.write_bytes(written("ogg, vorbis", FRAMES, seed=1))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        with open_recording(path) as recording:
            found = np.concatenate(list(recording.blocks()))
    with open_recording(path) as recording:
        np.testing.assert_array_equal(found, np.concatenate(list(recording.blocks())))


def read_and_change(path):
    with open_recording(path, again=True) as recording:
        for _ in recording.blocks():
            path.write_bytes(written("ogg, vorbis", FRAMES, seed=1))


def test_one_that_changes_while_it_is_read_is_refused(tmp_path):
    """Whether it is decoded, or was kept."""
    path = place(tmp_path, "ogg, vorbis")
    with keeping_short():
        for _ in range(2):
            with pytest.raises(RefusedError) as refused:
                read_and_change(path)
            assert refused.value.reason == "changed"
            path.write_bytes(written("ogg, vorbis", FRAMES))
            with open_recording(path, again=True) as recording:
                list(recording.blocks(0, 500))


@pytest.mark.parametrize("kind", FROM_THE_BEGINNING)
def test_damaged_ones_are_as_before(kind, tmp_path):
    """Cut, with bytes that are lost in the middle or another file behind them, or without sound."""
    content = written(kind, FRAMES)
    middle = len(content) // 2
    damaged = [
        content[:middle],
        content[:-7],
        content[:middle] + bytes(900) + content[middle + 900 :],
        content[:middle] + content[middle + 3000 :],
        content + content,
        content + written("wav", 900),
        content[:600],
        content + bytes(10_000),
    ]
    path = tmp_path / "recording"
    for each in damaged:
        path.write_bytes(each)
        expected = read_or_refused(path, again=False)
        with keeping_short():
            found = read_or_refused(path, again=True)
        if isinstance(expected, dict):
            assert found == expected
            continue
        assert found[1:] == expected[1:]
        for one, other in zip(found[0], expected[0], strict=True):
            np.testing.assert_array_equal(one, other)
