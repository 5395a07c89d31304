"""The columns of tokens that a page shows, and when each of them is."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Ids
from ulmo.listening.channels import Channel


class Shown(NamedTuple):
    """Columns of one channel that begin in a part of it."""

    ids: Ids  # (columns, bands)
    latents: Array | None  # (columns, bands, EMB), if the tokens were made here
    place: slice  # of these columns among all of the channel
    starts: NDArray[np.float64]  # (columns,) true seconds from the recording's first sample
    column_s: float

    @classmethod
    def of(cls, channel: Channel, start_s: float, end_s: float) -> "Shown":
        """The columns from `start_s` to `end_s`."""
        heard = channel.heard
        places = [part.start_s + np.arange(part.columns) * heard.column_s for part in heard.parts]
        starts = np.concatenate([np.empty(0), *places])
        first, end = np.searchsorted(starts, [start_s - heard.column_s / 2, end_s]).tolist()
        place = slice(first, end)
        latents = None
        if channel.latents is not None:
            shape = (end - first, channel.ids.shape[1], -1)
            latents = channel.latents[place].astype(np.float32).reshape(shape)
        return cls(channel.ids[place], latents, place, starts[place], heard.column_s)

    def segments(self) -> list[list[Any]]:
        """First column, and its time, of each run of columns without time left out."""
        if not len(self.starts):
            return []
        gaps = np.flatnonzero(np.diff(self.starts) > 1.5 * self.column_s) + 1
        firsts = [0, *gaps.tolist()]
        return [[first, round(float(self.starts[first]), 6)] for first in firsts]
