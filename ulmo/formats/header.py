"""Headers of tokens files: JSON beside each file, with all that is known of its tokens.

x.tokens.parquet    the ids
x.tokens.json       TokensHeader of one recording, or the grid and the streams of several
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, AwareDatetime, Field, PlainSerializer, model_validator

from ulmo.config import HIGHEST_RATE, Settings, UserError, WholeFileError
from ulmo.formats.places import refuse_linked_folders
from ulmo.storage.manifest import Hash
from ulmo.storage.names import Name
from ulmo.storage.plain_file import read_unlinked
from ulmo.storage.sealed import read_json, seal, sealed_values
from ulmo.vocabulary import Vocabulary

SCHEMA_VERSION = 3  # 1 had no checksums, 2 no places in files
MAX_CORPUS_BYTES = 64 << 20  # longest header: about 200,000 recordings of a corpus, or segments
_MOST_STREAMS = 1 << 18  # recordings of a corpus, or segments: each takes 3 KB of memory
AGAIN = "write the tokens again"

Count = Annotated[int, Field(ge=0, le=1 << 53)]
# A path as text has four letters for a byte that is not UTF-8; systems take 4,096 bytes.
_Recording = Annotated[Name, Field(max_length=4 * 4096)]
Hashes = dict[str, str]  # SHA-256 of each file beside a header, by the end of its name: .npy, .idx
_Ending = Annotated[str, Field(pattern=r"^(\.[a-z]{1,16}){1,2}$")]
_StoredHashes = Annotated[dict[_Ending, Hash], Field(default_factory=dict, max_length=16)]


def utc_text(time: datetime) -> str:
    """ISO 8601 with microseconds, always in one form: 2026-03-01T05:30:00.000000Z."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _in_utc(time: datetime) -> datetime:
    if not 1800 <= time.year < 9000:
        raise ValueError(f"the year {time.year} is no time of a recording")
    return time.astimezone(UTC)


Gaps = Literal["keep", "one", "omit"]
Rate = Annotated[int, Field(ge=1, le=HIGHEST_RATE)]  # hertz
Utc = Annotated[
    AwareDatetime, AfterValidator(_in_utc), PlainSerializer(utc_text, when_used="json-unless-none")
]


class Grid(Settings):
    """The grid of one tokenizer: the same for all its tokens."""

    schema_version: Literal[3] = 3
    fingerprint: Hash  # of the tokenizer: SHA-256 of its settings and weights
    # Rate in hertz that recordings were resampled to: the tokenizer's rate x time_expansion.
    sample_rate: Rate
    # Recordings were tokenized as if made at their rate / time_expansion. All times and hertz here
    # are the true ones.
    time_expansion: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = 1.0
    hop: Annotated[int, Field(ge=1, le=512_000_000)]  # samples from one column to the next
    # Samples from one spectrogram frame to the next; divides hop.
    frame_hop: Annotated[int, Field(ge=1, le=1_000_000)]
    # Band b lies between edges b and b + 1.
    edges_hz: Annotated[
        tuple[Annotated[float, Field(ge=0, le=HIGHEST_RATE)], ...],
        Field(min_length=2, max_length=2049),
    ]
    codebook_size: Annotated[int, Field(ge=2, le=65_472)]
    # Latents further from their codes than this share of those in training are `<unk>`; None: none.
    unk_quantile: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _is_a_grid(self) -> Self:
        if any(low >= high for low, high in zip(self.edges_hz, self.edges_hz[1:], strict=False)):
            raise ValueError("edges_hz must rise")
        if self.hop % self.frame_hop:
            raise ValueError(f"hop {self.hop} must be a multiple of frame_hop {self.frame_hop}")
        return self

    @property
    def bands(self) -> int:
        """Tokens in one column."""
        return len(self.edges_hz) - 1

    @property
    def vocabulary(self) -> Vocabulary:
        """The meaning of each id."""
        return Vocabulary(self.codebook_size)

    @property
    def grid(self) -> "Grid":
        """The grid alone, without the fields of a recording."""
        return Grid(**_fields(self, Grid))


