"""How a file is opened: its header is checked first, and libsndfile is shown only what fits.

A WAV file whose samples have a fixed width is read as bare samples where libsndfile would not
read all that is there; every other kind of file as libsndfile reads it.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import soundfile

from ulmo.preprocessing.containers import declared_frames, ogg_has_end
from ulmo.preprocessing.kinds import SUBTYPES, kind_of
from ulmo.preprocessing.plan import Bare, Plan, Shape, check_shape
from ulmo.preprocessing.refusal import RefusedError
from ulmo.preprocessing.wav import plan_wav
from ulmo.storage.plain_file import open_file, signature_of

UNKNOWN_FRAMES = 1 << 53
"""libsndfile gives more frames than this where the header does not say (FLAC from a pipe)."""
SYSTEM_ERROR = 2
"""libsndfile's code for what the system, not the file, is to blame for."""


class Opened(NamedTuple):
    """A file, and a decoder at its first frame."""

    file: BinaryIO
    sound: soundfile.SoundFile


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what goes wrong in opening a file into a RefusedError."""
    try:
        yield
    except soundfile.LibsndfileError as error:
        reason = "unreadable" if error.code == SYSTEM_ERROR else "bad_header"
        raise RefusedError(reason, str(error.error_string)) from None
    except OSError as error:
        raise RefusedError("unreadable", error.strerror or str(error)) from None


def examine(path: Path) -> Plan:
    """Read a file's header; RefusedError where there is nothing that could be read.

    OSError where the system says no: see `refusing`.
    """
    with open_file(path) as file:
        signature = signature_of(file)
        if signature.size == 0:
            raise RefusedError("empty_file", "the file has no bytes")
        kind = kind_of(file)
        if kind is None:
            raise RefusedError("not_audio", "the file is of no kind of sound that is read")
        if kind == "wav":
            return plan_wav(file, signature)
        plan = Plan(signature, kind, None, declared_frames(file, kind))
        if kind == "ogg" and not ogg_has_end(file, signature.size):
            detail = "the file ends before its stream does, nobody knows how long"
            return plan._replace(cause="truncated", detail=detail)
        return plan


@contextmanager
def open_sound(path: Path, plan: Plan) -> Iterator[Opened]:
    """Open a file as planned; RefusedError, `changed`, where it is not the one that was planned.

    What goes wrong is raised as libsndfile or the system says it: see `refusing`.
    """
    with open_file(path) as file:
        check_same(file, plan)
        if plan.bare is None:
            with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
                yield Opened(file, sound)
            return
        layout = plan.bare.layout
        options = {
            "format": "RAW",
            "subtype": layout.subtype,
            "endian": layout.byte_order.upper(),
            "samplerate": layout.sample_rate,
            "channels": layout.channels,
        }
        with soundfile.SoundFile(_Stretch(file, plan.bare), **options) as sound:
            yield Opened(file, sound)


def check_same(file: BinaryIO, plan: Plan) -> None:
    """RefusedError, `changed`, where the file was written to, or another is in its place."""
    if signature_of(file) != plan.signature:
        raise RefusedError("changed", "the file was changed while it was read: try again later")


def check_opened(sound: soundfile.SoundFile, plan: Plan) -> Shape:
    """What libsndfile has opened; RefusedError where it is not to be read. 0 frames: not known."""
    frames = sound.frames if sound.frames < UNKNOWN_FRAMES else 0
    missing = max(plan.declared or 0, frames)
    check_shape(sound.samplerate, sound.channels, declared=plan.declared, missing=missing)
    if sound.subtype not in SUBTYPES:
        detail = f"samples of the kind {sound.subtype} are not read"
        raise RefusedError("unsupported_coding", detail, declared=plan.declared, missing=missing)
    if sound.frames <= 0:
        detail = "the file has a header but no samples"
        raise RefusedError("no_samples", detail, declared=plan.declared, missing=missing)
    return Shape(sound.samplerate, sound.channels, frames)


class _Stretch(io.RawIOBase):
    """A stretch of a file of bare samples, as a file of its own."""

    def __init__(self, file: BinaryIO, bare: Bare) -> None:
        self._raw = file
        self._start = bare.offset
        self._end = bare.offset + bare.size
        file.seek(bare.offset)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: self._start, os.SEEK_END: self._end}
        return self._raw.seek(base.get(whence, self._raw.tell()) + offset) - self._start

    def tell(self) -> int:
        return self._raw.tell() - self._start

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(self._end - self._raw.tell(), 0)]
        content = self._raw.read(len(view))
        view[: len(content)] = content
        return len(content)
