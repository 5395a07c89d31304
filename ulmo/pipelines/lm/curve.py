"""ulmo lm curve: bits a token against how much of the past is known; the targets stay the same.

tokens -> targets in each recording (targets.py) -> the past cut to each length -> bits
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids
from ulmo.config import UserError
from ulmo.formats.event_files import check_event_file, publish_events
from ulmo.formats.events import Column, Place
from ulmo.formats.read import read_corpus
from ulmo.listening.classes import Classes
from ulmo.pipelines.lm.score import check_score_format
from ulmo.pipelines.lm.targets import KINDS, TARGET, Target, marks_of, targets_of
from ulmo.pipelines.lm.token_row import TokenRow, joined
from ulmo.token_model import TokenModel

CONTEXTS = (100, 400, 1600, 6400, 25600)  # tokens of the past; then all of it
_DRAWS = 1000  # of recordings, for the intervals
CURVE_COLUMNS = (
    Column("columns", "text", words="all; later: of a sound that was there before; first: was not"),
    Column("context_tokens", "whole", words="tokens of the past that are known; empty: all"),
    Column("bits", "number", 4, "a token"),
    Column("low", "number", 4, "95 % of bootstraps over recordings are above; empty: there is one"),
    Column("high", "number", 4, "and below"),
    Column("tokens", "whole", words="the same for all contexts"),
    Column("recordings", "whole"),
)


class CurvePoint(NamedTuple):
    """Bits a token with one length of the past."""

    columns: str  # one of KINDS
    context_tokens: int | None  # None: all of the past
    bits: float
    low: float | None  # of the 95 % interval over recordings; None with a single one
    high: float | None
    tokens: int
    recordings: int


class _Sums(NamedTuple):
    """The targets of one kind in one recording."""

    bits: NDArray[np.float64]  # (contexts + 1,)
    tokens: int


def context_curve(
    model: TokenModel,
    sources: Sequence[Path],
    *,
    contexts: Sequence[int] = CONTEXTS,
    targets: int = 16,
    repeats: Classes | None = None,
    together: bool = False,
    done: Callable[[str], None] = lambda _: None,
) -> list[CurvePoint]:
    """The curve over all recordings of some tokens.

    targets: of each kind in each recording, evenly spread; none begins within a recording's first
        TARGET columns. Each is scored once for each context, with the past physically cut: nothing
        of what was before is known to any part of the model.
    contexts: tokens of the past; lengths that no recording has are left out.
    repeats: what recurs, as `ulmo repeats` found it. There are then three curves: of all columns,
        of later occurrences of sounds, and of their first ones.
    together: the recordings are each other's past, in the order of time.
    done: called with the name of each recording.

    UserError if no recording has more than TARGET columns, and if nothing recurs in any.
    """
    found: dict[str, list[_Sums]] = {}
    longest = 0  # columns of the past of any target
    columns = [-(-context // model.manifest.model.bands) for context in contexts]
    rows = (TokenRow.of_stored(model, stored) for path in sources for stored in read_corpus(path))
    for row in joined(model, rows) if together else rows:
        marks = None if repeats is None else marks_of(row, repeats)
        for source, part in zip(row.sources, row.parts, strict=True):
            for kind, some in targets_of(part.start, part.stop, targets, marks).items():
                sums = [_bits(model, row.ids, target, columns) for target in some]
                if sum(each.tokens for each in sums):
                    bits = np.sum([each.bits for each in sums], axis=0)
                    found.setdefault(kind, []).append(_Sums(bits, sum(s.tokens for s in sums)))
                    longest = max(longest, *(each.first for each in some))
            done(source.recording)
    if KINDS[0] not in found:
        raise UserError(
            f"no recording has more than {TARGET} columns: a curve needs longer recordings"
        )
    if repeats is not None and len(found) == 1:
        raise UserError(
            "none of the repeats is in these tokens, behind their first "
            f"{TARGET} columns: find those of the same recordings with ulmo repeats"
        )
    known = [context for context, cut in zip(contexts, columns, strict=True) if cut <= longest]
    return [
        point
        for kind in KINDS
        if kind in found
        for point in _points(kind, found[kind], contexts)
        if point.context_tokens is None or point.context_tokens in known
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


def _bits(model: TokenModel, ids: Ids, target: Target, columns: Iterable[int]) -> _Sums:
    """Bits of a target with each length of the past, in columns, and with all of it."""
    starts = [max(target.first - cut, 0) for cut in (*columns, target.first)]
    bits = {
        start: model.score(ids[start : target.end], short=False).bits[target.first - target.end :]
        for start in set(starts)
    }
    sums = [float(np.nansum(bits[start], dtype=np.float64)) for start in starts]
    return _Sums(np.array(sums), int(np.isfinite(bits[starts[0]]).sum()))


def _points(kind: str, sums: Sequence[_Sums], contexts: Sequence[int]) -> list[CurvePoint]:
    """The curve of one kind of columns."""
    bits, tokens = np.array([each.bits for each in sums]), np.array([s.tokens for s in sums])
    total = int(tokens.sum())
    low, high = _interval(bits, tokens)
    return [
        CurvePoint(kind, context, float(mean), lower, upper, total, len(tokens))
        for context, mean, lower, upper in zip(
            (*contexts, None), bits.sum(axis=0) / total, low, high, strict=True
        )
    ]


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
