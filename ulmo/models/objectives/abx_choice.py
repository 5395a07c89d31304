"""The choice task of the seed: which of two moments is the one heard through another front end?

X is a moment through the first front end, A the same moment and B another through the second.

The test that phoneticians call ABX (Schatz et al. 2013) as a task to learn from; a choice of one
among several by their similarity is InfoNCE (van den Oord et al. 2018, arXiv:1807.03748).
"""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from ulmo.config import ModelSettings, UserError
from ulmo.models.draws import Draws
from ulmo.models.objectives.base import Encoded, Objective, Outcome, Side
from ulmo.models.objectives.info_nce import FAR, TEMPERATURE, directions
from ulmo.models.objectives.moments import (
    columns_at,
    columns_of,
    drawn,
    jittered,
    mean_of,
    times_of,
    values_at,
)
from ulmo.models.objectives.projector import projector
from ulmo.models.vqvae import VQVAE

FRONTENDS = 6
"""STFT, mel, CQT, CWT, DWT and WPT, at most."""
TIE = 1e-6
"""Cosines that differ by less are equal."""


class Triples(NamedTuple):
    """X, A and its Bs by their places; A is the column of X in the second tile."""

    tile: Any
    """(A,) int32."""
    column: Any
    """(A,) int32, of X and of A."""
    others: Any
    """(A, K) int32: columns of B."""
    there: Any
    """(A, K) bool: False where a tile has fewer than K, and the nearest B stands in their place."""


