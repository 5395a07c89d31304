"""ulmo lm score: a row for each column of sound, with the bits that its tokens cost, in one table.

recordings, or stored tokens -> rows of ids (token_row.py) -> scores (ulmo.token_model) -> table
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices
from ulmo.bundle.token_model import DEFAULT_LM
from ulmo.config import JobError, UserError
from ulmo.formats.event_files import event_format_of, publish_events
from ulmo.formats.events import CHANNEL, RECORDING, START, UTC_TIME, Column, Place
from ulmo.formats.places import MANIFEST, STEM
from ulmo.formats.read import StoredTokens, read_corpus, readers
from ulmo.jobs.spread import HERE, Spread
from ulmo.listening.listen import Listened
from ulmo.listening.recordings import Begin, Sources
from ulmo.pipelines.lm.token_row import TokenRow, joined, no_time
from ulmo.preprocessing.reading.audio import RefusedError
from ulmo.preprocessing.times.clock import Clock
from ulmo.sequence.scoring import TokenScores
from ulmo.storage.names import portable
from ulmo.token_model import TokenModel, load_token_model

FORMATS = ("csv", "parquet")  # a column is no event, of which a label would be drawn


def score_columns(bands: int) -> tuple[Column, ...]:
    """The columns of the table, for a tokenizer of some bands."""
    each = (Column(f"bits_band_{band}", "number", 4) for band in range(bands))
    return (
        *(RECORDING, CHANNEL),
        Column("column", "whole", words="from 0; columns of <gap> have no row, but count"),
        START,
        Column("bits", "number", 4, "of its tokens, together; empty: all of them are special"),
        *each,
        Column("bits_short", "number", 4, "if the last 1,024 tokens alone are remembered"),
        Column("gain", "number", 4, "bits_short less bits: what the longer memory is worth"),
        Column("copied_from_s", "number", words="start_s of what told more than the network did"),
        Column("copied_from_recording", "text", words="its recording, if that is another one"),
        Column("surprise", "number", 4, "bits above the median of the 1,024 columns before"),
        UTC_TIME,
    )


class ScoredRow(NamedTuple):
    """The columns of a row of tokens that are sound, and their scores."""

    row: TokenRow  # without ids
    column: Indices  # (n,)
    scores: TokenScores  # of these columns

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of the table."""
        scores, row = self.scores, self.row
        bits, short, gain = scores.column_bits, scores.column_bits_short, scores.gain
        sources = row.source_of(self.column)
        copied = row.source_of(scores.copied_from)
        begins = np.array([source.begin_s for source in row.sources])
        start_s = _nanoseconds(row.seconds[self.column] - begins[sources])
        is_copy = scores.copied_from >= 0
        copied_s = _nanoseconds(row.seconds[scores.copied_from] - begins[copied])
        for at, column in enumerate(self.column.tolist()):
            each = {f"bits_band_{b}": _some(value) for b, value in enumerate(scores.bits[at])}
            elsewhere = is_copy[at] and copied[at] != sources[at]
            yield {
                "recording": row.sources[sources[at]].recording,
                "channel": row.channel,
                "column": column,
                "start_s": float(start_s[at]),
                "bits": _some(bits[at]),
                **each,
                "bits_short": _some(short[at]),
                "gain": _some(gain[at]),
                "copied_from_s": float(copied_s[at]) if is_copy[at] else None,
                "copied_from_recording": (row.sources[copied[at]].recording if elsewhere else None),
                "surprise": _some(scores.surprise[at]),
                "start_utc": row.utc(column),
            }


class Counts(NamedTuple):
    """Sums over some recordings, and the length of the longest row of them."""

    recordings: int = 0
    columns: int = 0
    tokens: int = 0  # that are codes, and so have bits
    bits: float = 0.0
    bits_short: float = 0.0
    copied: int = 0  # columns that are copies
    longest: int = 0  # tokens of one row, which are each other's past

    def and_of(self, scored: ScoredRow) -> "Counts":
        """These, and those of one more row."""
        scores = scored.scores
        tokens = int(np.isfinite(scores.bits).sum())
        return Counts(
            self.recordings + len(scored.row.sources),
            self.columns + len(scores.bits),
            self.tokens + tokens,
            self.bits + float(np.nansum(scores.bits, dtype=np.float64)),
            self.bits_short + float(np.nansum(scores.bits_short, dtype=np.float64)),
            self.copied + int((scores.copied_from >= 0).sum()),
            max(self.longest, tokens),
        )


class ScoreSummary(NamedTuple):
    """What `write_scores` did."""

    counts: Counts
    facts: Sequence[dict[str, Any]]  # status, reason, detail and others of each recording


class Listener(NamedTuple):
    """What a job reports while it runs."""

    begin: Begin = lambda _: lambda *_: None  # called with the bytes of all recordings
    done: Callable[[dict[str, Any]], None] = lambda _: None  # with the facts of each recording
    scored: Callable[[ScoredRow], None] = lambda _: None  # with the scores, as they are written


SILENT = Listener()


def is_of_tokens(path: Path) -> bool:
    """Whether a path is that of tokens rather than of recordings."""
    if path.is_dir():
        return (path / MANIFEST).is_file()
    return path.suffix in readers() and path.stem.endswith(STEM)


