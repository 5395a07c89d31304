"""Sound, spectrogram and colours of a page, each against something that is known."""

import io

import cv2
import numpy as np
import pytest
import soundfile

from ulmo.pictures.colours import code_colours
from ulmo.pipelines.look.sound import Samples, as_opus, slowed_by
from ulmo.pipelines.look.spectrogram import ROWS, draw_spectrogram
from ulmo.pipelines.look.surprise import find_peaks


def tone(hertz, rate, seconds, level=0.1):
    return level * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def samples(values, rate):
    return Samples(np.asarray(values, np.float32), rate, 0.0)


def loudest_hertz(values, rate):
    spectrum = np.abs(np.fft.rfft(values * np.hanning(len(values))))
    return np.argmax(spectrum) * rate / len(values)


def pixels(drawn):
    parts = [cv2.imdecode(np.frombuffer(each, np.uint8), 0) for each in drawn.pictures]
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("rate", [1000, 8000, 11_025, 44_100, 48_000])
def test_sound_is_played_as_it_was(rate):
    sound = as_opus(samples(tone(rate / 5, rate, 2), rate))
    values, kept = soundfile.read(io.BytesIO(sound.ogg))
    assert (sound.slowed, kept) == (1, sound.rate)
    assert len(values) / kept == pytest.approx(2, abs=0.01)
    assert loudest_hertz(values, kept) == pytest.approx(rate / 5, rel=0.01)
    assert 18 <= sound.gain_db <= 19  # from 0.1 to 0.89
    level = 20 * np.log10(values[kept // 2 : -kept // 2].std() / (0.1 / np.sqrt(2)))
    assert level == pytest.approx(sound.gain_db, abs=0.5)


def test_ultrasound_is_kept_slowed_down():
    rate = 384_000
    sound = as_opus(samples(tone(150_000, rate, 0.5), rate))
    values, kept = soundfile.read(io.BytesIO(sound.ogg))
    assert sound.slowed == slowed_by(rate) == 10
    assert len(values) / kept == pytest.approx(5, abs=0.01)
    assert loudest_hertz(values, kept) == pytest.approx(15_000, rel=0.01)
    assert sound.top_hz == 192_000


def test_silence_has_no_gain():
    assert as_opus(samples(np.zeros(8000), 8000)).gain_db == 0


def test_samples_that_stay_at_full_scale_are_clipped():
    values = tone(100, 8000, 1, level=0.9)
    assert samples(values, 8000).clipped() == (0, 0)
    values[[10, 11, 12]], values[[500, 501]] = 1.0, -1.0  # two in a row may be natural
    values[900:905] = -0.995
    assert samples(values, 8000).clipped() == (8, 5)
    assert samples(np.zeros(0), 8000).clipped() == (0, 0)


def slow_checksum(page):
    """CRC-32 of Ogg, bit by bit, after RFC 3533."""
    value = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value >> 31 else value << 1) & 0xFFFFFFFF
    return value


def test_each_page_of_ogg_has_its_checksum_and_one_serial():
    noise = np.random.default_rng(0).normal(0, 0.1, 24_000)
    content, place, pages = as_opus(samples(noise, 8000)).ogg, 0, 0
    while place < len(content):
        segments = content[place + 26]
        body = sum(content[place + 27 : place + 27 + segments])
        page = content[place : place + 27 + segments + body]
        assert page[:4] == b"OggS"
        assert int.from_bytes(page[14:18], "little") == 1
        assert int.from_bytes(page[22:26], "little") == slow_checksum(page)
        place, pages = place + len(page), pages + 1
    assert pages >= 4


@pytest.mark.parametrize("rate", [2000, 16_000, 48_000, 312_500])
def test_a_tone_lies_at_its_frequency_and_level(rate):
    drawn = draw_spectrogram(samples(tone(rate / 8, rate, 1, level=0.1), rate))
    grey = pixels(drawn)
    assert grey.shape == (ROWS, drawn.columns)
    middle = grey[::-1, drawn.columns // 2].astype(float)
    assert np.argmax(middle) * drawn.top_hz / ROWS == pytest.approx(rate / 8, rel=0.02)
    level = drawn.low_db + middle.max() / 255 * (drawn.high_db - drawn.low_db)
    assert level == pytest.approx(-20, abs=5)  # two rows may share the tone; WebP costs a little
    assert drawn.columns * drawn.column_s == pytest.approx(1, abs=0.02)


def test_the_levels_shown_at_first_are_those_of_the_band_with_sound():
    noise = np.random.default_rng(0).normal(0, 0.01, 4 * 16_000)
    whole = draw_spectrogram(samples(noise, 16_000))
    spectrum = np.fft.rfft(np.repeat(noise, 3))  # at 48 kHz, and nothing above 4 kHz
    spectrum[np.fft.rfftfreq(3 * len(noise), 1 / 48_000) > 4000] = 0
    cut = np.fft.irfft(spectrum)
    cut = np.rint(cut * 32768) / 32768  # noise of 16 bits is there above
    cut[48_000:96_000] = 0  # and time was left out
    drawn = draw_spectrogram(samples(cut, 48_000))
    assert drawn.floor_db == pytest.approx(whole.floor_db, abs=8)
    assert draw_spectrogram(samples(np.zeros(16_000), 16_000)).floor_db <= -100


def test_a_click_lies_at_its_time():
    values = np.zeros(32_000)
    values[24_000] = 0.9
    drawn = draw_spectrogram(samples(values, 16_000))
    column = np.argmax(pixels(drawn).astype(float).sum(axis=0))
    assert column * drawn.column_s == pytest.approx(1.5, abs=0.02)


def test_a_minute_of_noise_stays_below_its_size():
    noise = samples(np.random.default_rng(0).normal(0, 0.1, 60 * 48_000), 48_000)
    sound, drawn = as_opus(noise), draw_spectrogram(noise)
    letters = 4 / 3 * (len(sound.ogg) + sum(map(len, drawn.pictures)))
    assert letters < 1_000_000  # 200,000 are left for the script, tokens and codes
    assert len(drawn.pictures) == 2


def test_like_codes_have_like_colours_and_unlike_ones_differ_in_lightness():
    rng = np.random.default_rng(0)
    codebook = rng.normal(0, 1, (200, 16)) * np.geomspace(8, 0.1, 16)
    colours = code_colours(codebook).astype(float)
    assert colours.shape == (200, 3)
    lightness = colours @ [0.3, 0.59, 0.11]  # what all people see
    first = codebook @ np.linalg.svd(codebook - codebook.mean(axis=0))[2][0]
    assert abs(np.corrcoef(np.argsort(np.argsort(first)), lightness)[0, 1]) > 0.9
    near = np.linalg.norm(codebook[:, None] - codebook, axis=2)
    np.fill_diagonal(near, np.inf)
    like = np.linalg.norm(colours - colours[near.argmin(axis=1)], axis=1)
    assert np.median(like) < 0.5 * np.median(np.linalg.norm(colours - colours[::-1], axis=1))


def test_colours_of_odd_codebooks():
    assert code_colours(np.zeros((1, 4), np.float32)).shape == (1, 3)
    assert code_colours(np.ones((3, 1), np.float32)).shape == (3, 3)
    assert len(np.unique(code_colours(np.arange(4.0)[:, None]), axis=0)) == 4


def test_peaks_are_the_highest_of_their_second():
    above = np.full(1000, np.nan)
    above[64:] = np.random.default_rng(0).normal(0, 2, 936).clip(-6, 6)
    above[[100, 112, 113, 500]] = 20, 30, 29, 8.5
    above[30] = np.nan
    assert find_peaks(above).tolist() == [112, 500]
    above[100:1000:40] = 40 + np.arange(23)
    assert find_peaks(above).tolist() == list(range(620, 1000, 40))  # the ten highest
    assert find_peaks(np.full(50, np.nan)).tolist() == find_peaks(np.empty(0)).tolist() == []
