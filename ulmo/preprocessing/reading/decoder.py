"""Pieces of a file as libsndfile decodes them.

libsndfile reads through callbacks, so that no read error is lost. With a descriptor, libsndfile
ignores most read errors, and decodes old bytes that are still in its buffer.
"""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from threading import current_thread, main_thread
from typing import Any, BinaryIO, Self

import numpy as np
import soundfile

from ulmo.arrays import Array
from ulmo.preprocessing.reading.pieces import Piece, PieceFile

_READ_BYTES = 1 << 16  # libsndfile asks for 8 KiB or less, and a callback takes longer than a copy


class _Content(PieceFile):
    """What is decoded. A callback cannot raise: an error is kept, and the file ends there.

    The position is then the end of the file: else libsndfile would never stop reading a CAF file.
    """

    error: Exception | None = None

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, but for the end of the file or an error."""
        if self.error is None:
            try:
                return super().readinto(buffer)
            except (OSError, MemoryError) as error:
                self.error = error
        self.seek(0, os.SEEK_END)
        return 0


class Decoder:
    """A decoder at the first frame of some pieces of a file.

    It reads on from where it is: soundfile would seek after each read, and Opus and MPEG decoders
    then begin anew, so that their samples depended on the lengths of the reads. Its errors are
    those of libsndfile and of the system, unchanged; after one, it cannot be used.
    """

    def __init__(self, file: BinaryIO, pieces: Iterable[Piece], **options: Any) -> None:
        self.file = file
        self._content = _Content(file, pieces)
        self._buffered = BufferedReader(self._content, _READ_BYTES)
        with self._calling():
            self.sound = soundfile.SoundFile(self._buffered, **options)
        self.sound.seekable = _no

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sound.close()

    @property
    def left(self) -> int:
        """Bytes that libsndfile has not asked for."""
        return self._content.size - self._buffered.tell()

    def seek(self, frame: int) -> None:
        """Go to a frame, as exactly as libsndfile can."""
        with self._calling():
            self.sound.seek(frame)

    def skip(self, frames: int) -> int:
        """Decode and discard frames; returns how many there were, at most the number asked for."""
        with self._calling():
            return len(self.sound.read(frames, dtype="float32"))

    def read(self, frames: int) -> tuple[Array, bool]:
        """The next frames, or those before the one at which libsndfile failed; whether it did.

        soundfile does not report how far it came before an error, so NaN marks the frames that were
        not reached. Decoders that can fail produce no NaN themselves.
        """
        block = np.full((frames, self.sound.channels), np.nan, np.float32)
        try:
            with self._calling():
                read: Array = self.sound.read(out=block)
        except soundfile.LibsndfileError:
            reached = np.flatnonzero(~np.isnan(block[:, 0]))
            return block[: reached[-1] + 1 if len(reached) else 0], True
        return read, False

    @contextmanager
    def _calling(self) -> Iterator[None]:
        """Raise the error that a callback kept, instead of the error that libsndfile reports."""
        with _holding_interrupts():
            try:
                yield
            finally:
                if self._content.error is not None:
                    raise self._content.error from None


def _no() -> bool:
    return False


@contextmanager
def _holding_interrupts() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block: in a callback, its exception would be lost."""
    handler = signal.getsignal(signal.SIGINT)
    if current_thread() is not main_thread() or not callable(handler):
        yield
        return
    heard: list[Any] = []
    signal.signal(signal.SIGINT, lambda *what: heard.append(what))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if heard:
            handler(*heard[0])
