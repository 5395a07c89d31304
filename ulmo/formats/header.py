"""What is known of a stream of tokens; it lies as JSON beside every file that holds them.

x.tokens.parquet    the ids
x.tokens.json       TokensHeader of one recording, or CorpusHeader of several
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, AwareDatetime, Field, PlainSerializer, model_validator

from ulmo.config import Settings, UserError, read_most
from ulmo.storage.plain_file import file_hash
from ulmo.storage.sealed import read_json, seal
from ulmo.vocabulary import Vocabulary

SCHEMA_VERSION = 2  # 1 had no checksums
MAX_CORPUS_BYTES = 1 << 28  # of a corpus' header, at most: about a million recordings
# Of a file in any format, at most: a row of CSV names a recording, a label of one id its time.
AGAIN = "write the tokens again"
FREE_BYTES, BYTES_PER_ID, BYTES_PER_COLUMN = 1 << 24, 128, 1 << 15

Count = Annotated[int, Field(ge=0, le=1 << 53)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=4096)]
Ending = Annotated[str, Field(pattern=r"^(\.[a-z]{1,16}){1,2}$")]
Hashes = dict[str, str]


def utc_text(time: datetime) -> str:
    """ISO 8601 with all microseconds, so that all have one form: 2026-03-01T05:30:00.000000Z."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _in_utc(time: datetime) -> datetime:
    if not 1800 <= time.year < 9000:
        raise ValueError(f"the year {time.year} is no time of a recording")
    return time.astimezone(UTC)


Utc = Annotated[
    AwareDatetime, AfterValidator(_in_utc), PlainSerializer(utc_text, when_used="json-unless-none")
]


class Grid(Settings):
    """What all tokens of one tokenizer have in common."""

    schema_version: Literal[2] = 2
    fingerprint: Hash  # the tokenizer's: SHA-256 over its settings and weights
    # Hertz; the rate that recordings were resampled to.
    sample_rate: Annotated[int, Field(ge=100, le=4_000_000)]
    hop: Annotated[int, Field(ge=1, le=512_000_000)]  # samples from one column to the next
    # Samples from one spectrogram frame to the next; divides hop.
    frame_hop: Annotated[int, Field(ge=1, le=1_000_000)]
    # Band b lies between edges b and b + 1.
    edges_hz: Annotated[
        tuple[Annotated[float, Field(ge=0, le=4_000_000)], ...],
        Field(min_length=2, max_length=2049),
    ]
    codebook_size: Annotated[int, Field(ge=2, le=65_472)]
    # What lies further from its code than this share in training is `<unk>`; None: nothing is.
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
        """What each id means."""
        return Vocabulary(self.codebook_size)

    @property
    def grid(self) -> "Grid":
        """This alone, without what is told of recordings."""
        return Grid(**{name: getattr(self, name) for name in Grid.model_fields})


class RecordingSpan(Settings):
    """A file's place in a timeline that is made of several."""

    recording: Name
    column: Count
    columns: Count
    start_utc: Utc | None = None


class Stream(Settings):
    """What is told of one recording."""

    recording: Name  # its path as text: as the user gave it, or below the folder that the user gave
    channel: Annotated[int, Field(ge=0, le=9999)] | None = None  # none: the mean of all
    start: Count = 0  # sample on which the first column's first frame is centred
    # Time of the recording's first sample; None where nothing tells it.
    start_utc: Utc | None = None
    columns: Count = 0
    # Spectrogram frames that the columns stand for: the last column may be partly filling.
    frames: Count = 0
    unknown: Count = 0  # ids that are `<unk>`
    # Files of a timeline; between them, `<gap>`.
    segments: Annotated[tuple[RecordingSpan, ...], Field(max_length=1 << 20)] = ()


