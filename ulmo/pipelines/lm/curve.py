"""ulmo lm curve: bits a token against how much of the past is known; the targets stay the same.

tokens -> target columns of each recording -> the past cut to each length -> bits
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids
from ulmo.config import UserError
from ulmo.formats.event_files import check_event_file, publish_events
from ulmo.formats.events import Column, Place
from ulmo.formats.read import read_corpus
from ulmo.pipelines.lm.score import check_score_format
from ulmo.token_model import TokenModel

CONTEXTS = (100, 400, 1600, 6400, 25600)  # tokens of the past; then all of it
TARGET = 64  # columns that are scored at once, behind each past
_DRAWS = 1000  # of recordings, for the intervals
CURVE_COLUMNS = (
    Column("context_tokens", "whole", words="tokens of the past that are known; empty: all"),
    Column("bits", "number", 4, "a token"),
    Column("low", "number", 4, "95 % of bootstraps over recordings are above; empty: there is one"),
    Column("high", "number", 4, "and below"),
    Column("tokens", "whole", words="the same for all contexts"),
    Column("recordings", "whole"),
)


class CurvePoint(NamedTuple):
    """Bits a token with one length of the past."""

    context_tokens: int | None  # None: all of the past
    bits: float
    low: float | None  # of the 95 % interval over recordings; None with a single one
    high: float | None
    tokens: int
    recordings: int


def context_curve(
    model: TokenModel,
    sources: Sequence[Path],
    *,
    contexts: Sequence[int] = CONTEXTS,
    targets: int = 16,
    done: Callable[[str], None] = lambda _: None,
) -> list[CurvePoint]:
    """The curve over all recordings of some tokens.

    targets: stretches of TARGET columns in each recording, evenly spread; those of its first
        TARGET columns are left out. Each is scored once for each context, with the past physically
        cut: nothing of what was before is known to any part of the model.
    done: called with the name of each recording.

    UserError if no recording has more than TARGET columns.
    """
    bits: list[NDArray[np.float64]] = []  # (contexts + 1,) of each recording
    tokens: list[int] = []
    columns = [-(-context // model.manifest.model.bands) for context in contexts]
    for path in sources:
        for stored in read_corpus(path):
            header = stored.header
            model.check_tokenizer(header.fingerprint, f"the tokens of {header.recording}")
            found = [*_recording(model, stored.ids, columns, targets)]
            if found:
                bits.append(np.sum([each for each, _ in found], axis=0))
                tokens.append(sum(count for _, count in found))
            done(header.recording)
    if not bits or not sum(tokens):
        raise UserError(
            f"no recording has more than {TARGET} columns: a curve needs longer recordings"
        )
    low, high = _interval(np.array(bits), np.array(tokens))
    means = np.sum(bits, axis=0) / sum(tokens)
    return [
        CurvePoint(context, float(mean), lower, upper, sum(tokens), len(tokens))
        for context, mean, lower, upper in zip((*contexts, None), means, low, high, strict=True)
    ]


def write_curve(points: Sequence[CurvePoint], out: Path, file_format: str | None = None) -> None:
    """Write the curve as a table, csv or parquet."""
    name = check_score_format(out, file_format)
    with publish_events(out, name, CURVE_COLUMNS) as table:
        for point in points:
            table.add(point._asdict(), Place("", 0.0))


def check_curve_file(out: Path, file_format: str | None = None) -> None:
    """Raise UserError if the table cannot have its place."""
    check_event_file(out, check_score_format(out, file_format), CURVE_COLUMNS)


def _recording(
    model: TokenModel, ids: Ids, columns: Sequence[int], targets: int
) -> Iterator[tuple[NDArray[np.float64], int]]:
    """Bits (contexts + 1,) and number of tokens of each target of a recording."""
    last = len(ids) - TARGET
    if last < TARGET:
        return
    places = np.unique(np.linspace(TARGET, last, min(targets, last // TARGET)).astype(int))
    for start in places.tolist():
        sums, count = [], 0
        for cut in (*columns, start):
            part = ids[max(start - cut, 0) : start + TARGET]
            bits = model.score(part, short=False).bits[-TARGET:]
            sums.append(float(np.nansum(bits, dtype=np.float64)))
            count = int(np.isfinite(bits).sum())
        yield np.array(sums), count


def _interval(
    bits: NDArray[np.float64], tokens: NDArray[np.int64]
) -> tuple[list[float | None], list[float | None]]:
    """The ends of 95 % intervals of bits a token: recordings are drawn again and again."""
    if len(tokens) < 2:
        none: list[float | None] = [None] * bits.shape[1]
        return none, none
    draws = np.random.default_rng(0).integers(0, len(tokens), (_DRAWS, len(tokens)))
    means = bits[draws].sum(axis=1) / tokens[draws].sum(axis=1)[:, None]
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return low.tolist(), high.tolist()
