"""Onsets that are alike: by their spectra, and by their waveforms (a matched filter).

A kind is a set of onsets near one of them, the loudest that no kind has yet, and then near the
middle of the set. Kinds by spectrum gather pulses whose waveforms vary; kinds by waveform part
clicks from drops and knocks that are as bright.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Indices, Mask
from ulmo.sequence.onsets import Grid, Onsets, cut

Real = NDArray[np.float64]

ALIKE = 0.9  # cosine of spectra: 95 % of the clicks of a train at 10 dB, 15 % of other onsets
SAME_WAVE = 0.6  # correlation of waveforms: noise reaches 0.4
_LEAST = 4  # onsets of a kind: as of a chain
_LEADERS = 48  # onsets that may begin a kind


class Looks(NamedTuple):
    """What onsets look like, so that they may be compared."""

    spectra: Array  # (n, bands), of length 1
    waves: NDArray[np.complex64]  # (n, bins): of whitened waveforms of energy 1
    most_lag: int  # samples by which waveforms may be shifted to match


def looks_of(samples: Array, grid: Grid, onsets: Onsets) -> Looks:
    """What the onsets of samples look like.

    Spectra are fourth roots of the power above the noise: loud bands count most, and not alone.
    Waveforms begin a quarter of their length before the onset's peak.
    """
    above = np.maximum(10 ** (onsets.shapes / 10) - 1, 0) ** 0.25
    spectra = above / np.maximum(np.linalg.norm(above, axis=1, keepdims=True), 1e-9)
    size = max(32, 1 << (8 * grid.hop - 1).bit_length())
    begins = np.round(onsets.times * grid.rate).astype(np.int64) - size // 4
    waves = np.fft.rfft(cut(samples, begins, size), axis=1)
    waves *= np.exp(-0.5 * onsets.noise[:, grid.bands_of(size)])
    waves[:, 0] = waves[:, -1] = 0
    energy = np.sqrt(2 * np.square(np.abs(waves)).sum(axis=1, keepdims=True))
    return Looks(
        spectra.astype(np.float32),
        (waves / np.maximum(energy, 1e-12)).astype(np.complex64),
        size // 8,
    )


def correlate(looks: Looks, template: NDArray[np.complex64]) -> tuple[Real, Indices]:
    """The best correlation of each waveform with a template, and samples that it comes later."""
    size = 2 * (looks.waves.shape[1] - 1)
    at_lag = np.fft.irfft(looks.waves * np.conj(template), size, axis=1) * size
    lags = np.arange(-looks.most_lag, looks.most_lag + 1)
    near = at_lag[:, lags]
    best = near.argmax(axis=1)
    return near[np.arange(len(near)), best].astype(np.float64), lags[best]


class Template(NamedTuple):
    """What some onsets have in common."""

    spectrum: Array  # (bands,): the middle of theirs, of length 1
    wave: NDArray[np.complex64]  # (bins,): the mean of theirs, aligned, of energy 1
    is_one_wave: bool  # whether they have one waveform
    most_lag: int  # samples by which waveforms may be shifted to match

    def is_like(self, other: "Template") -> bool:
        """Whether both are of one sound: as bright, and of one waveform if each has one."""
        if self.spectrum @ other.spectrum < ALIKE:
            return False
        if not (self.is_one_wave and other.is_one_wave):
            return True
        look = Looks(self.spectrum[None], self.wave[None], self.most_lag)
        return bool(correlate(look, other.wave)[0][0] >= SAME_WAVE)


def _is_one_wave(correlations: Real) -> bool:
    """Whether waveforms (n,) that have these correlations with their own mean are one.

    The mean of n waveforms is like each of them even where they are noise. So what counts is how
    alike two of them are on average: where noise is added to one waveform, that is the square of
    its correlation with what they have in common.
    """
    count = len(correlations)
    pairs = (float(correlations.sum()) ** 2 - count) / max(count * (count - 1), 1)
    return pairs >= SAME_WAVE**2


def template_of(looks: Looks, members: Indices) -> Template:
    """The middle of the members' spectra, and the mean of their waveforms, aligned to the first."""
    spectrum = np.median(looks.spectra[members], axis=0)
    spectrum /= max(float(np.linalg.norm(spectrum)), 1e-9)
    some = Looks(looks.spectra[members], looks.waves[members], looks.most_lag)
    wave = some.waves[0]
    for _ in range(2):
        _, lags = correlate(some, wave)
        bins = np.arange(len(wave))
        turn = np.exp(1j * np.pi * lags[:, None] * bins / (len(wave) - 1))
        wave = (some.waves * turn).mean(axis=0)
        wave /= max(np.sqrt(2 * float(np.square(np.abs(wave)).sum())), 1e-12)
    wave = wave.astype(np.complex64)
    return Template(spectrum, wave, _is_one_wave(correlate(some, wave)[0]), looks.most_lag)


def kinds_of(looks: Looks, bits: Real, free: Mask) -> list[Indices]:
    """Sets of places of at least 4 onsets that are alike, the loudest first; they may overlap.

    Only those that are `free` (n,) begin a kind or belong to one.
    """
    order = np.argsort(-bits, kind="stable")
    order = order[free[order]]
    return _kinds(looks, order, by_wave=True) + _kinds(looks, order, by_wave=False)


def _kinds(looks: Looks, order: Indices, *, by_wave: bool) -> list[Indices]:
    def near(spectrum: Array, wave: NDArray[np.complex64]) -> Mask:
        if by_wave:
            return able & (correlate(looks, wave)[0] >= SAME_WAVE)
        alike: Mask = able & (looks.spectra @ spectrum >= ALIKE)
        return alike

    able = np.zeros(len(looks.spectra), bool)
    able[order] = True
    free = able.copy()
    kinds: list[Indices] = []
    tried = 0
    for leader in order:
        if not free[leader] or tried == _LEADERS:
            continue
        tried += 1
        free[leader] = False
        alike = near(looks.spectra[leader], looks.waves[leader])
        if alike.sum() < _LEAST:
            continue
        members = np.flatnonzero(alike)
        members = np.concatenate([[leader], members[members != leader]])
        template = template_of(looks, members)
        alike = near(template.spectrum, template.wave)
        free &= ~alike
        if alike.sum() >= _LEAST:
            kinds.append(np.flatnonzero(alike))
    return kinds
