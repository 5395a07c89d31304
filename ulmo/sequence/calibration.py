"""How often a score as high as this would be found where nothing repeats.

The highest of many chance scores has an exponential tail (Karlin and Altschul 1990, "Methods for
assessing the statistical significance of molecular sequence features", equation 4). Decoys, random
streams with the transitions of the recording's ids, tell which evidence is usual for chance. The
tail is fitted to the quiet stretches of the recording itself, those of its background: they have
the correlations of several columns and bands that decoys lack.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Mask
from ulmo.sequence.best import NONE, Matches

# Bits that are added to the spread of a window's evidence, so that windows with hardly any tokens
# do not look significant. 8 to 16 find the same in noise of three kinds.
_SPREAD_BITS = 16.0
_DECOYS = 8192  # columns of decoys, at most
_TOP = 0.2  # of quiet blocks, to which a tail is fitted
_ENOUGH = 10  # quiet blocks to fit a tail to
_PRIOR = 2  # blocks with the usual scale, added to those of the top
_LEAST_SCALE = 0.05
# Of recordings without enough quiet blocks: scales in noise of three kinds are 0.3 to 1.
_USUAL_LEAST, _USUAL_SCALE = 0.8, 0.6


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
    none = matches.units == NONE
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


def fit_tails(
    scores: Sequence[NDArray[np.float64]],
    lengths: Sequence[int],
    valid: Sequence[Mask],
    quiet: Mask,
    *,
    hours: float,
) -> list[Tail]:
    """The tail of chance scores for each length of window, from blocks of quiet columns.

    scores, valid: (windows,) of each length: windows that are not valid cannot be found.
    quiet: (time,), whether a column is background. hours: of the stream.

    A length with too few quiet blocks has the tail of the length before, or the usual one.
    """
    tails: list[Tail] = []
    loud = np.concatenate([[0], np.cumsum(~quiet)])
    for score, length, can in zip(scores, lengths, valid, strict=True):
        count = len(score) // length  # windows that begin in one block count as one
        highest = np.where(can, score, -np.inf)[: count * length].reshape(count, length).max(axis=1)
        first = length * np.arange(count)
        end = np.minimum(first + 2 * length - 1, len(quiet))
        some = np.isfinite(highest)
        often = max(int(some.sum()), 1) / hours
        chance = highest[some & (loud[end] == loud[first])]
        if len(chance) >= _ENOUGH:
            least = float(np.quantile(chance, 1 - _TOP))
            above = chance[chance > least] - least
            share = max(len(above), 1) / len(chance)
            scale = (float(above.sum()) + _PRIOR * _USUAL_SCALE) / (len(above) + _PRIOR)
            tails.append(Tail(least, share * often, max(scale, _LEAST_SCALE)))
        else:
            usual = tails[-1] if tails else Tail(_USUAL_LEAST, 0.0, _USUAL_SCALE)
            tails.append(usual._replace(often=_TOP * often))
    return tails