class Segment(Settings):
    """Columns of a stream that come from consecutive frames of one file."""

    recording: _Recording
    column: Count  # the first, in the stream
    columns: Count
    # True time of its first sample, in samples at sample_rate from the stream's first sample.
    offset: Count
    start_utc: Utc | None = None  # the same as a time; None if unknown
    recording_rate: Rate  # of the file; `frame`, `frames` and `file_frames` are counted at it
    frame: Count = 0  # place in the file of its first frame
    frames: Count  # of sound
    file_frames: Count  # of the whole file

    def is_of_the_file_of(self, before: "Segment") -> bool:
        """Whether the segment before it lies in the same file; two files may have one name."""
        return self.recording == before.recording and self.frame >= before.frame + before.frames


class Place(NamedTuple):
    """Where a column begins in a file."""

    recording: str
    seconds: float  # from the file's first frame, at its own rate
    utc: datetime | None  # true time, also if the stream's columns are on an even grid


class Stream(Settings):
    """The fields of one recording, or of a timeline of several."""

    recording: _Recording  # its path, as the user gave it or relative to the user's folder
    channel: Annotated[int, Field(ge=0, le=9999)] | None = None  # None: the mean of all
    recording_rate: Rate | None = None  # of the recording; None: unknown, or see the segments
    recording_frames: Count = 0  # that were read, at recording_rate; 0: as above
    start: Count = 0  # sample on which the first column's first frame is centred
    # Time of the recording's first sample; None if unknown.
    start_utc: Utc | None = None
    columns: Count = 0
    # Spectrogram frames covered by the columns; the last column may be partly padding.
    frames: Count = 0
    unknown: Count = 0  # ids that are `<unk>`
    # Where the recordings of a timeline lie, or the parts of a recording that has gaps in time.
    # In the order of their columns. Columns outside them are `<gap>`.
    segments: Annotated[tuple[Segment, ...], Field(max_length=_MOST_STREAMS, fail_fast=True)] = ()
    # How the time between segments is written: as many `<gap>` columns as it lasts, one, or none.
    # Only with `keep` are columns evenly spaced in time.
    gaps: Gaps = "keep"


