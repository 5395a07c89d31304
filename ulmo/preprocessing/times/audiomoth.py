"""Recordings of an AudioMoth that a trigger made: where sound was left out.

With an amplitude threshold or a frequency trigger, AudioMoth writes only buffers with sound. A
block of 512 bytes stands for those left out: 32 samples of 1 or -1 are the bits of a number, the
lowest first, and 224 samples are 0. The number counts blocks of 256 samples (main.c of
AudioMoth-Firmware-Basic, encodeCompressionBuffer; expander.js of AudioMoth-Utils).
"""

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ulmo.arrays import Array
from ulmo.preprocessing.reading.audio import RefusedError, open_recording
from ulmo.preprocessing.reading.refusal import CHANGED, MAY_PASS
from ulmo.preprocessing.reading.riff import layout_of
from ulmo.preprocessing.times.metadata import Metadata
from ulmo.preprocessing.times.timing import Span, Timing
from ulmo.storage.plain_file import open_file, signature_of

_BLOCK = 256  # samples of a marker, and of each block that it counts
_BITS = 32
_MAX_FRAMES = 1 << 31  # the firmware limits a recording, with what is left out, to 4 GiB
_MAX_MARKERS = 1 << 18  # twice as many as a file of 4 GiB has, with buffers of 32 KiB between them
_PROBES = (0, 11, 31), (32, 33, 96, 160, 255)  # samples of a marker that are 1 or -1, and 0
_NAME = re.compile(r"\d{8}_\d{6}T(?:\.[^.]*)?\Z", re.ASCII)
_TRIGGERS = ("threshold ", "trigger ")  # words of a comment, behind AudioMoth


class _Marker(NamedTuple):
    frame: int  # of the marker, in the file
    blocks: int  # left out


def is_triggered(path: Path, header: Metadata) -> bool:
    """Whether a trigger made the recording, by its comment or its name (20230101_120000T.WAV)."""
    words = [comment.partition("AudioMoth")[2] for comment in header.comments]
    named = _NAME.search(path.name) is not None
    return named or any(trigger in text for text in words for trigger in _TRIGGERS)


def triggered_timing(path: Path, header: Metadata) -> Timing | None:
    """The time of a triggered recording, which is read once; None if it is refused for good.

    Markers belong to no span, and one that nothing triggered has none. Without markers, nothing was
    left out. They are only found if the samples are those that the recorder wrote: of one channel,
    in a file that keeps them. Raises RefusedError, or OSError, if it cannot be read now, or is not
    the file of the header.
    """
    try:
        with open_recording(path) as recording:
            if recording.signature != header.signature:
                raise RefusedError("changed", CHANGED)
            if recording.channels != 1 or not header.is_exact:
                note = "a trigger made it, and a conversion hides what was left out"
                return Timing(None, linear=False, note=note)
            markers = list(islice(_markers(recording.blocks()), _MAX_MARKERS))
            frames, rate = recording.frames_read, recording.sample_rate
    except RefusedError as refusal:
        if refusal.reason in MAY_PASS:
            raise
        return Timing(None, ()) if refusal.reason == "no_samples" and _is_empty(path) else None
    total = frames + _BLOCK * sum(marker.blocks for marker in markers)
    if total > _MAX_FRAMES or len(markers) == _MAX_MARKERS:
        note = "the samples that were left out are more than a recording can have"
        return Timing(None, linear=False, note=note)
    return Timing(None, tuple(_spans(markers, frames, rate)) if markers else Timing(None).spans)


def _is_empty(path: Path) -> bool:
    """Whether a recording without sound is whole."""
    with open_file(path) as file:
        layout = layout_of(file, signature_of(file).size)
    return layout is not None and not (
        layout.declared_bytes or (layout.physical_bytes and not layout.chunk_follows)
    )


def _spans(markers: list[_Marker], frames: int, rate: int) -> Iterator[Span]:
    begin = late = 0  # frames: of the next span in the file, and left out before it
    for marker in (*markers, _Marker(frames, 0)):
        if marker.frame > begin:
            yield Span(begin, marker.frame - begin, Fraction(begin + late, rate))
        begin = marker.frame + _BLOCK
        late += _BLOCK * (marker.blocks - 1)


def _markers(blocks: Iterable[Array]) -> Iterator[_Marker]:
    """Markers in blocks (n, 1) of samples, full scale 1 and 16 bits."""
    tail = np.empty(0, np.float32)
    first = 0  # frame of the first sample of `samples`
    for block in blocks:
        samples = np.concatenate([tail, block[:, 0] * 32768])
        for place in _find(samples):
            yield _Marker(first + place, _count(samples[place : place + _BITS]))
        keep = min(_BLOCK - 1, len(samples))
        tail = samples[len(samples) - keep :]
        first += len(samples) - keep


def _find(samples: Array) -> list[int]:
    """Where markers begin: first by a few samples, then by all."""
    starts = len(samples) - _BLOCK + 1
    if starts <= 0:
        return []
    likely = np.abs(samples[:starts]) == 1
    for group, value in zip(_PROBES, (1, 0), strict=True):
        for probe in group:
            likely &= np.abs(samples[probe : probe + starts]) == value
    found = []
    for place in np.flatnonzero(likely):
        bits, rest = np.split(samples[place : place + _BLOCK], [_BITS])
        if (np.abs(bits) == 1).all() and not rest.any() and (bits == 1).any():
            found.append(int(place))
    return found


def _count(bits: Array) -> int:
    return sum(1 << int(bit) for bit in np.flatnonzero(bits == 1))
