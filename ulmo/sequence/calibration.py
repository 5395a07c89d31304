"""How often a score as high as this would be found where nothing repeats.

The highest of many chance scores has an exponential tail (Karlin and Altschul 1990, "Methods for
assessing the statistical significance of molecular sequence features", equation 4). Decoys, random
streams with the transitions of the recording's ids, tell which evidence is usual for chance. The
scale of the tail is fitted to the quiet stretches of the recording itself: they have the
correlations of several columns and bands that decoys lack.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.sequence.search import Matches

# Bits that are added to the spread of a window's evidence, so that windows with hardly any tokens
# do not look significant. 8 to 16 find the same in noise of three kinds.
_SPREAD_BITS = 16.0
_DECOYS = 8192  # columns of decoys, at most
_TOP = 0.2  # of quiet blocks, to which a tail is fitted
_ENOUGH = 100  # quiet blocks to fit a tail to
_ROUNDS = 3  # of dividing quiet from loud
# Scales of the tail in noise of three kinds are 0.3 to 0.6; those of recordings full of sounds that
# repeat are 1 to 3, as they have no quiet blocks. The usual ones are for those.
_LEAST_SCALE, _USUAL, _MOST_SCALE = 0.05, 0.45, 0.8
_USUAL_LEAST = 0.9


class Tail(NamedTuple):
    """Chance scores above `least` occur `often` times an hour; the higher, the rarer."""

    least: float
    often: float
    scale: float  # by which the rate falls to 1/e

    def rate(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """False alarms an hour with scores as high, or higher."""
        above = np.maximum((scores - self.least) / self.scale, 0)
        rates: NDArray[np.float64] = self.often * np.exp(-np.minimum(above, 700))
        return rates

    def score(self, rate: float) -> float:
        """The score that has this rate, or the least one."""
        return self.least + self.scale * max(math.log(self.often / rate), 0.0)


def make_decoys(rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Columns (n, bands), each band of which follows the order-1 model of the stream's own ids."""
    count = min(len(rows), _DECOYS)
    draws = rng.random((count, rows.shape[1]))
    decoys = np.empty((count, rows.shape[1]), np.int64)
    for band, ids in enumerate(rows.T):
        before = np.roll(ids, 1)  # the first follows the last, so that each id is followed
        order = np.argsort(before, kind="stable")
        first = np.searchsorted(before[order], ids, side="left")
        width = np.searchsorted(before[order], ids, side="right") - first
        place = int(rng.integers(len(ids)))
        for time in range(count):
            decoys[time, band] = ids[place]
            place = order[first[place] + int(draws[time, band] * width[place])]
    return decoys


def surprises(matches: Matches, unit: float) -> NDArray[np.float64]:
    """(windows, best): how far each match is above what is usual, in spreads of the window.

    Usual is the mean evidence with the whole stream, or around the match if that is more: a hiss
    that comes and goes is like itself everywhere. -1 where there is no match.
    """
    usual = np.maximum(matches.mean[:, None], matches.usual)
    spread = matches.spread[:, None] + _SPREAD_BITS / unit
    none = matches.units <= np.iinfo(np.int16).min
    found: NDArray[np.float64] = np.where(none, -1.0, (matches.units - usual) / spread)
    return found


def support(found: NDArray[np.float64], usual: NDArray[np.float64]) -> NDArray[np.float64]:
    """One score (windows,) of the best matches (windows, best): the most that some say together.

    usual: (best,), that of decoys. What repeats often is more than its best match: of k matches,
    the sum over the root of k.
    """
    above = np.maximum(found - usual, -0.5)
    roots = np.sqrt(np.arange(1, above.shape[1] + 1))
    scores: NDArray[np.float64] = (np.cumsum(above, axis=1) / roots).max(axis=1)
    return scores


def fit_tail(scores: NDArray[np.float64], *, block: int, blocks_around: int, hours: float) -> Tail:
    """The tail of chance scores of a stream, from its quiet blocks; `_USUAL` if it has too few.

    scores: (windows,) of the stream, which lasts `hours`. block: windows that overlap so much that
    they count as one. blocks_around: those around a loud block that may hold a part of its sound.
    """
    highest = _highest(scores, block)
    blocks = len(highest) / hours
    tail = Tail(float(np.quantile(highest, 1 - _TOP)), _TOP * blocks, _USUAL)
    tail = tail._replace(least=min(tail.least, _USUAL_LEAST))
    for _ in range(_ROUNDS):
        limit = tail.score(1 / (2 * hours))
        loud = (highest > limit).astype(np.float64)
        near = np.convolve(loud, np.ones(2 * blocks_around + 1))[blocks_around:] > 0
        quiet = highest[~near[: len(highest)]]
        found = _exponential(quiet, limit, blocks) if len(quiet) >= _ENOUGH else None
        if found is None:
            break
        tail = found
    return tail


def _highest(scores: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """The highest score of each block; all blocks are whole, but for a stream without one."""
    count = len(scores) // block
    if count == 0:
        return np.array([scores.max()])
    highest: NDArray[np.float64] = scores[: count * block].reshape(count, block).max(axis=1)
    return highest


def _exponential(highest: NDArray[np.float64], limit: float, blocks: float) -> Tail | None:
    """A tail fitted to the top of blocks, none of which is above a limit.

    None if they fall off so slowly that they are not all by chance.
    """
    least = float(np.quantile(highest, 1 - _TOP))
    above = highest[highest > least] - least
    mean = float(above.mean()) if len(above) else 0.0
    scale = max(_untruncated(mean, limit - least), _LEAST_SCALE)
    return Tail(least, _TOP * blocks, scale) if scale <= _MOST_SCALE else None


def _untruncated(mean: float, reach: float) -> float:
    """Scale of an exponential law whose values up to `reach` have this mean: by bisection."""
    if not math.isfinite(reach):
        return mean
    low, high = 0.0, reach
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _truncated(middle, reach) < mean else (low, middle)
    return high


def _truncated(scale: float, reach: float) -> float:
    """Mean of an exponential law up to `reach`."""
    return scale - reach / math.expm1(min(reach / scale, 700)) if scale > 0 else 0.0
