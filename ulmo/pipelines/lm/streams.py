"""Tokens to learn from: read from a folder, split by recording, and laid out side by side.

recordings -> shuffled -> one row with <bos> between them -> streams -> steps of some columns
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids
from ulmo.config import UserError
from ulmo.dataset import held_out
from ulmo.formats.read import read_corpus
from ulmo.storage.sealed import fingerprint
from ulmo.tokenizer import Tokenizer
from ulmo.vocabulary import Vocabulary

_LENGTHS_S = (0.3, 4.0)  # of stretches that are planted
_NEAREST_S, _FARTHEST_S = 1.0, 3600.0  # how long ago they were there before
_Packed = NDArray[np.uint16]  # (time, band): all ids of a vocabulary fit


class TokenCorpus(NamedTuple):
    """Tokens of all recordings of a folder, in memory: 2 bytes a token."""

    recordings: list[str]
    ids: list[_Packed]
    hop_seconds: float
    fingerprint: str  # of names, lengths and ids

    @property
    def tokens(self) -> int:
        """All tokens."""
        return sum(each.size for each in self.ids)

    @property
    def hours(self) -> float:
        """Hours of all columns."""
        return sum(len(each) for each in self.ids) * self.hop_seconds / 3600


def read_token_corpus(folder: Path, tokenizer: Tokenizer) -> TokenCorpus:
    """All tokens below a folder. UserError if there are none, or if another tokenizer made them."""
    own, names, ids, marks, hop = tokenizer.manifest.fingerprint, [], [], [], 0.0
    for stored in read_corpus(folder):
        header = stored.header
        if header.fingerprint != own:
            raise UserError(
                f"the tokens of {header.recording} are of another tokenizer "
                f"({header.fingerprint[:8]} there, {own[:8]} here): name theirs with --tokenizer"
            )
        if len(stored.ids):
            names.append(header.recording)
            ids.append(stored.ids.astype(np.uint16))
            marks.append([header.recording, fingerprint(stored.ids.tobytes().hex())])
            hop = header.hop / header.sample_rate
    if not ids:
        raise UserError(f"{folder} holds no tokens to learn from: make them with ulmo-tokenize")
    return TokenCorpus(names, ids, hop, fingerprint(marks))


class TokenSplit(NamedTuple):
    """Places of recordings in a corpus; all channels of a recording are on one side."""

    train: list[int]
    validation: list[int]


def split_tokens(corpus: TokenCorpus, fraction: float, seed: int) -> TokenSplit:
    """Hold out a fraction of the recordings: at least one if it is above 0, but never all."""
    chosen = held_out(corpus.recordings, fraction, seed)
    places = range(len(corpus.recordings))
    return TokenSplit(
        [place for place in places if corpus.recordings[place] not in chosen],
        [place for place in places if corpus.recordings[place] in chosen],
    )


class Planted(NamedTuple):
    """A stretch of a stream that is the same as an earlier one."""

    stream: int
    column: int  # of `Streams.ids`, where it begins
    apart: int  # columns since the earlier one began, at least its length
    length: int


class Streams(NamedTuple):
    """Recordings in a row, cut into streams of equal length."""

    ids: Ids  # (streams, steps * columns + 1, bands): the first column of each is an input alone
    columns: int  # of a step
    planted: Sequence[Planted] = ()

    @classmethod
    def of(
        cls,
        corpus: TokenCorpus,
        places: list[int],
        vocabulary: Vocabulary,
        *,
        streams: int,
        columns: int,
        seed: int | None = None,
        epoch: int = 0,
        planted: float = 0.0,
    ) -> "Streams":
        """Some recordings, each behind a column of `<bos>`; what is left at the end is `<bos>`.

        seed: of their order in an epoch, and of what is planted; None: as they are.
        planted: share of the streams, from the first on, in which stretches of what was there are
            put in place of others, as often at distances from 1 to 10 s as from 10 to 100. The
            recordings of these streams have no `<bos>` between them: all is one past.
        """
        order = np.array(places)
        if seed is not None:
            order = np.random.default_rng([seed, 1, epoch]).permutation(order)
        bands = corpus.ids[0].shape[1]
        bos = np.full((1, bands), vocabulary.bos, np.uint16)
        length = sum(1 + len(corpus.ids[place]) for place in places)
        steps = max(-(-length // (streams * columns)), 1)
        padded = np.full((streams * steps * columns, bands), vocabulary.bos, np.uint16)
        some = round(planted * streams)  # streams, and the columns of these
        joined, end = some * steps * columns, 0
        for place in order:
            begin = end + (not 0 < end < joined)
            end = begin + len(corpus.ids[place])
            padded[begin:end] = corpus.ids[place]
        laid = padded.reshape(streams, steps * columns, bands)
        rng = np.random.default_rng([seed or 0, 2, epoch])
        repeats = [
            each._replace(stream=stream, column=each.column + 1)
            for stream in range(some)
            for each in plant(laid[stream], corpus.hop_seconds, rng)
        ]
        before = np.concatenate([np.broadcast_to(bos, (1, 1, bands)), laid[:-1, -1:]])
        return cls(np.concatenate([before, laid], axis=1).astype(np.int32), columns, repeats)

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return (self.ids.shape[1] - 1) // self.columns

    def from_step(self, first: int) -> Iterator[Ids]:
        """What each step learns from, (streams, columns + 1, bands), from step `first` on."""
        for step in range(first, self.steps):
            yield self.ids[:, step * self.columns : (step + 1) * self.columns + 1]


def plant(ids: _Packed, column_s: float, rng: np.random.Generator) -> list[Planted]:
    """Put stretches of ids (time, band) in place of later ones; returns where.

    Lengths (0.3 to 4 s) and distances (1 s to an hour) are log-uniform. Between stretches is twice
    such a length.
    """

    def drawn(least_s: float, most_s: float) -> int:
        seconds = np.exp(rng.uniform(np.log(least_s), np.log(max(most_s, least_s))))
        return max(round(seconds / column_s), 1)

    found: list[Planted] = []
    column = drawn(_NEAREST_S, _NEAREST_S)
    while True:
        column += 2 * drawn(*_LENGTHS_S)
        apart = min(drawn(_NEAREST_S, min(column * column_s, _FARTHEST_S)), column)
        length = min(drawn(*_LENGTHS_S), apart)
        if column + length > len(ids):
            return found
        source = column - apart
        ids[column : column + length] = ids[source : source + length]
        found.append(Planted(0, column, apart, length))
        column += length
