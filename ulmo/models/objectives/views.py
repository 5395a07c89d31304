"""Changes made to a view in the batch, in addition to those of ulmo-prep --views."""

import math
from typing import Any, NamedTuple

from keras import ops

from ulmo.models.draws import Draws

# Natural logarithm of power per standard deviation of tiles: 14 dB in field recordings.
NEPERS = 14 * math.log(10) / 10


class Background(NamedTuple):
    """Mixes each tile with another of the batch, as powers add: log-mixup-exp.

    Niizumi et al. 2021 (arXiv:2103.06695), section III-B: log((1 - r) exp(x) + r exp(y)), with r
    drawn evenly for each tile, up to 0.4: of two equally loud tiles the background is fainter by at
    least 1.8 dB. `least` keeps the logarithm finite: the background is fainter by at most 30 dB.
    """

    least: float = 0.001
    most: float = 0.4

    def __call__(self, tiles: Any, draws: Draws) -> Any:
        """Return tiles (B, M, frames, 1) with a background; in a batch of one it is unchanged."""
        batch = ops.shape(tiles)[0]
        ratio = draws.uniform((batch, 1, 1, 1), self.least, self.most)
        others = draws.uniform((), 1, ops.cast(batch, "float32"))
        which = (ops.arange(batch) + ops.cast(ops.floor(others), "int32")) % batch
        sound = NEPERS * tiles + ops.log(1.0 - ratio)
        background = NEPERS * ops.take(tiles, which, axis=0) + ops.log(ratio)
        return ops.logaddexp(sound, background) / NEPERS


BACKGROUND = Background()
