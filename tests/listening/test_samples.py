"""Samples of a channel at the recording's own rate, in pieces."""

import numpy as np
import pytest
import soundfile

from tests.gaps import write_triggered
from tests.small_tokenizers import RATE, sound
from ulmo.config import ClockSettings
from ulmo.jobs.inputs import find_sources
from ulmo.listening import samples as module
from ulmo.listening.listen import Job, Wanted, listen
from ulmo.listening.samples import own_samples
from ulmo.preprocessing.reading.audio import RefusedError

OWN = 3 * RATE  # hertz


def heard_of(tokenizer, path, **wanted):
    (found,) = find_sources([path])
    return listen(tokenizer, Wanted(**wanted), Job(found)).heard


@pytest.mark.parametrize("most", [1 << 28, 4000, 1000, 7])
def test_pieces_are_the_samples_of_a_channel(most, tokenizer_of, tmp_path, monkeypatch):
    length = 9001 if most > 100 else 50
    both = np.stack([sound(length), 0.5 * sound(length)], axis=1)
    soundfile.write(tmp_path / "x.wav", both, OWN, "FLOAT")
    first, second = heard_of(tokenizer_of(), tmp_path / "x.wav", channels="each")
    monkeypatch.setattr(module, "_MOST", most)
    monkeypatch.setattr("ulmo.preprocessing.reading.audio.BLOCK_FRAMES", 1000)
    for heard, expected in ((first, both[:, 0]), (second, both[:, 1])):
        pieces = list(own_samples(heard, ClockSettings(), 1.0))
        assert {piece.rate for piece in pieces} == {OWN}
        assert max(len(piece.samples) for piece in pieces) <= most
        np.testing.assert_array_equal(np.concatenate([each.samples for each in pieces]), expected)
        begins = [piece.start_s * OWN for piece in pieces]
        sizes = [len(piece.samples) for piece in pieces]
        assert begins == pytest.approx(np.cumsum([0, *sizes[:-1]]))


def test_each_stretch_has_its_own_pieces(tokenizer_of, tmp_path):
    path = tmp_path / "20230501_120000T.WAV"
    parts = write_triggered(path, sound(1500), 40, sound(900), rate=RATE)
    (heard,) = heard_of(tokenizer_of(), path)
    pieces = list(own_samples(heard, ClockSettings(), 1.0))
    assert [(piece.part, piece.start_s) for piece in pieces] == [(0, 0.0), (1, 0.0)]
    for piece, (expected, _) in zip(pieces, parts, strict=True):
        np.testing.assert_array_equal(piece.samples, expected)


def test_a_recording_that_is_gone_is_refused(tokenizer_of, tmp_path):
    soundfile.write(tmp_path / "x.wav", sound(4000), RATE)
    (heard,) = heard_of(tokenizer_of(), tmp_path / "x.wav")
    (tmp_path / "x.wav").unlink()
    with pytest.raises(RefusedError):
        list(own_samples(heard, ClockSettings(), 1.0))
