"""Open a recording: check its header first, and hand libsndfile only what it supports.

A WAV file of fixed-width samples is read without its header if libsndfile would not read all of
it. libsndfile reads every other file itself.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import soundfile

from ulmo.preprocessing.containers import SUBTYPES
from ulmo.preprocessing.plan import ReadPlan, check_shape
from ulmo.preprocessing.refusal import RefusedError
from ulmo.preprocessing.riff import WavLayout
from ulmo.storage.plain_file import open_file, signature_of

UNKNOWN_FRAMES = 1 << 53  # libsndfile reports more frames if the header gives none (piped FLAC)
SYSTEM_ERROR = 2  # libsndfile's code for an error of the operating system


class OpenSound(NamedTuple):
    """A file, and a decoder at its first frame."""

    file: BinaryIO
    sound: soundfile.SoundFile


@contextmanager
def refusing() -> Iterator[None]:
    """Turn the errors of opening a file into RefusedError."""
    try:
        yield
    except soundfile.LibsndfileError as error:
        reason = "unreadable" if error.code == SYSTEM_ERROR else "bad_header"
        raise RefusedError(reason, str(error.error_string)) from None
    except OSError as error:
        raise RefusedError("unreadable", error.strerror or str(error)) from None


@contextmanager
def open_sound(path: Path, plan: ReadPlan) -> Iterator[OpenSound]:
    """Open a file as planned.

    Raises RefusedError (`changed`) if the file is no longer the planned one, and the errors of
    libsndfile and of the system unchanged: see `refusing`.
    """
    with open_file(path) as file:
        check_same(file, plan)
        if plan.raw is None:
            with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
                yield OpenSound(file, sound)
            return
        options = {
            "format": "RAW",
            "subtype": plan.raw.subtype,
            "endian": plan.raw.byte_order.upper(),
            "samplerate": plan.sample_rate,
            "channels": plan.channels,
        }
        with soundfile.SoundFile(_FileSlice(file, plan, plan.raw), **options) as sound:
            yield OpenSound(file, sound)


def check_same(file: BinaryIO, plan: ReadPlan) -> None:
    """Raise RefusedError (`changed`) if the file was modified or replaced since it was planned."""
    if signature_of(file) != plan.signature:
        raise RefusedError("changed", "the file was changed while it was read: try again later")


def complete(plan: ReadPlan, sound: soundfile.SoundFile) -> ReadPlan:
    """The plan with what libsndfile found; RefusedError if that is not supported."""
    frames = sound.frames if sound.frames < UNKNOWN_FRAMES else 0
    counts: dict[str, Any] = {
        "declared": plan.declared,
        "missing": max(plan.declared or 0, frames),
    }
    check_shape(sound.samplerate, sound.channels, **counts)
    if sound.subtype not in SUBTYPES:
        detail = f"samples coded as {sound.subtype} are not supported"
        raise RefusedError("unsupported_coding", detail, **counts)
    if sound.frames <= 0:
        raise RefusedError("no_samples", "the file has a header but no samples", **counts)
    if plan.frames:
        frames = min(frames, plan.frames)
    declared = plan.declared or frames or None
    missing = max((declared or 0) - frames, 0)
    cause, note = plan.cause, plan.detail
    if cause is None and (not frames or (declared or 0) < frames):
        cause = "header_sizes"
        note = "the header gives no length: the sound was read to its end"
    elif cause is None and missing:
        cause = "truncated"
        note = f"the file ends {missing} frames before its header says"
    return ReadPlan(
        *(plan.signature, declared, missing, sound.samplerate, sound.channels, frames),
        cause=cause,
        detail=note,
    )


class _FileSlice(io.RawIOBase):
    """The raw samples of a file as a file of their own."""

    def __init__(self, file: BinaryIO, plan: ReadPlan, layout: WavLayout) -> None:
        self._file = file
        self._start = layout.data_offset
        self._end = self._start + plan.frames * layout.frame_bytes
        file.seek(self._start)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: self._start, os.SEEK_END: self._end}
        return self._file.seek(base.get(whence, self._file.tell()) + offset) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(self._end - self._file.tell(), 0)]
        content = self._file.read(len(view))
        view[: len(content)] = content
        return len(content)
