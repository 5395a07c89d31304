"""Pairs of views of one sound, and the level that their noise follows."""

import numpy as np
import pytest

from tests.preprocessing.test_augment import (
    DEFAULT,
    HOP,
    IN_DB,
    NOISE,
    SETTINGS,
    SIZE,
    STILL,
    clicks,
    positive_pair,
)


class TestPositivePair:
    def pair(self, samples, seed=0, augment=DEFAULT, constants=IN_DB):
        rng = np.random.default_rng(seed)
        return positive_pair(samples, SETTINGS, augment, rng, constants=constants)

    @pytest.mark.parametrize("constants", [IN_DB, None])
    def test_two_different_tiles_that_are_the_generators(self, constants):
        first = one, other = self.pair(NOISE, constants=constants)
        assert one.shape == other.shape == (SIZE, SIZE, 1)
        assert one.dtype == other.dtype == np.float32
        assert (one != other).mean() > 0.5
        for seed, same in ((0, True), (1, False)):
            again = self.pair(NOISE, seed, constants=constants)
            assert {a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True)} == {same}

    def test_the_samples_are_not_changed(self):
        before = NOISE.copy()
        self.pair(NOISE)
        np.testing.assert_array_equal(NOISE, before)

    def test_it_shows_the_beginning(self):
        one, other = self.pair(clicks(160), augment=STILL)
        for values in (one, other):
            assert values[..., 0].mean(axis=0).argmax() == 160 // HOP

    @pytest.mark.parametrize("seed", range(8))
    def test_views_of_one_sound_are_nearer_than_those_of_others(self, seed):
        """Low and high noise, each normalised by itself, in patches of 4 x 4 cells.

        A tenth of the bins, which a mask may hide, is less than what tells them apart.
        """
        spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=6000))
        low = np.arange(len(spectrum)) < len(spectrum) / 2
        sounds = (np.fft.irfft(spectrum * np.where(where, 1, 0.01)) for where in (low, ~low))
        pairs = [
            [
                view.reshape(8, 4, 8, 4).mean(axis=(1, 3))
                for view in self.pair(sound.astype(np.float32), seed, constants=None)
            ]
            for sound in sounds
        ]
        for index, (one, other) in enumerate(pairs):
            others = [view for i, pair in enumerate(pairs) if i != index for view in pair]
            nearest = min(((one - view) ** 2).mean() for view in others)
            assert ((one - other) ** 2).mean() < nearest
