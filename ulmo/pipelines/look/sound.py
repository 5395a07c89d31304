"""The sound of a page: samples of a part of a recording, and Ogg Opus that a browser plays.

recording -> samples (n,) in true time -> resampled, amplified -> Ogg Opus, the same bytes each time
"""

import io
import math
import struct
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile

from ulmo.arrays import Array
from ulmo.config import ClockSettings
from ulmo.preprocessing.reading.audio import open_recording, resample
from ulmo.preprocessing.reading.quality import CLIPPED_RUN, NEAR_FULL_SCALE
from ulmo.preprocessing.stretches import clip_spans, read_stretches
from ulmo.preprocessing.times.clock import Clock

_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)  # all that Opus takes, in hertz
_OPUS_TOP_HZ = 20_000  # what Opus keeps of the highest rate
_LEVEL = 0.83  # of libsndfile: 48 kbit/s for one channel, of 6 to 256
_PEAK = 0.89  # of full scale: 1 dB below it, as Opus may overshoot
_MOST_GAIN_DB = 60
_SERIAL = 1  # of the Ogg stream; libsndfile takes the time
_CHECKSUM, _SEGMENTS, _PAGE_HEADER = 22, 26, 27  # places in an Ogg page


class Samples(NamedTuple):
    """A part of one channel in true time; where time was left out, there are zeros."""

    values: Array  # (n,)
    rate: int  # hertz
    start_s: float  # of the first sample, from the recording's first sample

    @property
    def seconds(self) -> float:
        """Their length."""
        return len(self.values) / self.rate

    def clipped(self) -> tuple[int, int]:
        """How many samples are in runs of equal ones near full scale, and the longest such run."""
        near = np.abs(self.values) >= NEAR_FULL_SCALE
        begins = np.flatnonzero(np.diff(self.values, prepend=np.nan) != 0)
        lengths = np.diff(begins, append=len(self.values))
        runs = lengths[near[begins] & (lengths >= CLIPPED_RUN)]
        return int(runs.sum()), int(runs.max(initial=0))


class Sound(NamedTuple):
    """What a browser plays."""

    ogg: bytes
    slowed: int  # the file plays this many times as slowly as the sound was
    rate: int  # of the file, in hertz
    gain_db: int  # by which it is louder than the recording
    top_hz: float  # the highest true frequency that is kept


def slowed_by(rate: int) -> int:
    """How many times as slowly a page keeps a sound, so that Opus keeps all its frequencies.

    >>> slowed_by(44_100), slowed_by(96_000), slowed_by(384_000)
    (1, 3, 10)
    """
    return 1 if rate <= _OPUS_RATES[-1] else math.ceil(rate / (2 * _OPUS_TOP_HZ))


def read_samples(
    path: Path,
    channel: int | None,
    clock: ClockSettings,
    full_scale: float,
    start_s: float,
    seconds: float,
) -> Samples:
    """Samples of a part of a recording, at its own rate. RefusedError if it cannot be read."""
    spans = Clock.of(clock).timing(path).spans
    with open_recording(path, full_scale=full_scale) as recording:
        rate = recording.sample_rate
        shown = clip_spans(spans, rate, start_s, seconds)
        begin = round(start_s * rate)
        values = np.zeros(round(seconds * rate), np.float32)
        end = 0
        if shown:
            first, last = shown[0].frame, shown[-1]
            frames = None if last.frames is None else last.frame + last.frames - first
            hop = Fraction(1, rate)  # each gap begins a stretch
            for stretch in read_stretches(
                *(recording, channel, rate, shown), hop=hop, first=first, frames=frames
            ):
                place = round(stretch.start * rate) - begin
                for block in stretch.blocks:
                    held = block[: max(len(values) - place, 0)]
                    values[place : place + len(held)] = held
                    place += len(held)
                    end = max(end, min(place, len(values)))
    return Samples(values[:end], rate, begin / rate)


def as_opus(samples: Samples) -> Sound:
    """Ogg Opus of one channel, as loud as it can be without clipping."""
    slowed = slowed_by(samples.rate)
    rate = next((each for each in _OPUS_RATES if each * slowed >= samples.rate), _OPUS_RATES[-1])
    blocks = list(resample([samples.values], samples.rate, rate * slowed))
    values = np.concatenate([np.empty(0, np.float32), *blocks])
    peak = float(np.abs(values).max(initial=0.0))
    gain_db = min(math.floor(20 * math.log10(_PEAK / peak)), _MOST_GAIN_DB) if peak else 0
    file = io.BytesIO()
    _write_opus(file, values * np.float32(10 ** (gain_db / 20)), rate)
    top = min(samples.rate / 2, _OPUS_TOP_HZ * slowed if rate == _OPUS_RATES[-1] else math.inf)
    return Sound(_with_serial(file.getvalue()), slowed, rate, gain_db, top)


def _write_opus(file: BinaryIO, values: Array, rate: int) -> None:
    soundfile.write(file, values, rate, "OPUS", format="OGG", compression_level=_LEVEL)


def _with_serial(ogg: bytes) -> bytes:
    """The same Ogg stream with a fixed serial number, and the checksums that fit it (RFC 3533)."""
    begins, place = [], 0
    while place < len(ogg):
        begins.append(place)
        segments = ogg[place + _SEGMENTS]
        body = place + _PAGE_HEADER + segments
        place = body + sum(ogg[place + _PAGE_HEADER : body])
    content = bytearray(ogg)
    for begin in begins:
        struct.pack_into("<I", content, begin + 14, _SERIAL)
        struct.pack_into("<I", content, begin + _CHECKSUM, 0)
    ends = [*begins[1:], len(ogg)]
    longest = max(end - begin for begin, end in zip(begins, ends, strict=True))
    # All pages at once. Zeros before a page do not change its checksum, which starts at 0.
    pages = np.zeros((longest, len(begins)), np.uint8)
    for number, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        pages[longest - (end - begin) :, number] = np.frombuffer(content[begin:end], np.uint8)
    checksums = np.zeros(len(begins), np.uint32)
    for row in pages:
        checksums = (checksums << np.uint32(8)) ^ _TABLE[(checksums >> np.uint32(24)) ^ row]
    for begin, checksum in zip(begins, checksums.tolist(), strict=True):
        struct.pack_into("<I", content, begin + _CHECKSUM, checksum)
    return bytes(content)


def _checksum_table() -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """The CRC-32 of each byte, of the polynomial of Ogg: 0x04C11DB7, highest bit first."""
    table = np.arange(256, dtype=np.uint32) << np.uint32(24)
    for _ in range(8):
        carry = (table >> np.uint32(31)) * np.uint32(0x04C11DB7)
        table = (table << np.uint32(1)) ^ carry
    return table


_TABLE = _checksum_table()
