"""Rows of the recordings that were tokenized: a journal while the job runs, a table afterwards.

Both say with which settings they were made; those of other settings, or of a newer ulmo, are
another job's, and refused.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from ulmo.config import ClockSettings, NewerError, Settings, UserError, one_line
from ulmo.pipelines.tokenize.job import How, Maker
from ulmo.preprocessing.plan import MAX_CHANNELS
from ulmo.preprocessing.store import RECORDING_FIELDS
from ulmo.storage.atomic import publish, remove
from ulmo.storage.parquet_guard import read_guarded
from ulmo.storage.plain_file import file_hash
from ulmo.storage.sealed import canonical_json, parse_json, read_json, write_sealed
from ulmo.storage.tables import write_table

REPORT = "recordings.parquet"
JOURNAL = ".tokenize.jsonl"
AGAIN = "delete it and run the same ulmo-tokenize again"
MAX_LINE = 1 << 20
MADE_WITH = b"ulmo"
"""Key of the settings among the metadata of a table."""

SCHEMA = pa.schema(
    [
        *RECORDING_FIELDS,  # path: as given, or below the folder that was given
        ("start_utc", pa.timestamp("us", tz="UTC")),
        ("start_source", pa.string()),
        ("columns", pa.int64()),  # of tokens, of one channel
        ("bands", pa.int32()),
        ("samples", pa.int64()),  # at the tokenizer's rate
        ("unknown", pa.int64()),  # ids that are <unk>, in all outputs
        ("outputs", pa.list_(pa.string())),  # below the folder of this table
        ("key", pa.string()),  # hash over the recording, the tokenizer and the settings
    ]
)

Count = Annotated[int, Field(ge=0, le=1 << 53)]
Small = Annotated[int, Field(ge=0, lt=1 << 31)]


class Row(Settings):
    """A row of the table, and a line of the journal; nothing else is believed."""

    path: str
    bytes: Count
    ends_crc32c: Annotated[int, Field(ge=0, lt=1 << 32)]
    status: Literal["ok", "repaired", "partial", "refused"]
    reason: str | None
    detail: str | None
    sample_rate: Small | None
    channels: Annotated[int, Field(ge=0, le=MAX_CHANNELS)] | None
    frames: Count
    frames_declared: Count | None
    frames_missing: Count
    duration_s: Annotated[float, Field(ge=0)]
    flags: list[str]
    start_utc: Annotated[int, Field(ge=0, le=1 << 52)] | None
    start_source: str | None
    columns: Count
    bands: Small
    samples: Count
    unknown: Count
    outputs: list[str]
    key: str


class Digest(Settings):
    """recordings.json: it tells whether the table beside it is whole."""

    schema_version: Literal[1] = 1
    table: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the table."""


class OtherSettingsError(UserError):
    """An output was made with other settings than are given now."""


class Made(Settings):
    """What decides about the tokens of every recording of a job."""

    schema_version: Literal[1] = 1
    tokenizer: str
    """Its fingerprint."""
    unk_quantile: float | None
    file_format: str
    channels: str
    clock: ClockSettings
    ids: tuple[int, ...] | None
    min_columns: int

    @classmethod
    def of(cls, maker: Maker, how: How) -> "Made":
        """Those of a job that is about to run."""
        ids = how.options.ids
        return cls(
            tokenizer=maker.fingerprint,
            unk_quantile=maker.unk_quantile,
            file_format=how.file_format,
            channels=how.channels,
            clock=how.clock,
            ids=None if ids is None else tuple(sorted(ids)),
            min_columns=how.options.min_columns,
        )

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.model_dump(mode="json")).encode()


def read_table(path: Path, output: Path, made: Made) -> dict[str, Row]:
    """Rows of an earlier run, by their keys; none of a table that cannot be read.

    UserError where the output was made with other settings than `made`, or by a newer ulmo.
    """
    try:
        with pq.ParquetFile(path) as file:
            _refuse_others(output, (file.schema_arrow.metadata or {}).get(MADE_WITH), made)
        return {row.key: row for row in checked_rows(path)}
    except (NewerError, OtherSettingsError):
        raise
    except (OSError, pa.ArrowException, UserError):
        return {}


def checked_rows(path: Path) -> list[Row]:
    """Rows of a table; UserError unless it is the one that its digest speaks of."""
    if not digest_path(path).exists():
        raise UserError(f"{digest_path(path).name} is missing, which tells whether it is whole")
    digest = read_json(digest_path(path), Digest, newest=1, remedy=AGAIN, sealed=True)
    if file_hash(path) != digest.table:
        raise UserError(f"{path} is not the file that its digest speaks of: {AGAIN}")
    return read_rows(path)