class TokensHeader(Stream, Grid):
    """One stream of tokens: whose they are, and where each lies in time and frequency."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.columns != -(-self.frames * self.frame_hop // self.hop):
            raise ValueError(f"{self.frames} frames do not make {self.columns} columns")
        if self.unknown > self.columns * self.bands:
            raise ValueError(f"unknown {self.unknown} is more than there are ids")
        try:
            self.utc(self.columns)
        except OverflowError:
            raise ValueError("the tokens last too long for a calendar") from None
        return self

    @property
    def unk_rate(self) -> float:
        """Share of the ids that are `<unk>`; 0 where there are none."""
        return self.unknown / max(1, self.columns * self.bands)

    def seconds(self, column: int) -> float:
        """Where a column begins, in seconds from the recording's first sample.

        Counted in whole samples and divided once: nothing drifts, however long it is.
        """
        return (self.start + column * self.hop) / self.sample_rate

    def end_seconds(self, column: int) -> float:
        """Where what lies before a column ends: its beginning, or the end of the sound."""
        samples = column * self.hop
        if self.frames:
            samples = min(samples, self.frames * self.frame_hop)
        return (self.start + samples) / self.sample_rate

    def utc(self, column: int) -> datetime | None:
        """When a column begins, to the nearest microsecond."""
        if self.start_utc is None:
            return None
        samples = self.start + column * self.hop
        microseconds = (2_000_000 * samples + self.sample_rate) // (2 * self.sample_rate)
        return self.start_utc + timedelta(microseconds=microseconds)

    def ended(self, *, columns: int, frames: int, unknown: int) -> "TokensHeader":
        """The same of a recording that has come to its end."""
        return TokensHeader(
            **{**dict(self), "columns": columns, "frames": frames, "unknown": unknown}
        )


class CorpusHeader(Grid):
    """Several recordings in one file, in its order."""

    recordings: Annotated[tuple[Stream, ...], Field(min_length=1, max_length=1 << 20)]

    @classmethod
    def of(cls, headers: Sequence[TokensHeader]) -> Self:
        """Of recordings that have one grid."""
        streams = [
            Stream(**{name: getattr(header, name) for name in Stream.model_fields})
            for header in headers
        ]
        return cls(**dict(headers[0].grid), recordings=tuple(streams))

    def headers(self) -> tuple[TokensHeader, ...]:
        """One of each recording."""
        grid = {name: getattr(self, name) for name in Grid.model_fields}
        return tuple(TokensHeader.read({**grid, **dict(stream)}) for stream in self.recordings)


class _Files(Settings):
    """The files that lie beside a header."""

    # SHA-256 of each, by the end of its name: .npy, .idx.
    hashes: dict[Ending, Hash] = Field(default_factory=dict, max_length=16)


class _StoredHeader(_Files, TokensHeader):
    """x.tokens.json of one recording."""


class _StoredCorpus(_Files, CorpusHeader):
    """x.tokens.json of several."""


class Stored(NamedTuple):
    """What x.tokens.json says."""

    headers: tuple[TokensHeader, ...]
    hashes: Hashes


def header_json(headers: Sequence[TokensHeader], hashes: Hashes | None = None) -> bytes:
    """The file that lies beside one recording's tokens, or beside those of several."""
    header = headers[0] if len(headers) == 1 else CorpusHeader.of(headers)
    kind = _StoredHeader if len(headers) == 1 else _StoredCorpus
    return seal(kind(**dict(header), hashes=hashes or {}).model_dump_json(indent=2))


def read_header(path: Path) -> TokensHeader:
    """x.tokens.json of one recording; UserError where it is missing, damaged or newer."""
    return _read_one(path).headers[0]


def read_headers(path: Path) -> tuple[TokensHeader, ...]:
    """x.tokens.json of one recording or of a corpus; UserError as above."""
    return read_stored(path).headers


def read_stored(path: Path) -> Stored:
    """The same, and the hashes of the files beside it."""
    _demand(path)
    if not _is_of_corpus(path):
        return _read_one(path)
    corpus = read_json(
        path,
        _StoredCorpus,
        newest=SCHEMA_VERSION,
        remedy=AGAIN,
        most=MAX_CORPUS_BYTES,
        sealed=True,
    )
    try:
        return Stored(corpus.headers(), corpus.hashes)
    except UserError as error:
        raise UserError(f"{path} is damaged ({error}): {AGAIN}") from None


def _read_one(path: Path) -> Stored:
    _demand(path)
    stored = read_json(path, _StoredHeader, newest=SCHEMA_VERSION, remedy=AGAIN, sealed=True)
    header = TokensHeader(**{name: getattr(stored, name) for name in TokensHeader.model_fields})
    return Stored((header,), stored.hashes)


def header_path(path: Path) -> Path:
    """Where the header of a tokens file lies."""
    return path.with_suffix(".json")


def check_hash(path: Path, stored: Stored, ending: str | None = None) -> None:
    """ValueError unless a file beside a header is the one that it speaks of, to the last byte.

    `ending` is that of its name, if it is more than what follows the last dot.
    """
    ending = ending or path.suffix
    if ending not in stored.hashes:
        raise ValueError("its header does not speak of it")
    columns = sum(header.columns for header in stored.headers)
    ids = sum(header.columns * header.bands for header in stored.headers)
    most = FREE_BYTES + BYTES_PER_ID * ids + BYTES_PER_COLUMN * columns
    if path.is_file() and path.stat().st_size > most:
        raise ValueError("it is longer than what its header speaks of")
    if file_hash(path) != stored.hashes[ending]:
        raise ValueError("its checksum is not the one in its header")


def _demand(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path} is missing, which tells what the tokens are: {AGAIN}")


def _is_of_corpus(path: Path) -> bool:
    if path.stat().st_size > MAX_CORPUS_BYTES:
        return False
    return b'\n  "recordings": [' in read_most(path, MAX_CORPUS_BYTES)
