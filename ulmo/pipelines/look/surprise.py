"""How unusual each column of tokens is to a token model, and the moments of a page to listen to.

ids -> scores (ulmo.token_model) -> bits, gain, what is above the usual -> peaks
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ulmo.arrays import Indices
from ulmo.config import UserError
from ulmo.encoding import halo_columns
from ulmo.listening.channels import Channel
from ulmo.pipelines.look.html import as_base64
from ulmo.token_model import TokenModel, load_token_model
from ulmo.tokenizer import Tokenizer

_MOST_COLUMNS = 180_000  # time grows with the square: these, two hours, take 87 s of a core
_UNKNOWN_TOKENIZER = (
    "There is no curve of surprise: the token model that ships with ulmo knows the tokens of the "
    "tokenizer that ships alone. Name one that knows these with --lm."
)
_TOO_LONG = (
    f"There is no curve of surprise, as the recording has more than {_MOST_COLUMNS:,} columns of "
    "tokens: ulmo lm score writes a table of it."
)
_MOST_PEAKS = 10  # of a page: as many as a person listens to
_AROUND = 12  # columns on each side that a peak exceeds: a second, with the tokenizer that ships
_LEAST_BITS = 8.0  # of a peak above what is usual: 256 times less probable


class Surprise(NamedTuple):
    """Scores of some columns, NaN where a column has no sound that the model knows."""

    bits: NDArray[np.float64]  # (columns,)
    gain: NDArray[np.float64]  # (columns,) bits that the memory of more than 1,024 tokens saves
    # (columns,) bits above the median of the columns before; NaN where a stretch ends, too
    above: NDArray[np.float64]

    def at(self, columns: slice) -> "Surprise":
        """Those of some columns."""
        return Surprise(self.bits[columns], self.gain[columns], self.above[columns])

    def values(self) -> dict[str, Any]:
        """What a page is given."""
        return {
            "bits": _as_text(self.bits),
            "gain": _as_text(self.gain),
            "peaks": [
                {"column": column, "above": round(float(self.above[column]), 1)}
                for column in find_peaks(self.above).tolist()
            ],
        }


def fitting_model(tokenizer: Tokenizer, path: Path | None) -> TokenModel | None:
    """The token model in a folder; None for the one that ships: None if it does not fit.

    UserError if a model that the user named is for another tokenizer.
    """
    model, own = load_token_model(path), tokenizer.manifest.fingerprint
    try:
        model.check_tokenizer(own, "the tokens of this page")
    except UserError:
        if path is not None:
            raise
        return None
    return model


def surprise_of(model: TokenModel | None, tokenizer: Tokenizer, channel: Channel) -> Surprise | str:
    """Scores of all columns of a channel, the same as `ulmo lm score` writes; or why not."""
    if model is None:
        return _UNKNOWN_TOKENIZER
    if len(channel.ids) > _MOST_COLUMNS:
        return _TOO_LONG
    heard = channel.heard
    scores = model.score_at(channel.ids, heard.places)
    above = scores.surprise.astype(np.float64)
    # Where a stretch ends, the encoder sees silence that is not in the recording.
    _, after = halo_columns(tokenizer.manifest.model)
    for first, part in zip(heard.begins, heard.parts, strict=True):
        end = first + part.columns
        above[max(end - after, first) : end] = np.nan
    return Surprise(scores.column_bits, scores.gain, above)


def find_peaks(above: NDArray[np.float64]) -> Indices:
    """The most unusual columns, at most ten, in the order of time.

    above: (columns,) bits above what is usual; NaN: no peak.

    Each is the most unusual of the second around it, and at least 8 bits above what is usual.

    >>> find_peaks(np.array([0.0, 9.0, 12.0, 3.0])).tolist()
    [2]
    """
    known = np.nan_to_num(above, nan=-np.inf)
    padded = np.pad(known, (_AROUND, _AROUND + 1), constant_values=-np.inf)  # none is too short
    highest = sliding_window_view(padded, 2 * _AROUND + 1).max(axis=1)[:-1]
    peaks = np.flatnonzero((known == highest) & (known >= _LEAST_BITS))
    return np.sort(peaks[np.argsort(-known[peaks], kind="stable")[:_MOST_PEAKS]])


def _as_text(values: NDArray[np.float64]) -> str:
    """Single-precision numbers, lowest byte first, as base64."""
    return as_base64(np.ascontiguousarray(values, "<f4").tobytes())