def check_score_format(out: Path, wanted: str | None) -> str:
    """The format of a table of scores; UserError unless it is csv or parquet."""
    name = event_format_of(out, wanted)
    if name not in FORMATS:
        raise UserError(f"scores are no events for {name}: end {out} with .csv or .parquet")
    return name


def write_scores(
    model: TokenModel,
    tokens: Sequence[Path],
    heard: Sources | None,
    out: Path,
    file_format: str | None = None,
    *,
    together: bool = False,
    spread: Spread = HERE,
    listener: Listener = SILENT,
) -> ScoreSummary:
    """Write one table: of stored tokens, then of recordings (`heard`), which are tokenized.

    together: all recordings are each other's past, in the order of time. Their tokens are then in
        memory until all are read: 24 bytes a column of four bands.
    spread: where stored tokens are scored; recordings, where `heard` says.

    A refused recording has no rows, and the job goes on. UserError if the table cannot have its
    place, before anything is read, and for tokens of another tokenizer than the model's; with
    `together` also for recordings without a time, or that overlap.
    """
    file_format = check_score_format(out, file_format)
    if heard is not None:
        model.check_tokenizer(heard.tokenizer.manifest.fingerprint, "tokens of recordings")
        if together:
            _check_times(heard)
    counts, facts, held = Counts(), [], []
    with publish_events(out, file_format, score_columns(model.manifest.model.bands)) as table:

        def write(scored: ScoredRow) -> None:
            nonlocal counts
            for row in scored.rows():
                table.add(row, Place(row["recording"], row["start_s"]))
            counts = counts.and_of(scored)
            listener.scored(scored)

        def done(found: dict[str, Any]) -> None:
            facts.append(found)
            listener.done(found)

        place = model.bundle.folder.absolute()
        known = None if place == DEFAULT_LM.absolute() else place, model.manifest.fingerprint
        stored = (each for path in tokens for each in read_corpus(path))
        if together:
            for each in stored:
                held.append(TokenRow.of_stored(model, each))
                done({"path": each.header.recording, "status": "ok"})
        else:
            for name, scored in _spread_out(spread, partial(_scored, *known), stored):
                write(scored)
                done({"path": name, "status": "ok"})
        if heard is not None:
            use = partial(_use, *known, not together)
            for found, rows in heard.each(use, listener.begin):
                for row in rows:
                    if isinstance(row, TokenRow):
                        held.append(row)
                    else:
                        write(row)
                done(found)
        for whole in joined(model, held):
            write(score_row(model, whole))
    return ScoreSummary(counts, facts)


def score_row(model: TokenModel, row: TokenRow) -> ScoredRow:
    """Scores of a row."""
    columns = row.sound(model)
    scores = model.score(row.ids).at(columns)
    copied = np.where(np.isin(scores.copied_from, columns), scores.copied_from, -1)  # not a `<gap>`
    scores = scores._replace(copied_from=copied)
    return ScoredRow(row._replace(ids=row.ids[:0]), columns, scores)


def _check_times(heard: Sources) -> None:
    """Raise UserError for recordings without a time, before any is read whole."""
    clock = Clock.of(heard.wanted.clock)
    for each in heard.found:
        with suppress(RefusedError):  # it is told when it is its turn
            if clock.timing(each.source).start is None:
                raise no_time(portable(each.name))


def _spread_out(
    spread: Spread,
    job: Callable[[StoredTokens], tuple[str, ScoredRow]],
    stored: Iterator[StoredTokens],
) -> Iterator[tuple[str, ScoredRow]]:
    """What a job makes of stored tokens, in their order.

    Scores that are done wait in memory for those before them.
    """
    first = [*islice(stored, spread.enough)]
    with spread.open(len(first), lambda *_: None) as executor:
        yield from executor.in_order(job, chain(first, stored))


def _scored(folder: Path | None, fingerprint: str, stored: StoredTokens) -> tuple[str, ScoredRow]:
    """The name of a recording whose tokens are stored, and its scores."""
    model = _opened(folder, fingerprint)
    return stored.header.recording, score_row(model, TokenRow.of_stored(model, stored))


@lru_cache(maxsize=1)
def _opened(folder: Path | None, fingerprint: str) -> TokenModel:
    model = load_token_model(folder)
    if model.manifest.fingerprint != fingerprint:
        raise JobError(f"{model.bundle.folder} was replaced meanwhile: run the same again")
    return model


def _use(
    folder: Path | None, fingerprint: str, score: bool, listened: Listened
) -> tuple[dict[str, Any], list[TokenRow | ScoredRow]]:
    """The facts of a recording, and its channels, scored or not. Runs where it is read."""
    model = _opened(folder, fingerprint)
    rows = [TokenRow.of_heard(model, heard) for heard in listened.heard]
    return listened.facts, [score_row(model, row) if score else row for row in rows]


def _nanoseconds(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds without what subtraction leaves: 0.2 for 0.20000000000000284."""
    return np.round(seconds, 9)


def _some(value: Any) -> float | None:
    """A number; None for NaN."""
    return float(value) if np.isfinite(value) else None
