"""How often a score as high as this would be found where nothing repeats.

Scores above a high one have a generalised Pareto distribution (Pickands 1975, "Statistical
inference using extreme order statistics", theorem 7): an exponential tail, as that of local
alignments (Karlin and Altschul 1990, "Methods for assessing the statistical significance of
molecular sequence features", equation 4), or a heavier or lighter one. Decoys, random streams with
the transitions of the recording's ids, tell which evidence is usual for chance. The tail is fitted
to the quiet stretches of the recording itself, those of its background: they have the correlations
of several columns and bands that decoys lack.
"""

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
# The tail is fitted to this share of the quiet blocks, but to at least _LEAST_TOP of them, if these
# are no more than _MOST_TOP of all.
_TOP, _LEAST_TOP, _MOST_TOP = 0.05, 40, 0.2
_ENOUGH = 10  # quiet blocks to fit a tail to
_PRIOR = 2  # blocks with the usual scale, added to those of the top
_LEAST_SCALE = 0.05
# Blocks of an exponential tail, which are added to those that tell the shape: it takes many.
_SHAPE_PRIOR = 100
_SHAPES = (-0.25, 0.2)
_REACH = 3.0  # scales up to which the shape holds, at most: a lighter tail does not end
# Of recordings without enough quiet blocks: scales in noise of three kinds are 0.3 to 1.
_USUAL_LEAST, _USUAL_SCALE = 0.8, 0.6


class Tail(NamedTuple):
    """Chance scores above `least` occur `often` times an hour; the higher, the rarer.

    From `least` to `reach` above it they have a generalised Pareto distribution. Below and above
    that, the tail is exponential, with its slope at that end. No score occurs more than `most`
    times an hour.
    """

    least: float
    often: float
    most: float
    scale: float  # by which the rate falls to 1/e, at `least`
    shape: float = 0.0  # 0: exponential; above: heavier; below: lighter
    reach: float = 0.0

    def rate(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """False alarms an hour with scores as high, or higher."""
        above = scores - self.least
        near = np.clip(above, 0, self.reach)
        slope = self.scale + self.shape * near  # the scale there
        falls = np.log(slope / self.scale) / self.shape if self.shape else near / self.scale
        falls = falls + (above - near) / slope
        rates = self.often * np.exp(-np.clip(falls, -700, 700))
        return np.minimum(rates, self.most)

    @classmethod
    def of(cls, chance: NDArray[np.float64], most: float) -> "Tail":
        """The tail of chance scores (n,), of which `most` occur in an hour."""
        top = min(max(_TOP, _LEAST_TOP / len(chance)), _MOST_TOP)
        least = float(np.quantile(chance, 1 - top))
        above = np.sort(chance[chance > least]) - least
        share = max(len(above), 1) / len(chance)
        shape = _shape(above)
        total = float(above.sum()) * (1 - shape)
        scale = max((total + _PRIOR * _USUAL_SCALE) / (len(above) + _PRIOR), _LEAST_SCALE)
        reach = min(float(above[-1]), _REACH * scale) if len(above) else 0.0
        return cls(least, share * most, most, scale, shape, reach)


def _shape(above: NDArray[np.float64]) -> float:
    """The shape of a generalised Pareto distribution, from sorted values (n,) above 0.

    By probability-weighted moments (Hosking and Wallis 1987, "Parameter and quantile estimation for
    the generalized Pareto distribution", equation 4, with the other sign), drawn towards 0.
    """
    n = len(above)
    if not n:
        return 0.0
    mean = float(above.mean())
    weighted = float((above * (1 - (np.arange(1, n + 1) - 0.35) / n)).mean())
    if mean <= 2 * weighted:
        return _SHAPES[0] * n / (n + _SHAPE_PRIOR)
    shape = (2 - mean / (mean - 2 * weighted)) * n / (n + _SHAPE_PRIOR)
    return min(max(shape, _SHAPES[0]), _SHAPES[1])


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
        most = max(int(some.sum()), 1) / hours
        chance = highest[some & (loud[end] == loud[first])]
        if len(chance) >= _ENOUGH:
            tails.append(Tail.of(chance, most))
        else:
            usual = tails[-1] if tails else Tail(_USUAL_LEAST, _MOST_TOP, 1.0, _USUAL_SCALE)
            tails.append(usual._replace(often=usual.often / usual.most * most, most=most))
    return tails