class TokensHeader(Stream, Grid):
    """One stream of tokens: its tokenizer, its recording, and each token's time and frequency.

    `columns` is 0 until the stream has ended.
    """

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        return self.checked()

    def checked(self) -> Self:
        """This header. Raises ValueError if its fields do not fit each other."""
        if self.columns != -(-self.frames * self.frame_hop // self.hop):
            raise ValueError(f"{self.frames} frames do not make {self.columns} columns")
        for first, second in pairwise(self.segments):
            if second.column < first.column + first.columns or second.offset < first.offset:
                raise ValueError("segments must follow each other")
        if self.columns and self._end_of_segments > self.columns:
            raise ValueError(f"its segments have more than its {self.columns} columns")
        if self.unknown > self.columns * self.bands:
            raise ValueError(f"unknown {self.unknown} is more than there are ids")
        try:
            self.utc(max(self.columns, self._end_of_segments))
            for last in self.segments[-1:]:
                self._utc_of(last.offset + last.columns * self.hop)
        except OverflowError:
            raise ValueError("the tokens last too long for a calendar") from None
        return self

    def seconds(self, column: int) -> float:
        """Begin of a column, in true seconds from the stream's first sample.

        Counted in whole samples and divided once, so it does not drift in long recordings.
        """
        return self.sample(column) / self.sample_rate

    def end_seconds(self, column: int) -> float:
        """End of the column before this one, in true seconds: its border, or the sound's end."""
        last = column - 1
        segment = self.segment(last)
        if segment is not None:
            length = segment.frames * self.sample_rate / segment.recording_rate
            taken = min((column - segment.column) * self.hop, length)
            return (self.sample(segment.column) + taken) / self.sample_rate
        if self.segments and self.gaps != "keep":
            return self.seconds(column)
        samples = column * self.hop
        if self.frames:
            samples = min(samples, self.frames * self.frame_hop)
        end = (self.start + samples) / self.sample_rate
        if self.recording_rate and self.recording_frames:
            end = min(end, self.recording_frames / self.recording_rate)
        return end

    @property
    def sound_seconds(self) -> float:
        """Seconds of sound, without the gaps."""
        if not self.segments:
            return self.end_seconds(self.columns) - self.seconds(0)
        return sum(segment.frames / segment.recording_rate for segment in self.segments)

    def utc(self, column: int) -> datetime | None:
        """Time at which a column begins, to the nearest microsecond; None if unknown."""
        return self._utc_of(self.sample(column))

    def _utc_of(self, samples: int) -> datetime | None:
        if self.start_utc is None:
            return None
        microseconds = (2_000_000 * samples + self.sample_rate) // (2 * self.sample_rate)
        return self.start_utc + timedelta(microseconds=microseconds)

    def segment(self, column: int) -> Segment | None:
        """The segment that a column belongs to; None for `<gap>`, and if there are no segments."""
        found = self._segment_before(column)
        return found if found and column < found.column + found.columns else None

    def place(self, column: int) -> Place | None:
        """Where a column begins in its file; None for a column of `<gap>`."""
        if not self.segments:
            return Place(self.recording, self.seconds(column), self.utc(column))
        segment = self.segment(column)
        if segment is None:
            return None
        late = (column - segment.column) * self.hop
        seconds = Fraction(segment.frame, segment.recording_rate) + Fraction(late, self.sample_rate)
        return Place(segment.recording, float(seconds), self._utc_of(segment.offset + late))

    def border(self, column: int) -> int | None:
        """The next column, after this one, where a segment begins or ends; None: no other."""
        index = bisect_right(self.segments, column, key=lambda segment: segment.column)
        ends = [each.column + each.columns for each in self.segments[max(index - 1, 0) : index]]
        begins = [each.column for each in self.segments[index : index + 1]]
        return next((border for border in (*ends, *begins) if border > column), None)

    @property
    def _end_of_segments(self) -> int:
        """The column after the last segment; 0 without segments."""
        last = self.segments[-1:]
        return last[0].column + last[0].columns if last else 0

    def _segment_before(self, column: int) -> Segment | None:
        """The last segment that begins at a column or before it."""
        index = bisect_right(self.segments, column, key=lambda segment: segment.column)
        return self.segments[index - 1] if index else None

    def sample(self, column: int) -> int:
        """True time at which a column begins, in samples from the stream's first sample."""
        before = None if self.gaps == "keep" else self._segment_before(column)
        if before is None:
            return self.start + column * self.hop
        return self.start + before.offset + (column - before.column) * self.hop

    def ended(
        self, *, columns: int, frames: int, unknown: int, recording_frames: int = 0
    ) -> "TokensHeader":
        """This header with the length of the recording, once it has ended."""
        length = {"columns": columns, "frames": frames, "recording_frames": recording_frames}
        return TokensHeader(**{**dict(self), **length, "unknown": unknown})


_HEADER_FIELDS = set(TokensHeader.model_fields)  # pydantic's note of those that were given


class _StoredHeader(TokensHeader):
    """x.tokens.json of one recording."""

    hashes: _StoredHashes

    def headers(self) -> tuple[TokensHeader, ...]:
        """The header, without what is said of files."""
        return (TokensHeader(**_fields(self, TokensHeader)),)


class _StoredCorpus(Grid):
    """x.tokens.json of several recordings in one file, in their order."""

    recordings: Annotated[
        tuple[Stream, ...], Field(min_length=1, max_length=_MOST_STREAMS, fail_fast=True)
    ]
    hashes: _StoredHashes

    def headers(self) -> tuple[TokensHeader, ...]:
        """The header of each recording. Raises UserError if one does not fit the grid.

        All of them hold the same grid: each field was validated when this was read.
        """
        grid = _fields(self, Grid)
        return tuple(_joined(grid, stream) for stream in self.recordings)


class Stored(NamedTuple):
    """Contents of x.tokens.json."""

    headers: tuple[TokensHeader, ...]
    hashes: Hashes

    @property
    def header(self) -> TokensHeader:
        """The header, if it is of one recording. ValueError if it is of several."""
        if len(self.headers) != 1:
            raise ValueError("its header is of several recordings")
        return self.headers[0]


def header_json(headers: Sequence[TokensHeader], hashes: Hashes | None = None) -> bytes:
    """x.tokens.json of one recording, or of several with the same grid.

    Its bytes do not depend on the order in which the files beside it were written. Raises UserError
    if no reader would take as many recordings, or segments, in one file.
    """
    stored: _StoredHeader | _StoredCorpus
    hashes = dict(sorted((hashes or {}).items()))
    content = b""
    parts = max(len(headers), *(len(header.segments) for header in headers))
    if parts <= _MOST_STREAMS:
        if len(headers) == 1:
            stored = _StoredHeader(**dict(headers[0]), hashes=hashes)
        else:
            streams = tuple(Stream(**_fields(header, Stream)) for header in headers)
            grid = _fields(headers[0], Grid)
            stored = _StoredCorpus(**grid, recordings=streams, hashes=hashes)
        content = seal(stored.model_dump_json(indent=2))
    if parts > _MOST_STREAMS or len(content) > MAX_CORPUS_BYTES:
        raise UserError(
            f"{parts:,} recordings, or stretches of them, are too many for one file of tokens, "
            "which has room for about 200,000: write several files"
        )
    return content


def _joined(grid: dict[str, Any], stream: Stream) -> TokensHeader:
    """A header of valid fields, which it shares; UserError if they do not fit each other."""
    try:
        values = {**grid, **dict(stream)}
        return TokensHeader.model_construct(_HEADER_FIELDS, **values).checked()
    except ValueError as error:
        raise UserError(str(error)) from None


def _fields(values: Settings, kind: type[Settings]) -> dict[str, Any]:
    return {name: getattr(values, name) for name in kind.model_fields}


def read_stored(path: Path) -> Stored:
    """Read x.tokens.json of a recording or a corpus; UserError if it is missing, damaged or newer.

    WholeFileError if it is as it was written, but its parts do not fit each other.
    """
    refuse_linked_folders(path)
    if not path.is_file():
        raise UserError(f"{path} is missing, the header of these tokens: {AGAIN}")
    content = read_unlinked(path, MAX_CORPUS_BYTES)
    kind: type[_StoredHeader | _StoredCorpus]
    kind = _StoredCorpus if b'\n  "recordings": [' in content else _StoredHeader
    stored = read_json(
        path, kind, newest=SCHEMA_VERSION, remedy=AGAIN, content=content, sealed=True
    )
    try:
        return Stored(stored.headers(), stored.hashes)
    except UserError as error:
        state = "is as it was written, but not as this ulmo writes it"
        raise WholeFileError(f"{path} {state} ({error}): {AGAIN}") from None


def is_header(path: Path) -> bool:
    """Whether a file may be a header, whole or damaged, or holds nothing; True if there is none.

    Any field that only headers have is enough: all else is somebody's file.
    """
    if not path.is_file():
        return True
    try:
        content = read_unlinked(path, MAX_CORPUS_BYTES)
    except UserError:  # a link, or too large
        return False
    fields = (b'"fingerprint"', b'"frame_hop"', b'"edges_hz"', b'"codebook_size"')
    return any(field in content for field in fields) or not content.strip(b"\0 \n")


def recorded_hashes(path: Path) -> Hashes | None:
    """The hashes in a header whose checksum fits, whatever else it says; None for other files.

    Raises OSError if the file cannot be read.
    """
    refuse_linked_folders(path)
    if not path.is_file() or path.stat().st_size > MAX_CORPUS_BYTES:
        return None
    values = sealed_values(read_unlinked(path, MAX_CORPUS_BYTES))
    found = None if values is None else values.get("hashes")
    return found if found is None or isinstance(found, dict) else {}
