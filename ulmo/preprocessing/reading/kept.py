"""Short recordings that are read twice, and decoded once.

Ogg and MPEG audio is decoded from its beginning, wherever a stretch of it begins. So whoever reads
stretches of a short recording first, and later all of it, has it decoded as a whole at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, NamedTuple

import numpy as np

from ulmo.arrays import Array
from ulmo.preprocessing.reading.decoder import Decoder
from ulmo.preprocessing.reading.opening import SEEKING_CHANGES, hides_more
from ulmo.preprocessing.reading.plan import ReadPlan
from ulmo.storage.plain_file import Signature, open_file, signature_of

MOST_OF_ONE = 1 << 23  # bytes of the samples of a recording, in memory while it is open
MOST_KEPT = 1 << 28  # bytes of all of them on the disk, in TMPDIR
_IN_MEMORY = 1 << 24  # bytes of them that need no file


class Whole(NamedTuple):
    """A recording of one part, and all its samples as they were decoded."""

    plan: ReadPlan
    samples: Array  # (frames, channels)


@contextmanager
def keeping_short() -> Iterator[None]:
    """Within the block, `keep` keeps samples for `take`, as many as fit into MOST_KEPT."""
    with SpooledTemporaryFile(_IN_MEMORY) as file:
        token = _kept.set(_Kept(file))
        try:
            yield
        finally:
            _kept.reset(token)


def keep(path: Path, plan: ReadPlan, decoder: Decoder) -> Whole | None:
    """Decode and keep a recording, whose decoder is at its first frame and cannot be used again.

    None if it could not be decoded to its end, or goes on behind it: who reads it finds out more.
    """
    with suppress(OSError):
        samples, failed = decoder.read(plan.frames)
        is_whole = not failed and len(samples) == plan.frames
        if is_whole and not hides_more(decoder, plan.parts[0]):
            samples.flags.writeable = False
            whole = Whole(plan, samples)
            if kept := _kept.get():
                kept.add(path, whole)
            return whole
    return None


def is_worth_it(plan: ReadPlan) -> bool:
    """Whether a recording is to be kept, and can be."""
    part = plan.parts[0]
    is_short = 0 < 4 * plan.frames * part.channels <= MOST_OF_ONE
    return _kept.get() is not None and is_short and part.kind in SEEKING_CHANGES


def take(path: Path) -> Whole | None:
    """A recording that was kept, for the last time; None if there is none, or if it has changed."""
    kept = _kept.get()
    return kept.take(path) if kept else None


class _Place(NamedTuple):
    plan: ReadPlan
    start: int


class _Kept:
    """The recordings that are kept."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._end = 0
        self._places: dict[tuple[Path, Signature], _Place] = {}

    def add(self, path: Path, whole: Whole) -> None:
        """Keep a recording if there is room."""
        if self._end + whole.samples.nbytes > MOST_KEPT:
            return
        try:
            self._file.seek(self._end)
            self._file.write(whole.samples.data)
            self._file.flush()
        except OSError:  # no room there: then it is decoded again
            return
        self._places[path, whole.plan.signature] = _Place(whole.plan, self._end)
        self._end += whole.samples.nbytes

    def take(self, path: Path) -> Whole | None:
        """See above."""
        if not self._places:
            return None
        with open_file(path) as file:
            place = self._places.pop((path, signature_of(file)), None)
        if place is None:
            return None
        self._file.seek(place.start)
        shape = place.plan.frames, place.plan.parts[0].channels
        content = self._file.read(4 * shape[0] * shape[1])
        return Whole(place.plan, np.frombuffer(content, np.float32).reshape(shape))


_kept: ContextVar[_Kept | None] = ContextVar("kept", default=None)
