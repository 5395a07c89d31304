"""What a token model is given at once: the tokens of a recording, or of several in a row.

stored tokens, or a recording that was heard -> ids with <gap> where time was left out, and times
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids, Indices
from ulmo.config import UserError
from ulmo.formats.header import TokensHeader
from ulmo.formats.read import StoredTokens
from ulmo.listening.listen import Heard
from ulmo.token_model import TokenModel
from ulmo.vocabulary import Vocabulary

# Seconds by which a recording may begin before the one before it ends, as in a timeline: times in
# names are whole seconds.
_TOLERANCE_S = 2.0


class Source(NamedTuple):
    """A recording in a row."""

    column: int  # its first, in the row
    recording: str  # its name, as the user gave it
    begin_s: float  # of its first sample, from the begin of the row


class TokenRow(NamedTuple):
    """Columns that are each other's past: of one recording, a timeline, or joined recordings."""

    sources: Sequence[Source]  # in the order of their columns
    channel: int | None  # None: the mean of all
    ids: Ids  # (columns, bands); `<gap>` where time was left out
    seconds: NDArray[np.float64]  # (columns,) when each begins, from the begin of the row
    column_s: float
    start_utc: datetime | None  # of the begin of the row

    @classmethod
    def of_stored(cls, model: TokenModel, stored: StoredTokens) -> "TokenRow":
        """A file of tokens. UserError for tokens of another tokenizer than the model's."""
        header = stored.header
        model.check_tokenizer(header.fingerprint, f"the tokens of {header.recording}")
        samples = header.start + np.arange(len(stored.ids)) * header.hop
        if header.gaps != "keep":  # columns are evenly spaced within each segment alone
            for each in header.segments:
                late = np.arange(len(samples) - each.column) * header.hop
                samples[each.column :] = header.start + each.offset + late
        seconds = samples / header.sample_rate
        return cls(
            *(_sources_of(header, seconds), header.channel, stored.ids, seconds),
            column_s=header.hop / header.sample_rate,
            start_utc=header.start_utc,
        )

    @classmethod
    def of_heard(cls, model: TokenModel, heard: Heard) -> "TokenRow":
        """A channel of a recording, with `<gap>` as stored tokens have it."""
        places = heard.places
        ids = np.full((int(places.max(initial=-1)) + 1, heard.ids.shape[1]), _gap(model), np.int32)
        ids[places] = heard.ids
        seconds = np.full(len(ids), np.nan)
        late = [part.start_s + np.arange(part.columns) * heard.column_s for part in heard.parts]
        seconds[places] = np.concatenate(late)
        sources = [Source(0, heard.recording, 0.0)]
        return cls(sources, heard.channel, ids, seconds, heard.column_s, heard.start_utc)

    def sound(self, model: TokenModel) -> Indices:
        """The columns that are not `<gap>`."""
        return np.flatnonzero((self.ids != _gap(model)).any(axis=1))

    @property
    def parts(self) -> list[slice]:
        """The columns of each source."""
        firsts = [source.column for source in self.sources]
        return [slice(*each) for each in pairwise([*firsts, len(self.seconds)])]

    def source_of(self, columns: Indices) -> Indices:
        """The number of the source of each of some columns."""
        firsts = [source.column for source in self.sources]
        return np.searchsorted(firsts, columns, side="right") - 1

    def utc(self, column: int) -> datetime | None:
        """When a column begins; None if that is not known."""
        late = timedelta(microseconds=round(float(self.seconds[column]) * 1_000_000))
        return self.start_utc and self.start_utc + late

    @property
    def end_s(self) -> float:
        """The end of its last column."""
        return float(np.nanmax(self.seconds, initial=0.0)) + self.column_s


def joined(model: TokenModel, rows: Iterable[TokenRow]) -> list[TokenRow]:
    """One row of each channel: its recordings in the order of time, with a `<gap>` between them.

    UserError if a recording has no time, or begins more than 2 s before another one ends, or if the
    columns of two do not last equally long.
    """
    channels: dict[int | None, list[TokenRow]] = {}
    for row in rows:
        if row.start_utc is None:
            raise no_time(row.sources[0].recording)
        others = channels.setdefault(row.channel, [])
        if others and row.column_s != others[0].column_s:
            raise UserError(
                f"{row.sources[0].recording} has another time expansion than "
                f"{others[0].sources[0].recording}: score them apart, or leave --joined out"
            )
        others.append(row)
    return [_joined(model, each) for each in channels.values()]


def no_time(recording: str) -> UserError:
    """A recording whose place in time is not known."""
    return UserError(
        f"--joined needs the time of each recording, and {recording} has none: say how its name "
        "tells it (--timestamp-pattern, of tokens when you make them), or leave --joined out"
    )


def _joined(model: TokenModel, rows: Sequence[TokenRow]) -> TokenRow:
    placed = sorted(
        (row.start_utc, row.sources[0].recording, number, row)
        for number, row in enumerate(rows)
        if row.start_utc is not None
    )
    begin = placed[0][0]
    gap = np.full((1, rows[0].ids.shape[1]), _gap(model), rows[0].ids.dtype)
    sources: list[Source] = []
    ids: list[Ids] = []
    seconds: list[NDArray[np.float64]] = []
    column, end_s = 0, 0.0
    for start_utc, name, _, row in placed:
        late = (start_utc - begin).total_seconds()
        if sources:
            if end_s - late > _TOLERANCE_S:
                raise UserError(
                    f"{name} begins {end_s - late:.1f} s before {sources[-1].recording} ends: "
                    "--joined is for recordings of one recorder, so score those of each apart"
                )
            ids.append(gap)
            seconds.append(np.array([np.nan]))
            column += 1
        sources += [
            each._replace(column=each.column + column, begin_s=each.begin_s + late)
            for each in row.sources
        ]
        ids.append(row.ids)
        seconds.append(row.seconds + late)
        column += len(row.ids)
        end_s = late + row.end_s
    return rows[0]._replace(
        sources=sources,
        ids=np.concatenate(ids),
        seconds=np.concatenate(seconds),
        start_utc=begin,
    )


def _sources_of(header: TokensHeader, seconds: NDArray[np.float64]) -> list[Source]:
    """The recordings of a file of tokens; a timeline has several."""
    segments = header.segments
    if {each.recording for each in segments} <= {header.recording}:
        return [Source(0, header.recording, 0.0)]
    sources: list[Source] = []
    for number, each in enumerate(segments):
        if not number or not each.is_of_the_file_of(segments[number - 1]):
            begin_s = float(seconds[each.column]) - each.frame / each.recording_rate
            sources.append(Source(each.column if number else 0, each.recording, begin_s))
    return sources


def _gap(model: TokenModel) -> int:
    return Vocabulary(model.manifest.model.codebook_size).gap
