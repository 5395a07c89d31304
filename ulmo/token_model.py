"""The token model: how many bits each token of a recording costs, and what may follow.

tokens -> ulmo.sequence.scoring -> bits, what a column is a copy of, surprise
       -> ulmo.sequence.sampling -> tokens that go on
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ulmo.arrays import Ids, Indices
from ulmo.bundle.token_model import DEFAULT_LM, TokenModelBundle, read_token_model
from ulmo.config import UserError
from ulmo.config.arguments import path_argument, whole_number
from ulmo.preprocessing.threads import one_thread
from ulmo.sequence.sampling import continue_ids
from ulmo.sequence.scoring import Scorer, ScoringParts, TokenScores
from ulmo.tokens import Tokens
from ulmo.vocabulary import Vocabulary

MOST_SAMPLED, MOST_TEMPERATURE = 1_000_000, 100.0  # columns that are drawn at once


class TokenModel:
    """Scores tokens; see `load_token_model`.

    bundle, manifest: what it was made from, and the contents of lm.json.
    parts: what a Scorer needs.
    """

    def __init__(self, bundle: TokenModelBundle) -> None:
        self.bundle, self.manifest = bundle, bundle.manifest
        self.parts = ScoringParts.of(bundle.manifest.model, bundle.tensors())

    def score(self, tokens: Tokens | Ids, *, short: bool = True) -> TokenScores:
        """Scores of all columns of one recording.

        tokens: Tokens, or ids (time, band) of the model's tokenizer.
        short: whether to compute `bits_short`, too; without it, they are NaN.

        Fields of the result, NaN where a token is special, `<gap>` say:
        bits (time, band): -log2 of the probability of each token, given those before it and the
            lower bands of its column.
        bits_short (time, band): the same, if copies and habits of the last 1,024 tokens alone are
            known. The network's own memory, which fades in seconds, is not cut.
        copied_from (time,): the earlier column that predicted it better than the network; -1: none.
        surprise (time,): bits of the column, less the median of the columns before.

        UserError for tokens of another tokenizer. The same whatever the number of cores, and the
        same as `stream` gives, to the last bit.

        >>> tokenizer, model = load_tokenizer(), load_token_model()
        >>> scores = model.score(tokenizer.encode("data_samples/harmonic_calls.wav"))
        >>> scores.bits.shape
        (200, 4)
        """
        return TokenScores.joined([*self.stream([tokens], short=short)], self._bands)

    def score_at(self, ids: Ids, columns: Indices) -> TokenScores:
        """Scores of the columns of a recording in which time was left out.

        ids: (n, bands).
        columns: (n,) the number of each column in true time, rising; the model sees `<gap>` in
            between. `copied_from` is such a number, too.

        Scores of the n columns, as those that `score` returns.
        """
        gap = Vocabulary(self.manifest.model.codebook_size).gap
        row = np.full((int(columns.max(initial=-1)) + 1, self._bands), gap, np.int32)
        row[columns] = self._ids(ids)
        return self.score(row).at(columns)

    def stream(self, parts: Iterable[Tokens | Ids], *, short: bool = True) -> Iterator[TokenScores]:
        """Scores of tokens that arrive in parts, such as those of `Tokenizer.stream`.

        Those of a column come once its chunk of 64 columns is complete, or the stream ends. Joined,
        they are what `score` returns.
        """
        scorer = Scorer(self.parts, short=short)
        for part in parts:
            ids = self._ids(part)
            with one_thread():
                scores = scorer.push(ids)
            if len(scores.bits):
                yield scores
        with one_thread():
            scores = scorer.finish()
        if len(scores.bits):
            yield scores

    def sample(
        self,
        tokens: Tokens | Ids,
        columns: int,
        *,
        temperature: float = 1.0,
        seed: int = 0,
        done: Callable[[int], object] = lambda _: None,
    ) -> Ids:
        """Ids (columns, bands) that go on where a recording ends, drawn from what is expected next.

        tokens: Tokens, or ids (time, band), of which all are the past.
        temperature: 1 draws as often as the model expects; less draws what is likely more often; 0
            draws the likeliest each time.
        seed: of the draws: the same seed gives the same ids.
        done: called with 1 after each column.

        Each token takes as long as a chunk of 64 columns takes to be scored.

        >>> model.sample(tokenizer.encode("data_samples/harmonic_calls.wav"), 25).shape
        (25, 4)
        """
        columns = whole_number("columns", columns, least=0, most=MOST_SAMPLED)
        if not (np.isfinite(temperature) and 0 <= temperature <= MOST_TEMPERATURE):
            raise UserError(f"temperature must be from 0 to {MOST_TEMPERATURE:g}")
        seed = whole_number("seed", seed, least=0, most=2**31 - 1)
        found = np.empty((columns, self._bands), np.int32)
        drawn = continue_ids(self.parts, self._ids(tokens), temperature=temperature, seed=seed)
        with one_thread():
            for place, column in zip(range(columns), drawn, strict=False):
                found[place] = column
                done(1)
        return found

    @property
    def _bands(self) -> int:
        return self.manifest.model.bands

    def _ids(self, tokens: Any) -> Ids:
        """The ids of some tokens, once they are known to be the tokenizer's."""
        own = self.manifest.tokenizer
        if isinstance(tokens, Tokens):
            self.check_tokenizer(tokens.fingerprint or own, "the tokens")
            tokens = tokens.ids
        ids = np.asarray(tokens)
        if ids.ndim != 2 or ids.shape[1] != self._bands or ids.dtype.kind not in "iu":
            raise UserError(
                f"tokens must be Tokens, or whole numbers (time, {self._bands}), not "
                f"{ids.dtype} {ids.shape}"
            )
        size = Vocabulary(self.manifest.model.codebook_size).size
        if ids.size and not (ids.min() >= 0 and ids.max() < size):
            raise UserError(f"ids must be from 0 to {size - 1}")
        return ids.astype(np.int32)

    def check_tokenizer(self, fingerprint: str, what: str) -> None:
        """Raise UserError unless a tokenizer's fingerprint is that of the model's tokenizer."""
        own = self.manifest.tokenizer
        if fingerprint != own:
            raise UserError(
                f"{what} are of another tokenizer than the token model ({fingerprint[:8]} there, "
                f"{own[:8]} here): name a token model that was trained on such tokens"
            )


def load_token_model(path: str | Path | None = None) -> TokenModel:
    """The token model in a folder, such as RUN_DIR/lm.

    path: the folder; None means the one that ships with ulmo, for the tokenizer that ships.

    UserError if the folder is missing, damaged or not a token model.

    >>> load_token_model().manifest.model.bands
    4
    """
    folder = DEFAULT_LM if path is None else path_argument("path", path)
    return TokenModel(read_token_model(folder))
