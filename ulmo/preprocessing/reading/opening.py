"""Open a part of a file: hand libsndfile only what it supports.

WAV of fixed-width samples is read without its header if libsndfile would not read all of it.
libsndfile reads every other part itself.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Self

import soundfile

from ulmo.preprocessing.reading.containers import SUBTYPES
from ulmo.preprocessing.reading.decoder import Decoder
from ulmo.preprocessing.reading.parts import Part, check_shape
from ulmo.preprocessing.reading.refusal import CHANGED, RefusedError
from ulmo.storage.plain_file import (
    ChangedError,
    Signature,
    is_of_process,
    open_file,
    signature_of,
)

# libsndfile reports more frames if the header gives none. The sum of a file's parts is below 2^63.
UNKNOWN_FRAMES = 1 << 51
# libsndfile's codes for a coding that it does not know, and for a stream in which mpg123 finds
# nothing.
UNSUPPORTED_CODING, NO_STREAM = 4, 7
SEEKING_CHANGES = frozenset({"mp3", "ogg"})  # kinds whose samples depend on where reading began
NOT_SEEKABLE = frozenset({"GSM610"})  # codings


@contextmanager
def refusing(path: Path | None = None) -> Iterator[None]:
    """Turn the errors of opening and reading a recording into RefusedError, with its path.

    An error of the system is `unreadable`, never a fault of the file; if it says nothing of the
    file, as too many open files, it is raised as it is.
    """
    try:
        yield
    except soundfile.LibsndfileError as error:
        reason = "unsupported_coding" if error.code == UNSUPPORTED_CODING else "bad_header"
        words = str(error.error_string).rstrip(".")
        if error.code == NO_STREAM:  # libsndfile's own words are about a file that is not there
            words = "its frames cannot be decoded"
        raise RefusedError(reason, words, missing=None, path=path) from None
    except OSError as error:
        if is_of_process(error):
            raise
        if isinstance(error, ChangedError):
            raise RefusedError("changed", CHANGED, path=path) from None
        raise RefusedError("unreadable", error.strerror or str(error), path=path) from None


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

    def open(self, part: Part) -> Decoder:
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
        with unchanged(file, self._signature):
            decoder = self._stack.enter_context(Decoder(file, part.pieces, **options))
            if part.kind == "ogg":
                decoder.seek(0)  # else the first samples are late where granules do not begin at 0
        return decoder

    def check_same(self, file: BinaryIO) -> None:
        """Raise RefusedError (`changed`) if the file was modified or replaced meanwhile."""
        _check_same(file, self._signature)


@contextmanager
def unchanged(file: BinaryIO, signature: Signature) -> Iterator[None]:
    """Raise RefusedError (`changed`) if an open file has another signature at the end of the block.

    It also replaces other refusals, because their reasons may come from a half-changed file.
    """
    try:
        yield
    except (RefusedError, soundfile.LibsndfileError):
        _check_same(file, signature)
        raise
    _check_same(file, signature)


def _check_same(file: BinaryIO, signature: Signature) -> None:
    if signature_of(file) != signature:
        raise RefusedError("changed", CHANGED)


def go_to(decoder: Decoder, part: Part, frame: int, block: int) -> None:
    """Move a decoder from its first frame to another, by reading where seeking is not exact."""
    if part.kind not in SEEKING_CHANGES and decoder.sound.subtype not in NOT_SEEKABLE:
        decoder.seek(frame)
        return
    while frame > 0 and (passed := decoder.skip(min(frame, block))):
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
