"""ABX as a training task: find a moment again after it went through another front end.

X is a moment through the first front end; A is the same moment, and B another moment, through the
second. The ABX test is that of phoneticians (Schatz et al. 2013); choosing one of several vectors
by similarity is InfoNCE (van den Oord et al. 2018, arXiv:1807.03748).
"""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from ulmo.config import MOST_BESIDE, OBJECTIVE_TRAITS, ModelSettings
from ulmo.models.draws import Draws
from ulmo.models.objectives.base import EncodedBatch, Objective, Side, TaskResult
from ulmo.models.objectives.info_nce import FAR, TEMPERATURE, directions
from ulmo.models.objectives.moments import (
    columns_at,
    columns_of,
    drawn,
    jittered,
    mean_of,
    middles_of,
    values_at,
)
from ulmo.models.objectives.projector import OUTPUTS, projector
from ulmo.models.vqvae import VQVAE

_SOURCES = 1 + MOST_BESIDE  # folders of tiles, at most: TILES_DIR, and each --beside
_TIE = 1e-6  # cosines that differ by less count as equal


class Triples(NamedTuple):
    """Places of X, A and the Bs; A is in the column of X, in the second tile."""

    tile: Any  # (A,) int32
    column: Any  # (A,) int32, of X and of A
    others: Any  # (A, K) int32: columns of the Bs
    there: Any  # (A, K) bool: False where a tile has fewer than K Bs, and the nearest B fills in


