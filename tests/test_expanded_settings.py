"""Settings of time expansion and full scale: what they may be, and what stays as it was at 1."""

import pytest

from ulmo.config import PrepSettings, UserError


@pytest.mark.parametrize(
    ("rate", "expansion"),
    [(16000, 0.03331), (4000, 0.0011), (100, 0.001), (96_000, 100), (441, 0.1)],
)
def test_the_true_rate_is_a_whole_number(rate, expansion):
    words = f"sample_rate {rate} x time_expansion {expansion:g} must be a whole number"
    with pytest.raises(UserError, match=words):
        PrepSettings.read({"sample_rate": rate, "time_expansion": expansion})


@pytest.mark.parametrize(
    ("rate", "expansion", "true"), [(16000, 10, 160_000), (48000, 1 / 3, 16000), (16000, 0.1, 1600)]
)
def test_expanded_settings(rate, expansion, true):
    plain = PrepSettings(sample_rate=rate)
    settings = plain.with_sound(expansion, None)
    assert (settings.true_rate, settings.frame_s) == (true, 160 / true)
    assert settings.with_sound(1, None) == plain == plain.with_sound(None, None)
    assert plain.with_sound(None, 1e6).full_scale == 1e6
    with pytest.raises(UserError, match="time_expansion"):
        plain.with_sound(0, None)


def test_settings_of_the_recording_are_in_json_only_if_they_are_not_1():
    plain = PrepSettings().model_dump_json()
    assert "time_expansion" not in plain
    assert "full_scale" not in plain
    changed = PrepSettings(time_expansion=10, full_scale=1e6)
    text = changed.model_dump_json()
    assert text[1:-1].replace(plain[1:-1], "") == '"time_expansion":10.0,"full_scale":1000000.0,'
    assert PrepSettings.model_validate_json(text, strict=True) == changed
