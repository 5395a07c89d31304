"""Recordings of every kind, and reads of them that fail."""

import errno
import os
from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.gaps import marker, soundtrap_log
from tests.oracles import chunk, wav_bytes
from tests.preprocessing.reading.sounds import KINDS, MONO, written
from tests.preprocessing.times.test_timing import NOON, RATE, TestHarp
from ulmo.storage import plain_file

LOG = ".log.xml"
FRAMES = 80_000


def wav(samples, **options):
    return wav_bytes(samples.tobytes(), sample_rate=RATE, bits=16, **options)


def noise(frames):
    return np.random.default_rng(3).integers(-9000, 9000, frames).astype("<i2")


def timed_recordings(frames):
    """Files by name: recordings that say in each way when they were made; none overlap."""
    pcm, half = noise(frames), frames // 2
    later = [NOON + timedelta(hours=2), NOON + timedelta(hours=2, seconds=30)]
    guano = chunk(b"guan", b"GUANO|Version: 1.0\nTimestamp: 2023-01-01T13:00:00Z\n")
    gap = ("Info", f"Sampling Gap 60000000 us at sample {half} (5 s)")
    facts = ("SamplingStartTimeUTC", "2023-01-01T15:00:00"), gap
    return {
        "20230101_120000.wav": wav(pcm),
        "20230101_115900.wav": wav(pcm, after=guano),
        "harp.x.wav": TestHarp().xwav([(time, half) for time in later], data=pcm.tobytes()),
        "20230101_160000T.WAV": wav(np.concatenate([pcm[:half], marker(9000), pcm[half:]])),
        "5678.230101140000.wav": wav(pcm),
        f"5678.230101140000{LOG}": soundtrap_log(*facts, ("CumulativeSamplingGap", "60000000 us")),
    }


def recordings():
    """The same, and recordings of every kind that is read: a header, a file and a part of each."""
    kinds = {
        kind.replace(",", "").replace(" ", "-"): written(kind, FRAMES, RATE, 1 + (kind not in MONO))
        for kind in KINDS
    }
    tag = b"ID3\4\0\0\0\0\7\x68" + bytes(1000)
    plain = wav(noise(FRAMES))
    return timed_recordings(FRAMES) | {
        **kinds,
        "tag-flac": tag + kinds["flac"],
        "tag-aiff": tag + kinds["aiff"],
        "two-wav": plain + plain,
        "wav-and-flac": plain + written("flac", FRAMES, RATE),
        "crashed-wav": wav(noise(FRAMES), data_size=0),
    }


class Reads:
    """Opens and reads of files in a folder; the one with number `at`, from 1, fails."""

    def __init__(self, folder: Path, at: int, error: int) -> None:
        self.count = 0
        self._folder, self._at, self._error = folder, at, error
        self._inside: set[int] = set()

    def one(self) -> None:
        self.count += 1
        if self.count == self._at:
            raise OSError(self._error, os.strerror(self._error))

    def open(self, opened: Callable[..., int], path: Path, flags: int) -> int:
        if path.parent != self._folder or not path.exists():
            return opened(path, flags)
        self.one()
        descriptor = opened(path, flags)
        self._inside.add(descriptor)
        return descriptor

    def read(self, read: Callable[..., bytes], file: plain_file._Unbuffered, size: int) -> bytes:
        if file.fileno() in self._inside:
            self.one()
        return read(file, size)


@contextmanager
def failing_read(folder, at=0, error=errno.EIO):
    """One open or read of a file in a folder fails within the block: once, with an error."""
    reads = Reads(folder, at, error)
    opened, read = plain_file._descriptor, plain_file._Unbuffered._read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_file, "_descriptor", lambda *call: reads.open(opened, *call))
        patch.setattr(plain_file._Unbuffered, "_read", lambda *call: reads.read(read, *call))
        yield reads


@contextmanager
def bad_sector(first, size=512):
    """Within the block, reads of recordings give less before a place, and fail at it."""
    read = plain_file._Unbuffered._read

    def damaged(file, wanted):
        place = file.tell()
        if place < first:
            return read(file, min(wanted, first - place) if wanted >= 0 else first - place)
        if place < first + size and wanted:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(file, wanted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_file._Unbuffered, "_read", damaged)
        yield


@contextmanager
def failing_open(folder, at=0, error=errno.EIO, *, lasting=False):
    """One open of a file at any depth below a folder fails within the block; a list of all.

    If it is `lasting`, so does each later one of the same file.
    """
    opened, paths = plain_file._descriptor, []

    def open_or_fail(path, flags):
        if Path(path).absolute().is_relative_to(folder) and Path(path).exists():
            paths.append(path)
            if len(paths) == at or (lasting and 0 < at < len(paths) and paths[at - 1] == path):
                raise OSError(error, os.strerror(error), str(path))
        return opened(path, flags)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_file, "_descriptor", open_or_fail)
        yield paths
