"""Constants of all recordings are those of the recordings that the tiles are made of."""

import numpy as np
import pytest

from tests.pipelines.recordings import TINY, contents, named, noise, run_killed, write
from ulmo.pipelines.prep import output as prep_output
from ulmo.pipelines.prep.prep import prepare

pytestmark = pytest.mark.usefixtures("small_jobs")
LEARN = prep_output.corpus_constants


def edit(audio):
    """One recording is louder in its middle: its size and its ends stay."""
    samples = noise(20_000, 30)
    samples[4000:16_000] *= 6
    write(audio / "edited.wav", samples.clip(-0.9, 0.9))


@pytest.fixture
def recordings(tmp_path):
    audio = tmp_path / "audio"
    write(audio / "edited.wav", noise(20_000, 30))
    write(audio / "other.wav", noise(3000, 1))
    return audio


def assert_fresh(out, audio, tmp_path):
    prepare(audio, tmp_path / "fresh", TINY)
    assert contents(out) == contents(tmp_path / "fresh")


@pytest.mark.parametrize("again", [False, True])
def test_a_recording_is_edited_after_a_kill(again, recordings, tmp_path, monkeypatch):
    """They were learned by a job that was killed: of a new output, or of one that replaces it."""
    out = tmp_path / "out"
    if again:
        prepare(recordings, out, TINY)
        write(recordings / "new.wav", noise(3000, 2))
    how = {"accept_changes": again}
    run_killed(monkeypatch, named("recordings.parquet"), prepare, recordings, out, TINY, **how)
    edit(recordings)
    prepare(recordings, out, TINY, **how)
    assert_fresh(out, recordings, tmp_path)


def edit_then(*learning):
    constants = LEARN(*learning)
    edit(learning[1])
    return constants


def replace_meanwhile(*learning):
    """Another recording has the place of one, while they are learned."""
    path, kept = learning[1] / "other.wav", learning[1].parent / "kept.wav"
    path.rename(kept)
    write(path, np.repeat(noise(1500, 7), 2, axis=0))
    constants = LEARN(*learning)
    kept.rename(path)
    return constants


@pytest.mark.parametrize("learn", [edit_then, replace_meanwhile])
def test_a_recording_changes_while_the_job_runs(learn, recordings, tmp_path, monkeypatch):
    """The next run learns them again."""
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(prep_output, "corpus_constants", learn)
        prepare(recordings, out, TINY)
    assert not prepare(recordings, out, TINY).reused
    assert_fresh(out, recordings, tmp_path)