class ABXChoice(Objective):
    """Learns to prefer A to B; uses `TrainingBatch.pair` and one encoder for all front ends.

    The loss is the cross-entropy of choosing A among A and `others` Bs by their cosine with X, over
    TEMPERATURE; with one B it is -log sigmoid((s(X, A) - s(X, B)) / TEMPERATURE). B comes from
    the same tile, so speaker and room do not distinguish it from A. It is near in time: `nearest`
    to `farthest` frames away, and never in X's own column. Silence is as rare among Bs as among Xs.
    """

    traits = OBJECTIVE_TRAITS["abx_choice"]
    anchors = 256  # Xs per batch, as in SimCLR
    others = 8  # Bs per X, of about 50 candidates, so that a close one is usually among them
    nearest = 8  # frames: 80 ms, about a phone
    farthest = 100  # frames: a second

    def __init__(self, settings: ModelSettings, seed: int = 0) -> None:
        super().__init__(settings, seed)
        self.least = max(1, -(-self.nearest // settings.time_stride))
        self.fewest_columns = self.least + 1  # else a tile has no other moment to choose from
        self.most = max(self.least, self.farthest // settings.time_stride)

    def begin(self, model: VQVAE) -> None:
        """Create the head. It joins all bands, because the bands of front ends differ."""
        self.head = projector(self.settings.column_length, self.seed)

    def measure(self, encoded: EncodedBatch) -> TaskResult:
        """Score: share of right choices between A and one B; a tie counts half."""
        first, second = _pair_of(encoded)
        latents = [encoded.model.encode(side.tiles, side.valid_frames) for side in (first, second)]
        triples = self.triples(encoded, latents[0])
        x, a, b = self._projected(latents, triples)
        chosen = choose_a(x, a, b, triples.there)
        tally = tallied(
            ops.take(first.frontend, triples.tile),
            ops.take(second.frontend, triples.tile),
            chosen.lead,
            triples.there,
        )
        choices = ops.sum(tally[..., 1])
        share = ops.sum(tally[..., 0]) / ops.maximum(choices, 1.0)
        return TaskResult(
            loss=chosen.loss,
            score=ops.where(choices > 0, share, 0.5),
            chance=ops.full((), 0.5),
            tally=tally,
        )

    def triples(self, encoded: EncodedBatch, latents: Any) -> Triples:
        """Draw Xs and Bs by the weights of their columns; each X has at least one B."""
        draws = Draws(self.seed, encoded.step)
        weights = self._weights(encoded, latents)  # (B, columns)
        columns = ops.shape(weights)[1]
        place = ops.arange(columns)
        distance = ops.absolute(place[:, None] - place[None])
        near = ops.logical_and(distance >= self.least, distance <= self.most)
        company = ops.matmul(weights, ops.cast(near, "float32"))
        chosen = drawn(
            ops.reshape(ops.where(company > 0, weights, 0.0), (-1,)), self.anchors, draws
        )
        tile, column = chosen // columns, chosen % columns
        beside = ops.where(ops.take(near, column, axis=0), ops.take(weights, tile, axis=0), 0.0)
        ranked = ops.top_k(jittered(beside, draws), ops.minimum(self.others, columns))
        there = ops.isfinite(ranked.values)
        return Triples(tile, column, ops.where(there, ranked.indices, ranked.indices[:, :1]), there)

    def _projected(self, latents: list[Any], triples: Triples) -> tuple[Any, Any, Any]:
        """Vectors of X and A, (A, OUTPUTS), and of the Bs, (A, K, OUTPUTS)."""
        tile, column, others, _ = triples
        x, a = (columns_of(one, tile, column) for one in latents)
        b = columns_of(latents[1], tile[:, None], others)
        count, width = ops.shape(x)
        vectors = self.head(ops.concatenate([x, a, ops.reshape(b, (-1, width))], axis=0))
        x, a, b = vectors[:count], vectors[count : 2 * count], vectors[2 * count :]
        return x, a, ops.reshape(b, (count, ops.shape(others)[1], OUTPUTS))

    def _weights(self, encoded: EncodedBatch, latents: Any) -> Any:
        """(B, columns): mean weight of the tokens at that time, where both tiles show sound."""
        model, batch, pair = encoded.model, encoded.batch, _pair_of(encoded)
        shares = [model.inside(latents, side.valid_frames)[:, :, 0] for side in pair]
        weights = ops.mean(ops.cast(batch.token_weights, "float32"), axis=-1)
        found = columns_at(middles_of(pair[0].edges), batch.edges)
        return values_at(weights, found) * ops.minimum(*shares)

    def report(self, tally: Any) -> dict[str, float]:
        """Share of right choices, by the numbers of the two sources: `0_1`."""
        right, choices = np.moveaxis(np.asarray(tally, np.float64), -1, 0)
        pairs = np.argwhere(choices > 0)
        return {f"{i}_{j}": float(right[i, j] / choices[i, j]) for i, j in pairs}


class _Chosen(NamedTuple):
    """Result of choosing between A and its Bs."""

    loss: Any  # scalar; 0 if there are no Xs
    lead: Any  # (A, K): cosine of X and A minus cosine of X and B


def choose_a(x: Any, a: Any, b: Any, there: Any, temperature: float = TEMPERATURE) -> _Chosen:
    """Cross-entropy of choosing A for X, (A, D), among A and the Bs (A, K, D) that are `there`."""
    x, a, b = (directions(vectors) for vectors in (x, a, b))
    right = ops.sum(x * a, axis=-1, keepdims=True)
    wrong = ops.sum(x[:, None] * b, axis=-1)
    rivals = ops.where(there, wrong / temperature, FAR)
    logits = ops.concatenate([right / temperature, rivals], axis=1)
    loss = mean_of(ops.logsumexp(logits, axis=1) - logits[:, 0])
    return _Chosen(loss, right - wrong)


def tallied(first: Any, second: Any, lead: Any, there: Any) -> Any:
    """(_SOURCES, _SOURCES, 2): right choices and all choices, by the sources of X and of A and B.

    `first` and `second` (A,) are the numbers of the sources, below _SOURCES. `lead` (A, K) is the
    cosine of X and A minus that of X and B; `there` (A, K) marks the choices that count.
    """
    won = ops.cast(lead > _TIE, "float32") + 0.5 * ops.cast(ops.absolute(lead) <= _TIE, "float32")
    counted = ops.cast(there, "float32")
    rows = ops.stack([ops.sum(won * counted, axis=1), ops.sum(counted, axis=1)], axis=-1)
    pairs = ops.one_hot(first * _SOURCES + second, _SOURCES**2, dtype="float32")
    return ops.reshape(ops.matmul(ops.transpose(pairs), rows), (_SOURCES, _SOURCES, 2))


def _pair_of(encoded: EncodedBatch) -> tuple[Side, Side]:
    """The two front ends' tiles of a batch; ValueError if there are none."""
    if encoded.batch.pair is None:
        raise ValueError("the batch has no pair: the objective wants front ends")
    return encoded.batch.pair
