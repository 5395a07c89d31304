"""Bits of tokens, column by column, as they come: the network, the past and habits, mixed.

    columns -> chunks -> network, copies, habits -> mixture -> bits

Columns are computed in chunks on a grid that begins with the recording. How they arrive, in how
many pieces, does not change a bit of their scores.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Ids, Indices
from ulmo.config import JobError
from ulmo.config.token_model import CHUNK, GUESSES, TokenModelSettings
from ulmo.sequence.copying import Copies, CopyTables, Past
from ulmo.sequence.habits import Habits
from ulmo.sequence.mixture import Mixture, soften
from ulmo.sequence.network import Network, State
from ulmo.vocabulary import Vocabulary

SHORT = 1024  # tokens of the short past
_USUAL = 1024  # columns before a chunk, of which the median is what is usual
_BITS = np.float32(1 / np.log(2))


class TokenScores(NamedTuple):
    """Scores of some columns. NaN stands for what a special token has none of."""

    bits: Array  # (columns, bands), with all of the past
    bits_short: Array  # (columns, bands): copies and habits of the last SHORT tokens alone
    copied_from: Indices  # (columns,): the column it is a copy of, if that told more; -1: of none
    # (columns,): bits of the column above the median of the 1,024 columns before its chunk.
    surprise: Array

    @property
    def column_bits(self) -> NDArray[np.float64]:
        """Bits of each column, its tokens together; NaN if all of them are special."""
        return _column_sums(self.bits)

    @property
    def column_bits_short(self) -> NDArray[np.float64]:
        """The same of `bits_short`."""
        return _column_sums(self.bits_short)

    @property
    def gain(self) -> NDArray[np.float64]:
        """(columns,): the bits that the longer memory saves; NaN as `column_bits`."""
        return self.column_bits_short - self.column_bits

    def at(self, columns: Indices | slice) -> "TokenScores":
        """Those of some columns."""
        return TokenScores(
            self.bits[columns],
            self.bits_short[columns],
            self.copied_from[columns],
            self.surprise[columns],
        )

    @classmethod
    def joined(cls, parts: list["TokenScores"], bands: int) -> "TokenScores":
        """Scores of columns in a row."""
        none = np.empty((0, bands), np.float32)
        empty = cls(none, none, np.empty(0, np.int64), np.empty(0, np.float32))
        return cls(*(np.concatenate(each) for each in zip(empty, *parts, strict=True)))


def _column_sums(bits: Array) -> NDArray[np.float64]:
    """Sums (columns,) of bits (columns, bands) that are there; NaN if none is."""
    has = np.isfinite(bits)
    sums = np.where(has, bits, 0).sum(axis=1, dtype=np.float64)
    return np.where(has.any(axis=1), sums, np.nan)


class ScoringParts(NamedTuple):
    """What scores of any recording are made with."""

    network: Network
    tables: CopyTables
    usual: Array  # (bands, CB): the probability of each id in the training tokens
    weights: NDArray[np.float64]  # (gates, bands, guesses) that a mixture begins with

    @classmethod
    def of(cls, settings: TokenModelSettings, tensors: Mapping[str, Array]) -> "ScoringParts":
        """From the weights of the network, and `usual` (log2), `scores` and `mixture`."""
        usual = np.exp2(tensors["usual"].astype(np.float64))
        usual = (usual / usual.sum(axis=1, keepdims=True)).astype(np.float32)
        tables = CopyTables.of(tensors["codes"], tensors["scores"], usual)
        network = Network(settings, tensors)
        return cls(network, tables, usual, tensors["mixture"].astype(np.float64))


class _View:
    """The mixture with one length of the past."""

    def __init__(
        self, parts: ScoringParts, columns: int | None, mixture: Mixture | None = None
    ) -> None:
        self.past = Past(parts.tables, columns=columns)
        self.habits = Habits(parts.usual, columns=columns)
        self.mixture = mixture or Mixture(parts.weights)

    def score(self, network: Array, ids: Ids) -> tuple[Array, Indices, float]:
        """Nats (CHUNK, bands); columns that predicted more than the network (-1: none); its nats.

        network: (bands, CHUNK, CB), what it guesses, softened.
        """
        copies = self.past.recall(ids)
        mixed = self.mixture.mix(self._guesses(network, copies, ids), ids, copies.gates)
        self.past.add(ids)
        self.habits.add(ids)
        alone, copied = mixed.single[0].sum(axis=1), mixed.single[1].sum(axis=1)
        places = np.where(copied < alone, copies.places, -1)
        return mixed.nats, places, float(alone.sum(dtype=np.float64))

    def distribution(self, network: Array, ids: Ids, band: int) -> Array:
        """Log-probabilities (CHUNK, CB) of a band of a chunk; nothing is learned."""
        copies = self.past.recall(ids)
        logs = next(islice(self._guesses(network, copies, ids), band, None))
        return self.mixture.distribution(band, logs, copies.gates)

    def _guesses(self, network: Array, copies: Copies, ids: Ids) -> Iterator[Array]:
        """What each part of the model guesses, softened: of each band (guesses, CHUNK, CB)."""
        every = zip(network, copies.probabilities, self.habits.guess(ids), strict=True)
        for softened, copied, (alone, pairs) in every:
            logs = np.empty((GUESSES, *copied.shape), np.float32)
            logs[0], logs[2] = softened, soften(alone)
            soften(copied, out=logs[1])
            soften(pairs, out=logs[3:])
            yield logs


class Scorer:
    """Scores the columns of one recording in their order."""

    def __init__(
        self, parts: ScoringParts, *, short: bool = True, mixture: Mixture | None = None
    ) -> None:
        """A scorer before the first column.

        short: whether bits of a short past are wanted; without, they are NaN.
        mixture: goes on from other recordings, to be fitted; None: a new one for each recording.
        """
        self._parts, self._short, self._mixture = parts, short, mixture
        self.tokens = 0  # that were scored
        self.network_bits = 0.0  # of these tokens, under the network alone
        self._bands = parts.network.settings.bands
        self._vocabulary = Vocabulary(parts.network.settings.codebook_size)
        self._held = np.empty((0, self._bands), np.int32)  # columns of a chunk that has not ended
        self._done = 0  # columns before these, in the input
        self._begin()

    def _begin(self) -> None:
        self._first = self._done  # where this recording begins
        self._state = self._parts.network.begin()
        self._long = _View(self._parts, None, self._mixture)
        columns = max(SHORT // self._bands // CHUNK, 1) * CHUNK
        self._near = _View(self._parts, columns) if self._short else None
        self._recent = np.empty(0, np.float32)  # bits of the columns that tell what is usual

    def push(self, ids: Ids) -> TokenScores:
        """Scores of the columns whose chunks end with these ids (columns, bands).

        A column of `<bos>` begins another recording: what was before it is forgotten.
        """
        found = []
        begins = np.flatnonzero((ids == self._vocabulary.bos).any(axis=1))
        for part in np.split(ids, np.unique(np.concatenate([begins, begins + 1]))):
            if len(part) == 1 and self._vocabulary.bos in part:
                found += [self.finish(), self._nothing(1)]
                self._done += 1
                self._begin()
                continue
            held = np.concatenate([self._held, part.astype(np.int32)])
            ended = len(held) // CHUNK * CHUNK
            found += [self._chunk(held[at : at + CHUNK]) for at in range(0, ended, CHUNK)]
            self._held = held[ended:]
        return TokenScores.joined(found, self._bands)

    def finish(self) -> TokenScores:
        """Scores of the columns that are left; no more may follow."""
        left = len(self._held)
        if not left:
            return TokenScores.joined([], self._bands)
        padded = np.full((CHUNK, self._bands), self._vocabulary.pad, np.int32)
        padded[:left] = self._held
        self._held = self._held[:0]
        scores = self._chunk(padded, left)
        return scores.at(slice(left))

    def following(self, lower: Ids) -> Array:
        """Log-probabilities (CB,) of the token that follows those pushed, and `lower`.

        lower: (b,) the tokens of the lowest b bands of the next column.

        What `push` would score such a token with, to the last bit; nothing is remembered of it.
        """
        column, band = len(self._held), len(lower)
        ids = np.full((CHUNK, self._bands), self._vocabulary.pad, np.int32)
        ids[:column] = self._held
        ids[column, :band] = lower
        network, _ = self._network(ids)
        chosen: Array = self._long.distribution(network, ids, band)[column]
        return chosen

    def _network(self, ids: Ids) -> tuple[Array, State]:
        """What the network guesses of a chunk, softened, and what follows."""
        with np.errstate(over="ignore", invalid="ignore"):  # of weights that are no model's
            guess, state = self._parts.network.chunk(ids, self._state)
        if not np.isfinite(guess).all():
            raise JobError("the token model gives bits that are not finite: get it again")
        return soften(guess, out=guess), state

    def _chunk(self, ids: Ids, left: int = CHUNK) -> TokenScores:
        guess, self._state = self._network(ids)
        nats, places, network = self._long.score(guess, ids)
        short = np.full_like(nats, np.nan)
        if self._near is not None:
            short, _, _ = self._near.score(guess, ids)
        counted = ids < self._parts.network.settings.codebook_size
        some = counted.any(axis=1)
        self.tokens += int(counted.sum())
        self.network_bits += network * float(_BITS)
        bits = np.where(counted, nats * _BITS, np.float32(np.nan))
        sums = np.where(some, (nats * _BITS).sum(axis=1), np.float32(np.nan)).astype(np.float32)
        usual = np.median(self._recent) if len(self._recent) else np.nan
        self._recent = np.concatenate([self._recent, sums[some]])[-_USUAL:]
        self._done += left
        return TokenScores(
            bits,
            np.where(counted, short * _BITS, np.float32(np.nan)),
            np.where((places >= 0) & some, places + self._first, -1),
            (sums - usual).astype(np.float32),
        )

    def _nothing(self, columns: int) -> TokenScores:
        none = np.full((columns, self._bands), np.nan, np.float32)
        return TokenScores(none, none, np.full(columns, -1), none[:, 0])
