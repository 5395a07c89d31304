"""The header of a page in plain words: what was recorded, and what of it is heard and played."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ulmo.formats.header import utc_text
from ulmo.listening.listen import Heard
from ulmo.pipelines.look.sound import Samples, Sound
from ulmo.preprocessing.hearing import MUCH_ABOVE, hear_more
from ulmo.preprocessing.reading.quality import FLAGS

_MINUTE = 60
ROUNDING_S = 0.01  # lengths at two rates differ by some samples
_UNKNOWN_BEGIN = [("It is not known when the recording began.", False)]
_SAID = "above_bandwidth"  # a flag that the line about hearing says already


def header_lines(
    facts: Mapping[str, Any],
    heard: Heard,
    samples: Samples,
    sound: Sound,
    notes: Sequence[str],
    time_expansion: float,
) -> list[dict[str, Any]]:
    """Sentences, each with `warn`: whether a reader should know it before anything else.

    time_expansion: with which the recording was heard.
    """
    clipped = list(_clipped(samples))
    said = {_SAID, *(["clipped"] if clipped else [])}
    lines = [
        *_recorded(facts, heard, samples),
        *_hearing(facts, heard, time_expansion),
        *_playing(samples, sound),
        *clipped,
        *(("Unusual: " + FLAGS[flag] + ".", True) for flag in facts["flags"] if flag not in said),
        *((note, False) for note in notes),
        *(_UNKNOWN_BEGIN if heard.start_utc is None else []),
    ]
    return [{"text": text, "warn": warn} for text, warn in lines]


def _recorded(
    facts: Mapping[str, Any], heard: Heard, samples: Samples
) -> Iterator[tuple[str, bool]]:
    channels = facts["channels"]
    which = "one channel"
    if channels > 1:
        which = f"the mean of {channels} channels"
        if heard.channel is not None:
            which = f"channel {heard.channel + 1} of {channels}"
    length = max((part.start_s + part.seconds for part in heard.parts), default=0.0)
    yield f"{lasting(length)}, recorded at {kilohertz(samples.rate)}; {which}.", False
    if samples.seconds < length - ROUNDING_S:
        begin, end = samples.start_s, samples.start_s + samples.seconds
        yield f"This page shows it from {begin:.2f} s to {end:.2f} s.", False
    if heard.start_utc is not None:
        began = utc_text(heard.start_utc).replace("T", " ").partition(".")[0]
        yield f"The recording began at {began} UTC.", False
    if len(heard.parts) > 1:
        yield f"Time was left out in it: it has {len(heard.parts)} parts.", True
    if facts["status"] != "ok":
        yield f"Not all is as it should be: {facts['detail']}.", True


def _hearing(
    facts: Mapping[str, Any], heard: Heard, time_expansion: float
) -> Iterator[tuple[str, bool]]:
    share, top = facts["share_above"], facts["bandwidth_hz"]
    if share is None:
        yield "The recording is silent.", True
        return
    text = f"The tokenizer, which turns sound into tokens, hears up to {kilohertz(top)}."
    if share > 0:
        text += f" {_percent(share)} of the power lies above, where there are no tokens."
    if share > MUCH_ABOVE:
        slowed = "time_expanded" in facts["flags"]
        more = hear_more(facts["sample_rate"], top, time_expansion, slowed=slowed)
        text += f" For tokens of more of it, {more}."
    yield text, share > MUCH_ABOVE
    yield (
        f"A token tells what {milliseconds(heard.column_s)} of sound are like in one band of "
        "frequencies, by a number: its code. Similar sounds have the same code.",
        False,
    )


def _clipped(samples: Samples) -> Iterator[tuple[str, bool]]:
    count, longest = samples.clipped()
    if count:
        yield (
            f"{count} samples are clipped: they stay at full scale, up to {longest} in a row. "
            "The sound was too loud for the recorder.",
            True,
        )


def _playing(samples: Samples, sound: Sound) -> Iterator[tuple[str, bool]]:
    if sound.slowed > 1:
        yield (
            f"The sound reaches to {kilohertz(samples.rate / 2)}, and people hear up to 20 kHz: "
            "choose the speed 1/10 or 1/20 to hear all of it, slower and lower.",
            False,
        )
    if sound.top_hz < samples.rate / 2:
        yield f"You hear it up to {kilohertz(sound.top_hz)}; the picture shows all of it.", False
    if sound.gain_db:
        word = "louder" if sound.gain_db > 0 else "softer"
        yield f"It is played {abs(sound.gain_db)} dB {word} than it was recorded.", False


def lasting(seconds: float) -> str:
    """A length for people.

    >>> lasting(4.25), lasting(61)
    ('4.25 s', '1 min 1 s')
    """
    if seconds < _MINUTE:
        return f"{seconds:.3g} s"
    minutes, left = divmod(round(seconds), _MINUTE)
    return f"{minutes} min {left} s"


def milliseconds(seconds: float) -> str:
    """A short time for people.

    >>> milliseconds(0.04)
    '40 ms'
    """
    return f"{1000 * seconds:.3g} ms"


def kilohertz(hertz: float) -> str:
    """A frequency for people.

    >>> kilohertz(44_100), kilohertz(800)
    ('44.1 kHz', '800 Hz')
    """
    return f"{hertz / 1000:.4g} kHz" if hertz >= 1000 else f"{hertz:.4g} Hz"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "Less than 1 %"