class ABXChoice(Objective):
    """Chooses A before B, by `Batch.pair`: tiles through two front ends, the encoder for all.

    The loss is the cross-entropy of choosing A among A and `others` Bs by their cosine with X, over
    `temperature`; with one B it is -log sigmoid((s(X, A) - s(X, B)) / temperature). B is of the
    same tile, so that neither speaker nor room tells it from A, and near in time: from `nearest`
    to `farthest` frames away, and never in X's own column. Silence is as rare among Bs as among Xs.

    `anchors` = 256 Xs a batch, as in SimCLR. `others` = 8 of about 50 that are as near,
    so that a close one is mostly among them.
    `temperature` = 0.1 as in SimCLR. `nearest` = 8 frames, 80 ms, about a phone; `farthest` = 100,
    a second.
    """

    wants = "frontends"

    def __init__(
        self,
        settings: ModelSettings,
        seed: int = 0,
        *,
        anchors: int = 256,
        others: int = 8,
        temperature: float = TEMPERATURE,
        nearest: int = 8,
        farthest: int = 100,
        hidden: int = 256,
        outputs: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(settings, seed, **kwargs)
        self.anchors = anchors
        self.temperature = temperature
        self.others = others
        self.least = max(1, -(-nearest // settings.time_stride))
        if self.least >= settings.columns:
            raise UserError(
                f"abx_choice has no other moment: a tile has {settings.columns} columns: set a "
                "smaller time_stride"
            )
        self.most = max(self.least, farthest // settings.time_stride)
        self.hidden = hidden
        self.outputs = outputs

    def begin(self, model: VQVAE) -> None:
        """Make the head: bands of one front end are not those of another, so it joins them."""
        inputs = self.settings.bands * self.settings.embedding_dim
        self.head = projector(inputs, self.hidden, self.outputs, self.seed)

    def measure(self, encoded: Encoded) -> Outcome:
        """The score is the share of right choices between A and one B; a tie is half of one."""
        first, second = pair_of(encoded)
        latents = [encoded.model.encode(side.tiles, side.valid_frames) for side in (first, second)]
        triples = self.triples(encoded, latents[0])
        x, a, b = self._projected(latents, triples)
        chosen = choose_a(x, a, b, triples.there, self.temperature)
        tally = tallied(
            ops.take(first.frontend, triples.tile),
            ops.take(second.frontend, triples.tile),
            chosen.lead,
            triples.there,
        )
        choices = ops.sum(tally[..., 1])
        share = ops.sum(tally[..., 0]) / ops.maximum(choices, 1.0)
        return Outcome(
            loss=chosen.loss,
            score=ops.where(choices > 0, share, 0.5),
            chance=ops.full((), 0.5),
            tally=tally,
        )

    def triples(self, encoded: Encoded, latents: Any) -> Triples:
        """Xs and Bs, drawn by the weights of their columns; X has one B at least."""
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
        """Vectors of X and A, (A, outputs), and of the Bs, (A, K, outputs)."""
        tile, column, others, _ = triples
        x, a = (columns_of(one, tile, column) for one in latents)
        b = columns_of(latents[1], tile[:, None], others)
        count, width = ops.shape(x)
        every = ops.concatenate([x, a, ops.reshape(b, (-1, width))], axis=0)
        vectors = self.head(every)
        shape = (count, ops.shape(others)[1], self.outputs)
        return vectors[:count], vectors[count : 2 * count], ops.reshape(vectors[2 * count :], shape)

    def _weights(self, encoded: Encoded, latents: Any) -> Any:
        """(B, columns): the mean of the tokens of the batch's tiles then, of what both show."""
        model, batch, pair = encoded.model, encoded.batch, pair_of(encoded)
        stride = model.encoder.settings.time_stride
        shares = [model.inside(latents, side.valid_frames)[:, :, 0] for side in pair]
        times = times_of(ops.shape(latents)[1], pair[0].pace, stride)
        told = ops.mean(ops.cast(batch.token_weights, "float32"), axis=-1)
        return values_at(told, columns_at(times, batch.pace, stride)) * ops.minimum(*shares)

    def report(self, tally: Any) -> dict[str, float]:
        """Share of right choices by the numbers of first and second front end: `0_1`."""
        right, choices = np.moveaxis(np.asarray(tally, np.float64), -1, 0)
        pairs = np.argwhere(choices > 0)
        return {f"{i}_{j}": float(right[i, j] / choices[i, j]) for i, j in pairs}


class Chosen(NamedTuple):
    """How A fared against its Bs."""

    loss: Any
    """Scalar; 0 of no Xs."""
    lead: Any
    """(A, K): by how much the cosine of X and A is the larger one."""


def choose_a(x: Any, a: Any, b: Any, there: Any, temperature: float) -> Chosen:
    """Cross-entropy of choosing A for X, (A, D), among A and the Bs (A, K, D) that are `there`."""
    x, a, b = (directions(vectors) for vectors in (x, a, b))
    right = ops.sum(x * a, axis=-1, keepdims=True)
    wrong = ops.sum(x[:, None] * b, axis=-1)
    rivals = ops.where(there, wrong / temperature, FAR)
    logits = ops.concatenate([right / temperature, rivals], axis=1)
    loss = mean_of(ops.logsumexp(logits, axis=1) - logits[:, 0])
    return Chosen(loss, right - wrong)


def tallied(first: Any, second: Any, lead: Any, there: Any) -> Any:
    """(6, 6, 2): right choices, and choices, by front ends; `lead` (A, K) of A before B.

    Which ones they are is told by `first` and `second` (A,); `there` (A, K) says which count.
    """
    won = ops.cast(lead > TIE, "float32") + 0.5 * ops.cast(ops.absolute(lead) <= TIE, "float32")
    counted = ops.cast(there, "float32")
    rows = ops.stack([ops.sum(won * counted, axis=1), ops.sum(counted, axis=1)], axis=-1)
    pairs = ops.one_hot(first * FRONTENDS + second, FRONTENDS**2, dtype="float32")
    return ops.reshape(ops.matmul(ops.transpose(pairs), rows), (FRONTENDS, FRONTENDS, 2))


def pair_of(encoded: Encoded) -> tuple[Side, Side]:
    """The front ends' tiles of a batch; ValueError where there are none."""
    if encoded.batch.pair is None:
        raise ValueError("the batch has no pair: the objective wants front ends")
    return encoded.batch.pair
