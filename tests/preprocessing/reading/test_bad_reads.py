"""A read that fails is no fault of a recording, and what it would have given is not guessed."""

import errno
import os
import signal

import numpy as np
import pytest

from tests.failing_reads import LOG, bad_sector, failing_read, recordings
from ulmo.preprocessing.reading import plan
from ulmo.preprocessing.reading.audio import RefusedError, open_recording
from ulmo.preprocessing.reading.pieces import PieceFile
from ulmo.preprocessing.times.clock import Clock

FILES = recordings()
NAMES = [name for name in FILES if not name.endswith(LOG)]
UNREADABLE = "refused", "unreadable"


@pytest.fixture
def file(request, tmp_path):
    """A recording, and what lies beside it."""
    stem = request.param.removesuffix(".wav")
    for name in (request.param, stem + LOG):
        if name in FILES:
            (tmp_path / name).write_bytes(FILES[name])
    return tmp_path / request.param


def outcome(path):
    """All that is found out of a recording; or why it is refused."""
    try:
        timing = Clock().timing(path)
        with open_recording(path) as recording:
            tail = np.concatenate(list(recording.blocks(70_001, 500)))
            samples = np.concatenate(list(recording.blocks()))
            return timing, recording.facts(), samples.tobytes(), tail.tobytes()
    except RefusedError as refusal:
        return "refused", refusal.reason


@pytest.mark.parametrize("file", NAMES, indirect=True)
class TestOneRead:
    def test_that_fails_refuses_the_recording(self, file):
        with failing_read(file.parent) as reads:
            whole = outcome(file)
        assert len(whole) == 4
        assert whole[1]["frames"] > 70_501
        for at in range(1, reads.count + 1):
            with failing_read(file.parent, at):
                assert outcome(file) == UNREADABLE, at
            assert at % 8 or outcome(file) == whole

    def test_that_fails_for_want_of_descriptors_or_memory_is_raised(self, file):
        with failing_read(file.parent) as reads:
            outcome(file)
        for at in range(1, reads.count + 1):
            number = (errno.EMFILE, errno.ENOMEM)[at % 2]
            raised = pytest.raises(OSError, match=os.strerror(number))
            with failing_read(file.parent, at, number), raised:
                outcome(file)

    def test_of_a_bad_sector(self, file):
        """Reads that end before it, and fail there ever after."""
        whole, size = outcome(file), file.stat().st_size
        for first in {0, 100, 4000, size // 3, 2 * size // 3, max(size - 5000, 0), size - 200}:
            with bad_sector(first):
                assert outcome(file) in (whole, UNREADABLE)


@pytest.mark.parametrize("file", ["mp3", "ogg-vorbis"], indirect=True)
def test_one_that_is_cut_while_it_is_searched_has_changed(file, monkeypatch):
    """Its size was taken before, and no frame or page is found behind its new end."""
    signature_of = plan.signature_of

    def late(opened):
        found = signature_of(opened)
        os.truncate(file, found.size // 2)
        return found

    monkeypatch.setattr(plan, "signature_of", late)
    with pytest.raises(RefusedError, match="changed"), open_recording(file):
        pass


@pytest.mark.parametrize("file", ["20230101_120000.wav", "mp3", "crashed-wav"], indirect=True)
def test_ctrl_c_in_a_read_is_not_lost(file, monkeypatch):
    """libsndfile calls back into Python, and what is raised there is printed and forgotten."""
    read = PieceFile._next

    def interrupted(*call):
        if signal.getsignal(signal.SIGINT) is not before:
            signal.raise_signal(signal.SIGINT)
        return read(*call)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(PieceFile, "_next", interrupted)
    with pytest.raises(KeyboardInterrupt), open_recording(file) as recording:
        list(recording.blocks())
    assert signal.getsignal(signal.SIGINT) is before