def read_rows(path: Path) -> list[Row]:
    """Rows of a table, whatever its digest says; UserError where it cannot be read."""
    try:
        table = read_guarded(path, SCHEMA)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)}): {AGAIN}") from None
    place = SCHEMA.get_field_index("start_utc")
    table = table.set_column(place, "start_utc", table["start_utc"].cast(pa.int64()))
    return [Row.read(values) for values in table.to_pylist()]


def restore_digest(path: Path) -> bool:
    """Write the digest of a table again where it was lost and the table can be read.

    False where there is a digest of another table, or where the table cannot be read.
    """
    there = digest_path(path)
    try:
        read_json(there, Digest, newest=1, remedy=AGAIN, sealed=True)
    except NewerError:
        raise
    except (UserError, FileNotFoundError):
        pass
    else:
        return False
    try:
        read_rows(path)
    except (UserError, OSError):
        return False
    write_sealed(there, Digest(table=file_hash(path) or ""))
    return True


def is_table(path: Path) -> bool:
    """True of recordings.parquet, and of x.tokens.npy.recordings.parquet beside a timeline."""
    return path.name == REPORT or path.name.endswith(f".{REPORT}")


def is_our_table(path: Path) -> bool:
    """True of a table with our settings among its metadata, or with a digest of ours beside it.

    Of one that cannot be read too: nothing tells whose it is. NewerError where a newer ulmo wrote
    it.
    """
    if not path.is_file():
        return True
    try:
        with pq.ParquetFile(path) as file:
            content = (file.schema_arrow.metadata or {}).get(MADE_WITH)
    except (OSError, ValueError, pa.ArrowException):
        return True
    if content is None:
        return is_digest(digest_path(path))
    try:
        parse_json(content, path, Made, newest=1, remedy=AGAIN)
    except NewerError:
        raise
    except UserError:
        pass
    return True


def is_digest(path: Path) -> bool:
    """True of recordings.json as we write it; NewerError where a newer ulmo did."""
    if not is_table(path.with_suffix(".parquet")) or path.suffix != ".json":
        return False
    try:
        read_json(path, Digest, newest=1, remedy=AGAIN, sealed=True)
    except NewerError:
        raise
    except (UserError, OSError):
        return False
    return True


def publish_table(path: Path, rows: Iterable[Row], made: Made) -> None:
    """Write a table, then its digest."""
    schema = SCHEMA.with_metadata({MADE_WITH: made.to_bytes()})
    write_table(path, (row.model_dump() for row in rows), schema)
    write_sealed(digest_path(path), Digest(table=file_hash(path) or ""))


def remove_table(path: Path) -> None:
    """Remove a table, if it is there, and its digest."""
    remove(path)
    remove(digest_path(path))


def digest_path(path: Path) -> Path:
    """recordings.json of recordings.parquet."""
    return path.with_suffix(".json")


def read_journal(path: Path, output: Path, made: Made) -> dict[str, Row]:
    """Rows of a run that was killed; a line that a kill cut short is not among them."""
    found = []
    try:
        with path.open("rb") as file:
            _refuse_others(output, file.readline(MAX_LINE), made)
            while line := file.readline(MAX_LINE):
                with suppress(ValueError, RecursionError):
                    found.append(json.loads(line))
    except OSError:
        pass
    return _by_key(found)


def publish_journal(path: Path, rows: Iterable[Row], made: Made) -> None:
    """Begin a journal: the settings, then a line for each row that is known."""
    with publish(path) as file:
        file.write(made.to_bytes() + b"\n")
        file.writelines(map(line_of, rows))


def line_of(row: Row) -> bytes:
    """A row in the journal."""
    return row.model_dump_json().encode() + b"\n"


def _refuse_others(output: Path, content: bytes | None, made: Made) -> None:
    """Settings that are no JSON of ours are as good as none: then the keys of the rows decide."""
    try:
        there = parse_json(content or b"", output, Made, newest=1, remedy="tokenize again")
    except NewerError:
        raise
    except UserError:
        return
    before, now = there.model_dump(mode="json"), made.model_dump(mode="json")
    changes = [
        f"{name} {_short(value)} there, {_short(now[name])} here"
        for name, value in before.items()
        if value != now[name]
    ]
    if changes:
        raise OtherSettingsError(
            f"{output} was made with other settings ({', '.join(changes)}): "
            "choose another output, or delete that one"
        )


def _short(value: Any) -> str:
    return repr(value[:8] if isinstance(value, str) else value)[:80]


def _by_key(rows: Sequence[Any]) -> dict[str, Row]:
    known = {}
    for values in rows:
        with suppress(UserError, TypeError):
            row = Row.read(values)
            known[row.key] = row
    return known
