"""Recordings in which time was left out, made by code."""

from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise

import numpy as np
import soundfile
from hypothesis import strategies as st

from ulmo.preprocessing.times.clock import Clock, Span, Start, Timing

BLOCK = 256
"""Samples of an AudioMoth's marker, and of each block of samples that it counts."""
NOON = Start(datetime(2023, 5, 1, 12, tzinfo=UTC), "name")
SOUNDTRAP_CONFIG = (
    '<CFG ID="2" FTYPE="wav"><FS> 576000 </FS><SUFFIX> dwv </SUFFIX></CFG>'
    '<CFG ID="3" FTYPE="wav"><FS> 48000 </FS><SUFFIX> wav </SUFFIX></CFG>'
)


def soundtrap_log(*facts, number=3, before="", config=SOUNDTRAP_CONFIG):
    """A log as the host of a SoundTrap writes it: an event with one attribute each."""
    event = '<PROC_EVENT ID="{}"><WavFileHandler {}="{}" /></PROC_EVENT>'
    events = "".join(event.format(number, *fact) for fact in facts)
    return f'<?xml version="1.0" encoding="UTF-8" ?>{before}<ST>{config}{events}</ST>'.encode()


def marker(blocks):
    """The samples that stand for so many blocks left out."""
    bits = [1 if blocks >> bit & 1 else -1 for bit in range(32)]
    return np.array([*bits, *(BLOCK - 32) * [0]], np.int16)


def write_triggered(path, *parts, rate):
    """A triggered recording of an AudioMoth; parts are samples, or numbers of blocks left out.

    Returns each part with samples as it is read, and its true first sample.
    """
    content, sound, place = [np.empty(0, np.int16)], [], 0
    for part in parts:
        if isinstance(part, int):
            content.append(marker(part))
            place += BLOCK * part
        else:
            content.append((part * 32767).astype(np.int16))
            sound.append((content[-1].astype(np.float32) / 32768, place))
            place += len(part)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate(content), rate, subtype="PCM_16")
    return sound


@st.composite
def timelines(draw, rate):
    """Spans of a recording: of any length, between them gaps of any length and frames of none."""
    spans, frame, offset = [], draw(st.sampled_from([0, 0, BLOCK])), Fraction(0)
    if draw(st.booleans()):
        offset = Fraction(draw(st.integers(0, 3000)), 1000)
    for _ in range(draw(st.integers(1, 12))):
        frames = draw(st.integers(1, 500) | st.integers(1, 20))
        spans.append(Span(frame, frames, offset))
        frame += frames + draw(st.sampled_from([0, 0, 1, BLOCK]))
        gap = draw(st.integers(0, 200) | st.integers(0, 5000) | st.just(0))
        offset += Fraction(frames, rate) + Fraction(gap, 1000 + draw(st.integers(0, 1)))
    if draw(st.booleans()):
        spans[-1] = spans[-1]._replace(frames=None)
    return tuple(spans)


def set_timing(patch, spans, *, start=NOON, linear=True):
    """Every recording has this time from now on."""
    patch.setattr(Clock, "timing", lambda *_: Timing(start, spans, linear))


def follow_each_other(ranges):
    """Whether ranges (first, end) do not overlap."""
    return all(end <= first for (_, end), (first, _) in pairwise(ranges))
