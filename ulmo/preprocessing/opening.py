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

from ulmo.preprocessing.containers import SUBTYPES, declared_frames, kind_of, ogg_has_end
from ulmo.preprocessing.plan import RawSamples, ReadPlan, Shape, check_shape
from ulmo.preprocessing.refusal import RefusedError
from ulmo.preprocessing.wav import plan_wav
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


def plan_reading(path: Path) -> ReadPlan:
    """Read a file's header.

    Raises RefusedError if nothing in the file can be read, OSError if it cannot be opened.
    """
    with open_file(path) as file:
        signature = signature_of(file)
        if signature.size == 0:
            raise RefusedError("empty_file", "the file has no bytes")
        kind = kind_of(file)
        if kind is None:
            raise RefusedError("not_audio", "the file is in no supported sound format")
        if kind == "wav":
            return plan_wav(file, signature)
        plan = ReadPlan(signature, kind, declared=declared_frames(file, kind))
        if kind == "ogg" and not ogg_has_end(file, signature.size):
            detail = "the file ends before its stream does: an unknown length is missing"
            return plan._replace(cause="truncated", detail=detail)
        return plan


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
        layout = plan.raw.layout
        options = {
            "format": "RAW",
            "subtype": layout.subtype,
            "endian": layout.byte_order.upper(),
            "samplerate": layout.sample_rate,
            "channels": layout.channels,
        }
        with soundfile.SoundFile(_FileSlice(file, plan.raw), **options) as sound:
            yield OpenSound(file, sound)


def check_same(file: BinaryIO, plan: ReadPlan) -> None:
    """Raise RefusedError (`changed`) if the file was modified or replaced since it was planned."""
    if signature_of(file) != plan.signature:
        raise RefusedError("changed", "the file was changed while it was read: try again later")


def check_opened(sound: soundfile.SoundFile, plan: ReadPlan) -> Shape:
    """The shape that libsndfile found, with 0 frames if unknown; RefusedError if unsupported."""
    frames = sound.frames if sound.frames < UNKNOWN_FRAMES else 0
    missing = max(plan.declared or 0, frames)
    check_shape(sound.samplerate, sound.channels, declared=plan.declared, missing=missing)
    if sound.subtype not in SUBTYPES:
        detail = f"samples coded as {sound.subtype} are not supported"
        raise RefusedError("unsupported_coding", detail, declared=plan.declared, missing=missing)
    if sound.frames <= 0:
        detail = "the file has a header but no samples"
        raise RefusedError("no_samples", detail, declared=plan.declared, missing=missing)
    return Shape(sound.samplerate, sound.channels, frames)


class _FileSlice(io.RawIOBase):
    """The raw samples of a file as a file of their own."""

    def __init__(self, file: BinaryIO, raw: RawSamples) -> None:
        self._file = file
        self._start = raw.offset
        self._end = raw.offset + raw.size
        file.seek(raw.offset)

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
