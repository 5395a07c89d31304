"""A recording goes on: tokens drawn one by one from what the token model expects next.

columns so far -> Scorer -> probabilities of the next token -> a draw -> it is part of the past
"""

from collections.abc import Iterator

import numpy as np

from ulmo.arrays import Array, Ids
from ulmo.sequence.scoring import Scorer, ScoringParts


def continue_ids(
    parts: ScoringParts, ids: Ids, *, temperature: float = 1.0, seed: int = 0
) -> Iterator[Ids]:
    """Yield columns (bands,) that follow ids (columns, bands), without end.

    temperature: logarithms of the probabilities are divided by it: below 1, what is likely is drawn
        more often than the model expects it; 0 draws the likeliest each time.
    seed: of the draws. The same seed, ids and model give the same columns.

    Each token is drawn from the distribution by which it would be scored, and then is remembered as
    a scored token is: it can be copied, and the mixture follows it. No special token is drawn.
    """
    scorer, rng = Scorer(parts, short=False), np.random.default_rng(seed)
    scorer.push(ids)
    while True:
        column = np.empty(ids.shape[1], np.int32)
        for band in range(len(column)):
            logs = scorer.following(column[:band])
            column[band] = _draw(logs, temperature, float(rng.random()))
        scorer.push(column[None])
        yield column


def _draw(logs: Array, temperature: float, place: float) -> int:
    """The id whose share of the probabilities, laid one after the other, holds a place in [0, 1).

    logs: (CB,) log-probabilities.
    """
    if temperature == 0:
        return int(logs.argmax())
    below = logs.astype(np.float64) - logs.max()
    with np.errstate(over="ignore"):  # of a tiny temperature: -inf, which has no share
        ends = np.cumsum(np.exp(below / temperature))
    return int(np.searchsorted(ends, place * ends[-1], side="right"))
