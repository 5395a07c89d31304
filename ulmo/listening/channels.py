"""What is kept of a recording to find what recurs: ids, what is heard, trains, and times.

Everything else of it, such as its samples, is gone before the next recording is read.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids, Mask
from ulmo.config import ClockSettings
from ulmo.listening.cells import SILENCE_DB, Cells
from ulmo.listening.listen import Heard, Latents, Listened
from ulmo.listening.samples import own_samples
from ulmo.preprocessing.reading.audio import RefusedError
from ulmo.sequence.regions import DEFAULT, clearness

# A cell is heard if its level is no further below the loudest of its recording: the decay after
# which room acoustics calls a sound gone (RT60), as in evaluation.silence.
_HEARD_DB = 60.0
# The background of what recurs is that of some seconds: a noise that lasts longer is background.
_AROUND = DEFAULT._replace(window_s=10.0)
_LEAST_RATE = 2000  # hertz: slower recordings hold no impulses, whose sound is short


class Train(NamedTuple):
    """Impulses that follow each other, within one stretch of a recording."""

    times: NDArray[np.float64]  # (n,) seconds from the begin of the stretch
    part: int
    period_s: float | None
    jitter_s: float | None
    low_hz: float
    high_hz: float


class Channel(NamedTuple):
    """One channel of a recording."""

    heard: Heard  # without ids and levels
    ids: Ids  # (columns, bands)
    loud: Mask  # (columns, bands): whether there is sound
    trains: Sequence[Train] = ()
    latents: Latents | None = None  # (columns, d), if the tokens were made here
    # (columns,): dB of the clearest cell above the background, if there are levels
    clear_db: NDArray[np.float32] | None = None


class Material(NamedTuple):
    """A recording; without channels if it was refused."""

    facts: dict[str, Any]
    channels: Sequence[Channel] = ()


class Wish(NamedTuple):
    """What is to be found in samples, and how they are read."""

    impulses: bool
    false_per_hour: float
    clock: ClockSettings
    full_scale: float
    time_expansion: float
    # True seconds, first and last, between which impulses are looked for; None: in all.
    impulses_in: tuple[float, float] | None = None


def material_of(wish: Wish, listened: Listened) -> Material:
    """What is kept of a recording that was heard."""
    try:
        channels = [_channel(wish, heard) for heard in listened.heard]
    except RefusedError as refusal:  # it was there a moment ago
        return Material({**listened.facts, **refusal.facts()})
    return Material(listened.facts, channels)


def _channel(wish: Wish, heard: Heard) -> Channel:
    means, ids = heard.cells.means, heard.ids
    loudest = float(means.max(initial=SILENCE_DB))
    loud = means > max(loudest - _HEARD_DB, SILENCE_DB)
    trains = list(_trains(wish, heard)) if wish.impulses else []
    nothing = Cells.joined([], means.shape[1])
    parts = [part._replace(ids=part.ids[:0], cells=nothing, latents=None) for part in heard.parts]
    clear_db = clearness(
        means,
        column_s=heard.column_s * wish.time_expansion,
        silence_db=SILENCE_DB,
        settings=_AROUND,
    )
    return Channel(heard._replace(parts=parts), ids, loud, trains, heard.latents, clear_db)


def _trains(wish: Wish, heard: Heard) -> Iterator[Train]:
    from ulmo.sequence.impulses import find_impulses

    for piece in own_samples(heard, wish.clock, wish.full_scale):
        if piece.rate < _LEAST_RATE:
            return
        first, end = 0, len(piece.samples)
        if wish.impulses_in is not None:
            begin_s = heard.parts[piece.part].start_s + piece.start_s
            places = [round((time - begin_s) * piece.rate) for time in wish.impulses_in]
            first, end = (min(max(place, 0), end) for place in places)
        samples = piece.samples[first:end]
        for train in find_impulses(samples, piece.rate, false_per_hour=wish.false_per_hour):
            yield Train(
                np.asarray(train.times, np.float64) + piece.start_s + first / piece.rate,
                piece.part,
                train.period_s,
                train.jitter_s,
                float(train.low_hz),
                float(train.high_hz),
            )
