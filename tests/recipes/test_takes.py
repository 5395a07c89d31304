"""Takes of one thing as pairs: who is paired with whom, and when the same is heard."""

import numpy as np
import pytest
import soundfile

from recipes.takes import TAKES, pair_takes

RATE = 8000
PATTERN = r"^(?P<what>[ab])_(?P<who>\w+)_"
NOTES = {"a": (400, 1500, 700, 2500), "b": (2200, 500, 1200, 900)}  # hertz
WHO = {"ann": 1.0, "bob": 1.3, "cy": 0.8}  # seconds, before the silence at the end


def word(what, seconds, seed):
    """A glide over four notes, and some silence, with a little noise."""
    times = np.arange(int(seconds * RATE)) / RATE
    pitch = np.interp(times / seconds, np.linspace(0, 1, 4), NOTES[what])
    sound = np.sin(2 * np.pi * np.cumsum(pitch) / RATE)
    noise = np.random.default_rng(seed).normal(0, 1e-3, len(sound) + RATE // 2)
    noise[: len(sound)] += 0.5 * sound
    return noise


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("takes")
    for number, (what, (who, seconds)) in enumerate(
        (what, each) for what in NOTES for each in WHO.items()
    ):
        for take in range(2):
            sound = word(what, seconds, seed=2 * number + take)
            soundfile.write(folder / f"{what}_{who}_{take}.wav", sound, RATE)
    soundfile.write(folder / "noise.wav", word("a", 1, 0), RATE)
    return folder


@pytest.fixture(scope="module")
def rows(folder):
    names = [path.name for path in folder.glob("*.wav")]
    return list(pair_takes(folder, names, PATTERN))


def test_takes_of_the_same_are_paired_once(rows):
    pairs = [frozenset(row[:2]) for row in rows]
    assert len(pairs) == len(set(pairs)) == 2 * 6 * 5 // 2  # fewer takes than each may have
    assert all(len({name[0] for name in pair}) == 1 for pair in pairs)
    assert TAKES > 5


def test_times_are_those_of_the_same_pitch(rows):
    for one, other, *times in rows:
        here, there = (np.array(side.split(), float) for side in times)
        lengths = [WHO[name.split("_")[1]] for name in (one, other)]
        inside = here < 0.95 * lengths[0]
        expected = here * lengths[1] / lengths[0]
        assert inside.sum() > 5
        assert np.abs(there - expected)[inside].max() < 0.08


def test_many_takes_are_drawn_from_mostly_by_another(folder, tmp_path):
    for take in range(12):
        for who in ("ann", "bob"):
            soundfile.write(tmp_path / f"a_{who}_{take}.wav", word("a", 1, take), RATE)
    names = sorted(path.name for path in tmp_path.iterdir())
    rows = list(pair_takes(tmp_path, names, PATTERN))
    assert rows == list(pair_takes(tmp_path, names[::-1], PATTERN))
    across = [one.split("_")[1] != other.split("_")[1] for one, other, *_ in rows]
    assert len(rows) < 24 * TAKES
    assert 0.5 < np.mean(across) < 0.85


@pytest.mark.parametrize("seconds", [0, 0.001, 1])
def test_a_take_without_sound_has_no_pair(seconds, tmp_path):
    """Nor does it end the job: a file that is empty, one of a frame, and silence."""
    soundfile.write(tmp_path / "a_ann_0.wav", word("a", 1, 0), RATE)
    soundfile.write(tmp_path / "a_bob_0.wav", np.zeros(round(seconds * RATE)), RATE)
    assert list(pair_takes(tmp_path, ["a_ann_0.wav", "a_bob_0.wav"], PATTERN)) == []
