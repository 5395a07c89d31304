"""Which columns of a long stream are compared: those with sound, and a sample of the background.

Comparing all columns of a day takes hours, and most of them are background. Up to `_MOST` columns,
half an hour of 40 ms each, all are compared.
"""

from typing import NamedTuple

import numpy as np

from ulmo.arrays import Indices, Mask
from ulmo.sequence.events import Event

_MOST = 45_000  # columns that are compared with each other in seconds
_LEAST = 8192  # columns of background, in which chance is measured


class Selection(NamedTuple):
    """Columns of a stream that follow each other as if nothing lay between them."""

    columns: Indices  # (k,), ascending
    borders: Indices  # places in `columns` at which a stretch or recording begins, and k

    def event(self, event: Event) -> Event:
        """An event among the selected columns as one of the stream."""
        return event._replace(
            first=int(self.columns[event.first]),
            end=int(self.columns[event.end - 1]) + 1,
            window=int(self.columns[event.window]),
            partner=int(self.columns[event.partner]),
        )


def select(quiet: Mask | None, borders: Indices, *, margin: int, block: int) -> Selection:
    """Columns that are not quiet, those near them, and blocks of quiet ones, evenly spread.

    quiet: (time,), whether a column is nothing but background; None: unknown, and all are taken.
    borders: the columns at which recordings begin, and the end of the last. margin: columns that
    are taken before and after each that is not quiet. block: columns.
    """
    time = int(borders[-1])
    taken = np.ones(time, np.bool_)
    if quiet is not None and time > _MOST:
        loud = np.concatenate([[0], np.cumsum(~quiet)])
        places = np.arange(time)
        taken = loud[np.minimum(places + margin + 1, time)] > loud[np.maximum(places - margin, 0)]
        whole = taken[: time // block * block].reshape(-1, block)
        free = np.flatnonzero(~whole.any(axis=1))
        wanted = min(max(_MOST - int(taken.sum()), _LEAST) // block, len(free))
        whole[free[np.arange(wanted) * len(free) // max(wanted, 1)]] = True
    columns = np.flatnonzero(taken)
    begins = np.flatnonzero(np.diff(columns, prepend=-2) > 1)
    begins = np.union1d(begins, np.searchsorted(columns, borders[:-1]))
    return Selection(columns, np.append(begins[begins < len(columns)], len(columns)))
