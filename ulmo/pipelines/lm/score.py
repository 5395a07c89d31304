"""ulmo lm score: a row for each column of sound, with the bits that its tokens cost, in one table.

recording, or stored tokens -> ids with <gap> -> scores (ulmo.token_model) -> rows -> table
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids, Indices
from ulmo.bundle.token_model import DEFAULT_LM
from ulmo.config import JobError, UserError
from ulmo.formats.event_files import event_format_of, publish_events
from ulmo.formats.events import CHANNEL, RECORDING, START, UTC_TIME, Column, Place
from ulmo.formats.places import MANIFEST, STEM
from ulmo.formats.read import StoredTokens, read_corpus, readers
from ulmo.listening.listen import Heard, Listened
from ulmo.listening.recordings import Begin, Sources
from ulmo.sequence.scoring import TokenScores
from ulmo.storage.names import portable
from ulmo.token_model import TokenModel, load_token_model
from ulmo.vocabulary import Vocabulary

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
        Column("surprise", "number", 4, "bits above the median of the 1,024 columns before"),
        UTC_TIME,
    )


class ScoredStream(NamedTuple):
    """One channel of a recording, or a file of tokens: its columns that are sound."""

    names: Sequence[str]  # of the recording of each column; one name if it is the same for all
    path: str
    channel: int | None
    column: Indices  # (n,)
    start_s: NDArray[np.float64]  # (n,)
    start_utc: Sequence[datetime | None]  # (n,)
    copied_from_s: NDArray[np.float64]  # (n,); NaN: of none
    scores: TokenScores

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of the table."""
        scores = self.scores
        bits, short, gain = scores.column_bits, scores.column_bits_short, scores.gain
        for at, column in enumerate(self.column.tolist()):
            each = {f"bits_band_{b}": _some(value) for b, value in enumerate(scores.bits[at])}
            yield {
                "recording": self.names[at if len(self.names) > 1 else 0],
                "channel": self.channel,
                "column": column,
                "start_s": float(self.start_s[at]),
                "bits": _some(bits[at]),
                **each,
                "bits_short": _some(short[at]),
                "gain": _some(gain[at]),
                "copied_from_s": _some(self.copied_from_s[at]),
                "surprise": _some(scores.surprise[at]),
                "start_utc": self.start_utc[at],
            }


class Counts(NamedTuple):
    """Sums over some recordings, and the length of the longest."""

    recordings: int = 0
    columns: int = 0
    tokens: int = 0  # that are codes, and so have bits
    bits: float = 0.0
    bits_short: float = 0.0
    copied: int = 0  # columns that are copies
    longest: int = 0  # tokens of one recording

    def and_of(self, stream: ScoredStream) -> "Counts":
        """These, and those of one more stream."""
        scores = stream.scores
        tokens = int(np.isfinite(scores.bits).sum())
        return Counts(
            self.recordings + 1,
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
    listener: Listener = SILENT,
) -> ScoreSummary:
    """Write one table: of stored tokens, then of recordings (`heard`), which are tokenized.

    A refused recording has no rows, and the job goes on. UserError if the table cannot have its
    place, before anything is read, and for tokens of another tokenizer than the model's.
    """
    file_format = check_score_format(out, file_format)
    if heard is not None:
        model.check_tokenizer(heard.tokenizer.manifest.fingerprint, "tokens of recordings")
    counts, facts = Counts(), []
    with publish_events(out, file_format, score_columns(model.manifest.model.bands)) as table:

        def write(stream: ScoredStream) -> None:
            nonlocal counts
            for row in stream.rows():
                table.add(row, Place(stream.path, row["start_s"]))
            counts = counts.and_of(stream)

        for path in tokens:
            for stored in read_corpus(path):
                write(score_stored(model, stored))
                facts.append({"path": stored.header.recording, "status": "ok"})
                listener.done(facts[-1])
        if heard is not None:
            place = model.bundle.folder.absolute()
            folder = None if place == DEFAULT_LM.absolute() else place
            use = partial(_score_listened, folder, model.manifest.fingerprint)
            for found, streams in heard.each(use, listener.begin):
                for stream in streams:
                    write(stream)
                facts.append(found)
                listener.done(found)
    return ScoreSummary(counts, facts)


def score_stored(model: TokenModel, stored: StoredTokens) -> ScoredStream:
    """Scores of stored tokens."""
    header = stored.header
    model.check_tokenizer(header.fingerprint, f"the tokens of {header.recording}")
    scores = model.score(stored.ids)
    seconds = np.array([header.seconds(column) for column in range(len(stored.ids))])
    columns = _sound(model, stored.ids)
    names = [header.recording]
    if header.segments:
        places = map(header.place, columns.tolist())
        names = [place.recording if place else header.recording for place in places]
    times = [header.utc(column) for column in columns.tolist()]
    path, some = header.recording, scores.at(columns)
    return _stream(names, path, header.channel, columns, seconds, times, some)


@lru_cache(maxsize=1)
def _opened(folder: Path | None, fingerprint: str) -> TokenModel:
    model = load_token_model(folder)
    if model.manifest.fingerprint != fingerprint:
        raise JobError(f"{model.bundle.folder} was replaced meanwhile: run the same again")
    return model


def _score_listened(
    folder: Path | None, fingerprint: str, listened: Listened
) -> tuple[dict[str, Any], list[ScoredStream]]:
    """The facts of a recording, and the scores of its channels. Runs where it is read."""
    model = _opened(folder, fingerprint)
    return listened.facts, [score_heard(model, heard) for heard in listened.heard]


def score_heard(model: TokenModel, heard: Heard) -> ScoredStream:
    """Scores of a channel; where time was left out, the model sees `<gap>`, as in stored tokens."""
    columns = heard.places
    scores = model.score_at(heard.ids, columns)
    whens = [heard.when(at, at + 1) for at in range(heard.columns)]
    seconds = np.full(columns[-1] + 1, np.nan)
    seconds[columns] = [when.start_s for when in whens]
    times = [when.start_utc for when in whens]
    path = portable(heard.path)
    return _stream([heard.recording], path, heard.channel, columns, seconds, times, scores)


def _stream(
    names: list[str],
    path: str,
    channel: int | None,
    columns: Indices,
    seconds: NDArray[np.float64],
    times: list[datetime | None],
    scores: TokenScores,
) -> ScoredStream:
    """A stream, from the scores of its columns and the seconds of all columns, `<gap>` too."""
    copied = np.where(scores.copied_from >= 0, seconds[scores.copied_from], np.nan)
    return ScoredStream(names, path, channel, columns, seconds[columns], times, copied, scores)


def _sound(model: TokenModel, ids: Ids) -> Indices:
    """The columns that are not `<gap>`."""
    gap = Vocabulary(model.manifest.model.codebook_size).gap
    return np.flatnonzero((ids != gap).any(axis=1))


def _some(value: Any) -> float | None:
    """A number; None for NaN."""
    return float(value) if np.isfinite(value) else None
