"""`dwt` and `wpt` lay PyWavelets' energy on the frames, keep all of it, and place it in time."""

import warnings
from functools import cache
from math import ceil, log2

import numpy as np
import pytest
import pywt
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import energy_delay, laid_energy
from tests.preprocessing.signals import (
    CASES,
    SIGNALS,
    impulses,
    level,
    noise,
    power_of,
    settings_of,
)
from ulmo.preprocessing.frontends import build_frontend

ORTHOGONAL = [
    name
    for name in pywt.wavelist(kind="discrete")
    if pywt.Wavelet(name).orthogonal and name != "dmey"  # cut short: orthogonal to 0.2 % only
]
LAID = {
    "default": {},
    "8k": CASES["8k"],
    "odd": CASES["odd"],
    "db1": {"wavelet": "db1", "tile_size": 33, "wavelet_level": 6, "hop_length": 50},
    "sym8": {"wavelet": "sym8", "tile_size": 50, "wavelet_level": 6, "hop_length": 90},
    "coif5": {"wavelet": "coif5", "tile_size": 20, "wavelet_level": 5},
    "db4": {"wavelet": "db4", "tile_size": 100, "wavelet_level": 7, "hop_length": 33},
    "few bands": {"wavelet": "db4", "tile_size": 8, "wavelet_level": 3, "hop_length": 7},
    "long hop": {"wavelet": "db4", "tile_size": 9, "wavelet_level": 4, "hop_length": 300},
}
WITH_ALL = (
    "default",
    "odd",
)  # the others lay two signals: one that is everywhere, one that is short
CASES_OF_POWER = [
    pytest.param(name, values, signal, id=f"{name}-{laid}-{signal}")
    for name in ("dwt", "wpt")
    for laid, values in LAID.items()
    for signal in (SIGNALS if laid in WITH_ALL else ("noise", "impulses"))
]


def levels_of(made):
    if made.wavelet_level is not None:
        return made.wavelet_level
    return 7 if made.frontend == "dwt" else ceil(log2(made.tile_size))


def coefficients(made, samples):
    """Those of each band, the lowest first, along the last axis, and the bands' steps."""
    levels = levels_of(made)
    if made.frontend == "dwt":
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Level value of")
            bands = pywt.wavedec(samples, made.wavelet, mode="zero", level=levels)
        return bands, [2**levels, *(2**one for one in range(levels, 0, -1))]
    tree = pywt.WaveletPacket(samples, made.wavelet, mode="zero", maxlevel=levels)
    bands = [node.data for node in tree.get_level(levels, "freq")[: made.tile_size]]
    return bands, [2**levels] * made.tile_size


@cache
def delays(made):
    """Of each band, by PyWavelets' transform of impulses."""
    longest = 2 ** levels_of(made)
    responses, steps = coefficients(made, np.eye(longest))
    return [energy_delay(band[:step]) for band, step in zip(responses, steps, strict=True)]


def expected_power(made, samples):
    """Power (M, frames) by the oracle."""
    bands, steps = coefficients(made, samples)
    frames = -(-len(samples) // made.hop_length)
    power = laid_energy(bands, steps, delays(made), hop_length=made.hop_length, frames=frames)
    if made.frontend == "wpt":
        return power
    band_of_rows = [row * len(bands) // made.tile_size for row in range(made.tile_size)]
    return np.array([power[band] / band_of_rows.count(band) for band in band_of_rows])


@pytest.mark.parametrize(("name", "values", "signal"), CASES_OF_POWER)
def test_power_is_pywavelets_energy(name, values, signal):
    """In float32: coefficients are off by a few 1e-7 of the loudest sample's amplitude.

    That is 0.01 dB at -80 dB re full scale, which is 1e-4 of its amplitude.
    """
    made = settings_of(name, **values)
    samples = np.asarray(SIGNALS[signal](3061), np.float32)
    power = power_of(build_frontend(made), samples)
    expected = expected_power(made, samples.astype(np.float64))
    assert power.shape == expected.shape
    assert np.abs(np.sqrt(power) - np.sqrt(expected)).max() < 1e-6
    assert np.abs(level(power, -80) - level(expected, -80)).max() < 0.01


@st.composite
def wavelet_settings(draw, wavelets):
    """`dwt`, and `wpt` with as many rows as packets: all of the energy has a row."""
    name = draw(st.sampled_from(["dwt", "wpt"]))
    levels = draw(st.integers(1, 8) if name == "dwt" else st.integers(3, 6))
    return settings_of(
        name,
        wavelet=draw(st.sampled_from(wavelets)),
        wavelet_level=levels,
        tile_size=draw(st.integers(max(levels + 1, 8), 100)) if name == "dwt" else 2**levels,
        hop_length=draw(st.integers(1, 700)),
    )


def silence_around(made):
    """Samples that every band's filter, its triangle and a frame fit in."""
    step = 2**made.wavelet_level
    return (pywt.Wavelet(made.wavelet).dec_len + 2) * step + 2 * made.hop_length


class TestEnergy:
    @settings(max_examples=25)
    @given(made=wavelet_settings(ORTHOGONAL), samples=st.integers(1, 3000))
    def test_nothing_is_lost_or_counted_twice(self, made, samples):
        """Half the power times the hop is energy; float32 keeps some seven digits of it."""
        signal = np.pad(noise(samples), silence_around(made))
        power = power_of(build_frontend(made), signal)
        energy = power.sum(dtype=np.float64) * made.hop_length / 2
        assert energy == pytest.approx((signal.astype(np.float64) ** 2).sum(), rel=1e-5)

    @settings(max_examples=25)
    @given(made=wavelet_settings(ORTHOGONAL), place=st.integers(0, 3000))
    def test_an_impulse_is_where_it_was(self, made, place):
        """By its centroid, within half a frame and half a step of the widest band.

        The first is what frames can tell; the second, which of a band's samples it was.
        """
        silence = silence_around(made)
        signal = impulses(place + 2 * silence, place + silence)
        heard = power_of(build_frontend(made), signal).sum(axis=0, dtype=np.float64)
        centroid = heard @ np.arange(len(heard)) / heard.sum() * made.hop_length
        step = 2**made.wavelet_level
        assert abs(centroid - place - silence) <= (made.hop_length + step) / 2

    @settings(max_examples=25)
    @given(
        made=wavelet_settings(["db1", "db4", "sym4", "sym8", "coif5"]).filter(
            lambda made: made.hop_length >= 2**made.wavelet_level
        ),
        later=st.integers(0, 9),
    )
    def test_an_impulse_at_a_frames_centre_is_in_that_frame(self, made, later):
        """Of hops that are not shorter than the widest band's step.

        With many packets and short frames, or with a long lopsided wavelet, the loudest frame
        may be some frames off: no sharper than the band is.
        """
        silence = silence_around(made)
        frame = -(-silence // made.hop_length) + later
        signal = impulses(frame * made.hop_length + silence, frame * made.hop_length)
        assert power_of(build_frontend(made), signal).sum(axis=0).argmax() == frame
