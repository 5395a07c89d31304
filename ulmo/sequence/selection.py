"""Which columns of a long stream are compared: those that may be surer than chance.

Up to `_MOST` columns, half an hour of 40 ms each, all are compared. Of more, those are that are not
background, and a sample of the background. If that is more than `_BOUND`, those are left out that
tell least, so that a day takes minutes: time grows with the square of what is compared.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices, Mask
from ulmo.sequence.events import Event
from ulmo.sequence.evidence import Evidence

_MOST = 45_000  # columns that are compared with each other in seconds
_LEAST = 8192  # columns of background, in which chance is measured
# Columns that are compared with each other in minutes: 4.4 hours, of a day 19 %. Of 12 and 23 % of
# the columns of an hour, nearly all is found that all of them find: docs/repeats.md.
_BOUND = 400_000


class Selection(NamedTuple):
    """Columns of a stream that follow each other as if nothing lay between them."""

    columns: Indices  # (k,), ascending
    borders: Indices  # places in `columns` at which a stretch or recording begins, and k
    left_out: int  # columns that were not compared, though they are not background

    def event(self, event: Event) -> Event:
        """An event among the selected columns as one of the stream."""
        return event._replace(
            first=int(self.columns[event.first]),
            end=int(self.columns[event.end - 1]) + 1,
            window=int(self.columns[event.window]),
            partner=int(self.columns[event.partner]),
        )


def select(
    quiet: Mask | None, borders: Indices, worth: NDArray[np.float32], *, margin: int, block: int
) -> Selection:
    """Columns that are not quiet, those near them, and blocks of quiet ones, evenly spread.

    quiet: (time,), whether a column is nothing but background; None: unknown, and none counts as
    such. borders: the columns at which recordings begin, and the end of the last. worth: (time,),
    the most bits that a match of each column can have; those with least are left out if there are
    too many. margin: columns that are taken before and after each. block: columns.
    """
    time = int(borders[-1])
    taken = np.ones(time, np.bool_)
    if quiet is not None and time > _MOST:
        loud = np.concatenate([[0], np.cumsum(~quiet)])
        places = np.arange(time)
        taken = loud[np.minimum(places + margin + 1, time)] > loud[np.maximum(places - margin, 0)]
    left_out = max(int(taken.sum()) - _BOUND, 0)
    if left_out:
        near = cv2.dilate(worth[None], np.ones((1, 2 * margin + 1), np.uint8))[0]
        near[~taken] = -np.inf
        taken[np.argsort(-near, kind="stable")[_BOUND:]] = False
    if quiet is not None and time > _MOST:
        whole = taken[: time // block * block].reshape(-1, block)
        still = quiet[: time // block * block].reshape(-1, block)
        free = np.flatnonzero(~whole.any(axis=1) & still.all(axis=1))
        wanted = min(max(_MOST - int(taken.sum()), _LEAST) // block, len(free))
        whole[free[np.arange(wanted) * len(free) // max(wanted, 1)]] = True
    columns = np.flatnonzero(taken)
    begins = np.flatnonzero(np.diff(columns, prepend=-2) > 1)
    begins = np.union1d(begins, np.searchsorted(columns, borders[:-1]))
    return Selection(columns, np.append(begins[begins < len(columns)], len(columns)), left_out)


def worth_of(evidence: Evidence, length: int) -> NDArray[np.float32]:
    """(time,): bits that a window of `length` columns around each column has with itself.

    Hardly any other window tells more of it. Ids that a recording is full of tell nothing.
    """
    bands = range(evidence.rows.shape[1])
    own = sum(np.diagonal(evidence.table[band])[evidence.rows[:, band]] for band in bands)
    bits = np.asarray(own, np.float32) * np.float32(evidence.unit)
    mean: NDArray[np.float32] = cv2.blur(bits[None], (length, 1))[0] * np.float32(length)
    return mean
