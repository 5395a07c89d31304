"""The classes of repeats, for the regions that they are in."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ulmo.config import UserError
from ulmo.config.arguments import path_argument
from ulmo.formats.events import REPEAT_COLUMNS, Events, event_schema
from ulmo.storage.csv_rows import read_csv_rows

_NEEDED = ("recording", "channel", "class", "start_s", "end_s")
_MOST_BYTES, _MOST_ROWS = 1 << 30, 1 << 24
_AGAIN = "is it a table of ulmo repeats, in csv or parquet?"


class Classes(NamedTuple):
    """Repeats of each channel of each recording, in the order of their begins."""

    repeats: Mapping[tuple[str, int | None], Sequence[tuple[float, float, int]]]

    @classmethod
    def of(cls, source: Events | str | Path | None) -> "Classes":
        """The classes in a table, or in what `ulmo.repeats` returned; None: none."""
        if source is None:
            return NO_CLASSES
        found: dict[tuple[str, int | None], list[tuple[float, float, int]]] = {}
        rows: Iterable[Mapping[str, Any]] = (
            source if isinstance(source, Events) else _read(path_argument("repeats", source))
        )
        for row in rows:
            if row["class"] is not None:
                key = row["recording"], row["channel"]
                found.setdefault(key, []).append((row["start_s"], row["end_s"], row["class"]))
        return cls({key: sorted(each) for key, each in found.items()})

    def at(self, recording: str, channel: int | None, start_s: float, end_s: float) -> int | None:
        """The class that covers most of a stretch; None if none covers a part of it."""
        repeats = self.repeats.get((recording, channel), ())
        covered: dict[int, float] = {}
        for number in range(bisect_left(repeats, (end_s,)) - 1, -1, -1):
            begin, end, kind = repeats[number]
            if begin < start_s - _LONGEST_S:
                break
            shared = min(end, end_s) - max(begin, start_s)
            if shared > 0:
                covered[kind] = covered.get(kind, 0.0) + shared
        return max(covered, key=lambda kind: (covered[kind], -kind), default=None)


_LONGEST_S = 120.0  # of a repeat
NO_CLASSES = Classes({})


def _read(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".parquet":
        yield from _read_parquet(path)
        return
    for line, row in read_csv_rows(path, _NEEDED, most_bytes=_MOST_BYTES, most_rows=_MOST_ROWS):
        try:
            yield {
                "recording": row["recording"].removeprefix("'"),
                "channel": int(row["channel"]) if row["channel"] else None,
                "class": int(row["class"]) if row["class"] else None,
                "start_s": float(row["start_s"]),
                "end_s": float(row["end_s"]),
            }
        except ValueError:
            raise UserError(f"{path}: line {line} is no repeat: {_AGAIN}") from None


def _read_parquet(path: Path) -> Iterable[dict[str, Any]]:
    import pyarrow as pa

    from ulmo.storage.parquet_guard import read_guarded
    from ulmo.storage.plain_file import open_plain

    with open_plain(path, remedy=_AGAIN) as file:
        try:
            table = read_guarded(file, event_schema(REPEAT_COLUMNS))
        except (pa.ArrowException, OSError, ValueError):
            raise UserError(f"{path} cannot be read: {_AGAIN}") from None
    rows: list[dict[str, Any]] = table.select(list(_NEEDED)).to_pylist()
    return rows
