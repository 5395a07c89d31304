"""Tokens to learn from: read from a folder, split by recording, and laid out side by side.

recordings -> shuffled -> one row with <bos> between them -> streams -> steps of some columns
"""

from collections.abc import Iterator
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


class Streams(NamedTuple):
    """Recordings in a row, cut into streams of equal length."""

    ids: Ids  # (streams, steps * columns + 1, bands): the first column of each is an input alone
    columns: int  # of a step

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
    ) -> "Streams":
        """Some recordings, each behind a column of `<bos>`; what is left at the end is `<bos>`.

        seed: of their order in an epoch; None: as they are.
        """
        order = np.array(places)
        if seed is not None:
            order = np.random.default_rng([seed, 1, epoch]).permutation(order)
        bands = corpus.ids[0].shape[1]
        bos = np.full((1, bands), vocabulary.bos, np.uint16)
        row = np.concatenate([part for place in order for part in (bos, corpus.ids[place])])
        steps = max(-(-len(row) // (streams * columns)), 1)
        padded = np.full((streams * steps * columns, bands), vocabulary.bos, np.uint16)
        padded[: len(row)] = row
        laid = padded.reshape(streams, steps * columns, bands)
        before = np.concatenate([np.broadcast_to(bos, (1, 1, bands)), laid[:-1, -1:]])
        return cls(np.concatenate([before, laid], axis=1).astype(np.int32), columns)

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return (self.ids.shape[1] - 1) // self.columns

    def from_step(self, first: int) -> Iterator[Ids]:
        """What each step learns from, (streams, columns + 1, bands), from step `first` on."""
        for step in range(first, self.steps):
            yield self.ids[:, step * self.columns : (step + 1) * self.columns + 1]
