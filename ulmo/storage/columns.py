"""Types of the fields of a row: what a value may be, and the type of its column in a table.

Rows are validated by them when they are read, too: a table may be a stranger's.
"""

from typing import Annotated, NamedTuple

from pydantic import Field

from ulmo.storage.names import Name


class ColumnType(NamedTuple):
    """The type of a column, as metadata of a field: `Annotated[int, ColumnType("int64")]`."""

    name: str  # a key of storage.tables.TYPES


Text = Annotated[str, ColumnType("string")]
OptionalText = Annotated[str | None, ColumnType("string")]
PathText = Annotated[Name, ColumnType("string")]  # by storage.names.portable
PathTexts = Annotated[tuple[Name, ...], ColumnType("strings")]
_Code = Annotated[str, Field(pattern="^[a-z_]+$", max_length=64)]  # a stable word of ulmo's
OptionalCode = Annotated[_Code | None, ColumnType("string")]
Codes = Annotated[tuple[_Code, ...], ColumnType("strings")]
Count = Annotated[int, Field(ge=0, lt=1 << 63), ColumnType("int64")]
OptionalCount = Annotated[int | None, Field(ge=0, lt=1 << 63), ColumnType("int64")]
SmallCount = Annotated[int, Field(ge=0, lt=1 << 31), ColumnType("int32")]
OptionalSmallCount = Annotated[int | None, Field(ge=0, lt=1 << 31), ColumnType("int32")]
Channels = Annotated[int | None, Field(ge=0, le=1024), ColumnType("int32")]  # of a recording
Seconds = Annotated[float, Field(ge=0, le=1e12), ColumnType("float64")]
OptionalHertz = Annotated[float | None, Field(ge=0, le=1e12), ColumnType("float64")]
OptionalShare = Annotated[float | None, Field(ge=0, le=1), ColumnType("float64")]
# Samples in float32 lie between -900 and +780 dB.
OptionalDecibels = Annotated[float | None, Field(ge=-1000, le=1000), ColumnType("float64")]
Microseconds = Annotated[int | None, Field(ge=-(1 << 53), le=1 << 53), ColumnType("utc")]
Checksum = Annotated[int, Field(ge=0, lt=1 << 32), ColumnType("uint32")]
