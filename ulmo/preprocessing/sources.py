"""What `encode` and `preprocess` accept: a path, an open binary file, or samples."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from ulmo.arrays import Array
from ulmo.preprocessing.audio import RefusedError, open_recording, read_blocks
from ulmo.preprocessing.clock import Clock
from ulmo.preprocessing.stretches import SampleSource, read_stretches, whole


class Sound(NamedTuple):
    """One channel of sound, ready to be read."""

    read: SampleSource
    start_utc: datetime | None = None  # time of its first sample, if that is known


@contextmanager
def open_sound_of(
    source: str | Path | BinaryIO | Array,
    *,
    rate: int,
    hop: Fraction,
    sample_rate: int | None = None,
    channel: int | None = None,
) -> Iterator[Sound]:
    """Open a source; it can be read until the block ends.

    source: path; binary file, which need not be seekable; or samples (n,) at `sample_rate`.
    rate: in hertz, to which it is resampled.
    hop: seconds from one column to the next; see `plan_stretches`.
    channel: counts from 0; None means the mean of all channels. Only for files.

    RefusedError for a file that cannot be read; UserError for samples without a valid rate.
    """
    if isinstance(source, np.ndarray | list | tuple | np.generic):
        samples = np.asarray(source)
        yield Sound(lambda: whole(read_blocks([samples], sample_rate, rate)))
        return
    with ExitStack() as opened:
        path = opened.enter_context(_as_path(source))
        start, spans, *_ = Clock().timing(path)
        start_utc = start.utc if start else None
        try:
            recording = opened.enter_context(open_recording(path))
            read: SampleSource = partial(read_stretches, recording, channel, rate, spans, hop=hop)
        except RefusedError as refusal:
            if refusal.reason != "no_samples" or not Clock().is_empty(path):
                raise
            read = tuple
        yield Sound(read, start_utc)


@contextmanager
def _as_path(source: str | Path | BinaryIO) -> Iterator[Path]:
    """The path of a file. What is left of an open one is copied to a temporary file.

    A wrong header is corrected by the physical length, and a decoder that failed is opened again:
    a pipe has neither.
    """
    if isinstance(source, str | Path):
        yield Path(source)
        return
    with tempfile.TemporaryDirectory(prefix="ulmo-") as folder:
        path = Path(folder) / "recording"
        with path.open("wb") as copy:
            shutil.copyfileobj(source, copy)
        yield path
