"""Open a part of a file: hand libsndfile only what it supports.

WAV of fixed-width samples is read without its header if libsndfile would not read all of it.
libsndfile reads every other part itself.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

import soundfile

from ulmo.preprocessing.reading.containers import SUBTYPES
from ulmo.preprocessing.reading.parts import Part, check_shape
from ulmo.preprocessing.reading.pieces import Piece, PieceFile, Stretch
from ulmo.preprocessing.reading.refusal import RefusedError
from ulmo.storage.plain_file import Signature, is_of_process, open_file, signature_of

UNKNOWN_FRAMES = 1 << 53  # libsndfile reports more frames if the header gives none
# libsndfile's codes for an error of the operating system, for a coding that it does not know, and
# for a stream in which mpg123 finds nothing.
SYSTEM_ERROR, UNSUPPORTED_CODING, NO_STREAM = 2, 4, 7
SEEKING_CHANGES = frozenset({"mp3", "ogg"})  # kinds whose samples depend on where reading began
NOT_SEEKABLE = frozenset({"GSM610"})  # codings


class OpenSound(NamedTuple):
    """A file, and a decoder at its first frame."""

    file: BinaryIO
    sound: soundfile.SoundFile

    @property
    def left(self) -> int:
        """Bytes that the decoder has not asked for."""
        inner = self.sound.name
        if isinstance(inner, PieceFile):
            return inner.size - inner.tell()
        return signature_of(self.file).size - os.lseek(self.file.fileno(), 0, os.SEEK_CUR)


@contextmanager
def refusing() -> Iterator[None]:
    """Turn the errors of opening a file into RefusedError."""
    try:
        yield
    except soundfile.LibsndfileError as error:
        codes = {SYSTEM_ERROR: "unreadable", UNSUPPORTED_CODING: "unsupported_coding"}
        reason = codes.get(error.code, "bad_header")
        words = str(error.error_string).rstrip(".")
        if error.code == NO_STREAM:  # libsndfile's own words are about a file that is not there
            words = "its frames cannot be decoded"
        raise RefusedError(reason, words, missing=None) from None
    except OSError as error:
        if is_of_process(error):
            raise
        raise RefusedError("unreadable", error.strerror or str(error)) from None


def open_pieces(file: BinaryIO, pieces: tuple[Piece, ...], **options: Any) -> soundfile.SoundFile:
    """A decoder for pieces of a file, or for all of it; the errors are libsndfile's.

    It reads on from where it is: soundfile would seek after each read, and Opus and MPEG decoders
    then begin anew, so that their samples depended on the lengths of the reads.
    """
    if not isinstance(file, PieceFile) and pieces == (Stretch(0, signature_of(file).size),):
        file.seek(0)  # libsndfile begins at the descriptor's position
        sound = soundfile.SoundFile(file.fileno(), closefd=False, **options)
    else:
        sound = soundfile.SoundFile(PieceFile(file, pieces), **options)
    sound.seekable = _no
    return sound


def _no() -> bool:
    return False


class Opener:
    """Opens the parts of a file, one at a time."""

    def __init__(self, path: Path, signature: Signature) -> None:
        self.path = path
        self._signature = signature
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, part: Part) -> OpenSound:
        """Open a part at its first frame, and close the one before.

        Raises RefusedError (`changed`) if the file is no longer the planned one, and the errors
        of libsndfile and of the system unchanged: see `refusing`.
        """
        self._stack.close()
        file = self._stack.enter_context(open_file(self.path))
        self.check_same(file)
        options: dict[str, Any] = {}
        if part.raw:
            options = {
                "format": "RAW",
                "subtype": part.raw.subtype,
                "endian": part.raw.byte_order.upper(),
                "samplerate": part.sample_rate,
                "channels": part.channels,
            }
        sound = self._stack.enter_context(open_pieces(file, part.pieces, **options))
        if part.kind == "ogg":
            sound.seek(0)  # else the first samples are late where granules do not begin at 0
        return OpenSound(file, sound)

    def check(self, opened: OpenSound) -> None:
        """Raise what went wrong with the file while a decoder read it: see `refusing`."""
        inner = opened.sound.name
        if isinstance(inner, PieceFile) and inner.error:
            raise inner.error
        self.check_same(opened.file)

    def check_same(self, file: BinaryIO) -> None:
        """Raise RefusedError (`changed`) if the file was modified or replaced meanwhile."""
        if signature_of(file) != self._signature:
            raise RefusedError("changed", "the file was changed while it was read: try again later")


def go_to(sound: soundfile.SoundFile, part: Part, frame: int, block: int) -> None:
    """Move a decoder from its first frame to another, by reading where seeking is not exact."""
    if part.kind not in SEEKING_CHANGES and sound.subtype not in NOT_SEEKABLE:
        sound.seek(frame)
        return
    while frame > 0 and (passed := len(sound.read(min(frame, block), dtype="float32"))):
        frame -= passed


def complete(part: Part, sound: soundfile.SoundFile) -> Part:
    """The part with what libsndfile found; RefusedError if that is not supported."""
    frames = sound.frames if sound.frames < UNKNOWN_FRAMES else 0
    counts: dict[str, Any] = {
        "declared": part.declared,
        "missing": max(part.declared or 0, frames),
    }
    check_shape(sound.samplerate, sound.channels, **counts)
    if sound.subtype not in SUBTYPES:
        detail = f"samples coded as {sound.subtype} are not supported"
        raise RefusedError("unsupported_coding", detail, **counts)
    if sound.frames <= 0:
        if part.cause:  # the end of an Ogg stream
            counts["missing"] = None
        raise RefusedError("no_samples", "the file has a header but no samples", **counts)
    if part.frames:
        frames = min(frames, part.frames)
    declared = (frames or None) if part.declared is None else part.declared
    cause, note = part.cause, part.detail
    lacking = max((declared or 0) - frames, 0)
    missing = part.missing
    if lacking and (cause is None or (cause == "more_data" and lacking >= missing)):
        cause, missing = "truncated", lacking
        note = f"the file ends {missing} frames before its header says"
    elif cause is None and (not frames or (declared or 0) < frames):
        cause = "header_sizes"
        note = "the header gives no length: the sound was read to its end"
    return part._replace(
        declared=declared,
        missing=missing,
        sample_rate=sound.samplerate,
        channels=sound.channels,
        frames=frames,
        cause=cause,
        detail=note,
    )
