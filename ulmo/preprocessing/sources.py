"""What `encode` and `preprocess` accept: a path, an open binary file, or samples."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ulmo.config import PrepSettings, UserError
from ulmo.config.arguments import whole_number_or_none
from ulmo.preprocessing.arrays import read_blocks, read_source
from ulmo.preprocessing.hearing import Hearing
from ulmo.preprocessing.reading.audio import Recording, RefusedError, open_recording
from ulmo.preprocessing.reading.parts import MAX_CHANNELS
from ulmo.preprocessing.stretches import SampleSource, read_stretches, whole
from ulmo.preprocessing.times.clock import Clock
from ulmo.storage.plain_file import create_file


class Sound(NamedTuple):
    """One channel of sound, ready to be read."""

    read: SampleSource
    start_utc: datetime | None = None  # time of its first sample, if that is known
    obstacle: str | None = None  # why its times are not true; None if they are, or may be
    slowed: bool = False  # the file plays slower than the sound was
    recording: Recording | None = None  # the file that is read; None for samples

    @property
    def frames_read(self) -> int:
        """Frames of the file that were read, all of which count for its gaps; 0 for samples."""
        return self.recording.frames_read if self.recording else 0


@contextmanager
def open_sound_of(
    source: Any,
    settings: PrepSettings,
    *,
    hop: Fraction,
    sample_rate: int | None = None,
    channel: int | None = None,
    hearing: Hearing | None = None,
) -> Iterator[Sound]:
    """Open a source; it can be read until the block ends.

    source: see `read_source`. A binary file need not be seekable.
    settings: it is resampled to their `true_rate`, and floats are divided by their `full_scale`.
    hop: seconds from one column to the next; see `plan_stretches`.
    sample_rate: of samples, in hertz.
    channel: counts from 0; None means the mean of all channels.
    hearing: measures what is read.

    RefusedError for a file that cannot be read; UserError for what is no sound, and for samples
    without a valid rate.
    """
    channel = whole_number_or_none("channel", channel, least=0, most=MAX_CHANNELS - 1)
    given, rate = read_source(source, sample_rate)
    if isinstance(given, np.ndarray):
        blocks = partial(read_blocks, [given], rate, settings, channel=channel, hearing=hearing)
        yield Sound(lambda: whole(blocks()))
        return
    with ExitStack() as opened:
        path = opened.enter_context(_as_path(given))
        timing = None
        try:
            timing = Clock().timing(path)
            start_utc = timing.start.utc if timing.start else None
            recording = opened.enter_context(open_recording(path, full_scale=settings.full_scale))
        except RefusedError as refusal:
            refusal.path = given if isinstance(given, Path) else None
            if refusal.reason != "no_samples" or timing is None or timing.spans:
                raise
            sound = Sound(tuple, start_utc)
        else:
            chosen = recording, channel, settings.true_rate, timing.spans
            read = partial(read_stretches, *chosen, hop=hop, hearing=hearing)
            sound = Sound(read, start_utc, timing.obstacle, timing.slowed, recording)
        yield sound


@contextmanager
def _as_path(source: Path | BinaryIO) -> Iterator[Path]:
    """The path of a file. What is left of an open one is copied to a temporary file.

    A wrong header is corrected by the physical length, and a decoder that failed is opened again:
    a pipe has neither.
    """
    if isinstance(source, Path):
        yield source
        return
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ulmo-"))
        except OSError as error:
            why = f"an open file is copied first, and no temporary folder can be made ({error})"
            raise UserError(f"{why}: set TMPDIR, or give its path") from None
        path = Path(folder) / "recording"
        with create_file(path) as copy:
            shutil.copyfileobj(source, copy)
        yield path
