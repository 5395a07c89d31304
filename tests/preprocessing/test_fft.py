import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmo.preprocessing.frontends.fft import fast_length, power_spectra, rfft

# float32, as numpy computes it in float64: 1e-6 of the largest is some eight roundings.
PRECISION = 1e-6
LENGTHS = st.one_of(st.integers(2, 600), st.sampled_from([1024, 2048, 2018, 10007]))


def noise(*shape):
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


@given(frames=st.integers(1, 9), length=LENGTHS)
def test_power_spectra(frames, length):
    samples = noise(frames, length)
    expected = np.abs(np.fft.rfft(samples.astype(np.float64))).T ** 2
    found = power_spectra(samples.copy())
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=2 * PRECISION * expected.max())


@given(length=LENGTHS)
def test_rfft(length):
    expected = np.fft.rfft(noise(length).astype(np.float64))
    found = rfft(noise(length))
    assert found.dtype == np.complex64
    np.testing.assert_allclose(found, expected, rtol=0, atol=PRECISION * np.abs(expected).max())


@pytest.mark.parametrize("length", [448, 1000, 2048])
def test_a_row_has_the_same_bits_anywhere(length):
    """In whatever company, and at whatever address: IPP has another code for aligned data."""
    frames = noise(17, length)
    together = power_spectra(frames.copy())
    for row in range(len(frames)):
        for offset in range(8):
            room = np.empty(length + 8, np.float32)[offset : offset + length][None]
            room[:] = frames[row]
            np.testing.assert_array_equal(power_spectra(room)[:, 0], together[:, row])


@given(least=st.integers(1, 10**6))
def test_fast_length(least):
    length = rest = fast_length(least)
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    assert rest == 1
    assert least <= length < max(2 * least, 2)
