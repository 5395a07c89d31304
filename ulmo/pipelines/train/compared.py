"""Training tiles beside their copies: other views or paired recordings, with a background."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Indices, Mask
from ulmo.dataset import batches
from ulmo.models.draws import Draws
from ulmo.models.objectives.moments import columns_at, middles_of, values_at
from ulmo.models.objectives.two_views import Background
from ulmo.pipelines.train.feed import Feed

_TIMES = 4  # each tile at most
_BATCH = 32


class Compared(NamedTuple):
    """Tiles (n, M, frames, 1), their copies, and which columns show the same moments."""

    tiles: Array
    valid_frames: NDArray[np.int32]
    copies: Array
    copied_frames: NDArray[np.int32]
    columns: Indices  # (n, columns): for each column of a tile, the one of its copy
    kept: Mask  # (n, columns, bands): whether both show it, and it is not silent

    def met(self, values: Any) -> Any:
        """Values (n, columns, bands, ...) of the copies at the columns of the tiles."""
        each = np.arange(len(self.columns))[:, None]
        return np.asarray(values)[each, self.columns]


def compared(
    feed: Feed, rows: Indices, seed: int, *, most: int, first: int, time_stride: int
) -> Iterator[Compared]:
    """At most `most` tiles of some rows and their copies, as training compares them.

    `first` is the number of the first batch: no training step and no held-out batch may have it.
    """
    background = Background()
    order = np.random.default_rng([seed, 5]).permutation(np.tile(rows, _TIMES))[:most]
    parts = list(batches(order, _BATCH))
    for number, batch in enumerate(feed.batches(parts, first, compares=True)):
        other = batch.other
        if other is None:
            raise ValueError("a batch has no other view")
        mixed = np.asarray(background(other.tiles, Draws(seed, number)))
        begins = time_stride * np.arange(np.asarray(batch.edges).shape[1] - 1)
        heard, copied = (
            begins < np.asarray(side.valid_frames)[:, None] for side in (batch, other)
        )  # (n, columns)
        columns = columns_at(middles_of(batch.edges), other.edges)
        shown = heard & (np.asarray(values_at(copied.astype(np.float32), columns)) > 0)
        yield Compared(
            tiles=np.asarray(batch.tiles),
            valid_frames=np.asarray(batch.valid_frames),
            copies=mixed,
            copied_frames=np.asarray(other.valid_frames),
            columns=np.clip(np.asarray(columns), 0, len(begins) - 1),
            kept=shown[..., None] & (np.asarray(batch.token_weights) == 1),
        )
