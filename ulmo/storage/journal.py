"""A journal: one line of JSON for each key that a running job has done, with the key's rows.

A line may also have the hash of a file that the job needs at its end. Only hashes of keys, and the
places of their lines, are held in memory. A line that is cut short, or that is no line of ours, is
as good as none. A journal of which MAX_LINE bytes are no lines of ours is read no further: it may
be a hole, which is as long as somebody likes.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Generic, NamedTuple, TypeVar

from ulmo.config import Settings
from ulmo.storage.atomic import publish
from ulmo.storage.faults import reading
from ulmo.storage.packed import Index
from ulmo.storage.plain_file import LinkError, append_to, bounded_lines, open_unlinked
from ulmo.storage.sealed import canonical_json, parsed_json

# Bytes: 1024 outputs of a recording, whose names have 4096 bytes each, of 5 letters if escaped.
MAX_LINE = 21 << 20

R = TypeVar("R", bound=Settings)


class Entry(NamedTuple, Generic[R]):
    """A line."""

    key: str
    rows: Sequence[R]
    file_hash: str = ""  # SHA-256 of the file that the job made for the key; empty if it made none


class Journal(Generic[R]):
    """The journal at a path, if there is one; `row` is the class of the rows of a key."""

    def __init__(self, path: Path, row: type[R]) -> None:
        self._path = path
        self._row_type = row
        self._places = Index()  # where the line of a key begins
        self._appended: BinaryIO | None = None
        self._read: BinaryIO | None = None

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __iter__(self) -> Iterator[Entry[R]]:
        """The latest line of each key."""
        yield from map(self._at, self._places.numbers)

    def load(self) -> None:
        """Find the lines there are. Raises UserError if the file cannot be read."""
        self._places = Index()
        with reading(self._path):
            for key, place in self._lines():
                self._places[key] = place

    def entry(self, key: str) -> Entry[R] | None:
        """The line of a key; None if the journal does not have it."""
        place = self._places.get(key)
        return None if place is None else self._at(place)

    def _at(self, place: int) -> Entry[R]:
        self._read = self._read or open_unlinked(self._path)
        self._read.seek(place)
        return self._parsed(_value(self._read.readline(MAX_LINE)))

    def begin(
        self, entries: Iterable[Entry[R]], expected: int | None = None, *, others: int = 0
    ) -> None:
        """Replace the journal by one with these lines, and open it for add().

        `expected` is the number of rows that there will be, for progress(); `others` is the number
        of those among the lines that do not count.
        """
        places = Index()
        with publish(self._path) as file:
            if expected is not None:
                counts = {"expected": expected} | ({"others": others} if others else {})
                file.write(canonical_json(counts).encode() + b"\n")
            for entry in entries:
                places[entry.key] = file.tell()
                file.write(_packed(entry))
            self.close()
        self._places = places
        self._appended = append_to(self._path)

    def add(self, key: str, rows: Sequence[R], file_hash: str = "") -> None:
        """Append a line; its values are those of an Entry."""
        assert self._appended is not None, "call begin() first"
        self._places[key] = self._appended.tell()
        self._appended.write(_packed(Entry(key, rows, file_hash)))
        self._appended.flush()

    def close(self) -> None:
        """Close the file."""
        for file in (self._appended, self._read):
            if file is not None:
                file.close()
        self._appended = self._read = None

    def _lines(self) -> Iterator[tuple[str, int]]:
        """The key of each line, and where the line begins."""
        with suppress(ValueError, LinkError):
            for place, value in _values(self._path):
                with suppress(ValueError, KeyError, TypeError):
                    yield self._parsed(value).key, place

    def _parsed(self, entry: Any) -> Entry[R]:
        """Raises ValueError, KeyError or TypeError for what is no line of ours."""
        rows = [self._row_type.model_validate(row) for row in entry["rows"]]
        if any(vars(row)["key"] != entry["key"] for row in rows):
            raise ValueError("a row has another key than its line")
        return Entry(str(entry["key"]), rows, str(entry.get("file_hash", "")))


def progress(path: Path) -> str:
    """How much an unfinished job has done, by its journal: "7 of 24 recordings"."""
    done, expected, damage = 0, "", ""
    try:
        for _, value in _values(path):
            match value:
                case {"rows": list(rows)}:
                    done += len(rows)
                case {"expected": int(number), **more} if 0 <= number < 1 << 53:
                    expected, others = f"of {number} ", more.get("others")
                    done -= max(others, 0) if isinstance(others, int) else 0
    except ValueError:
        damage = f"; {path.name} is damaged"
    except OSError:
        pass
    return f"{max(done, 0)} {expected}recordings{damage}"


def _values(path: Path) -> Iterator[tuple[int, Any]]:
    """Where each line that is JSON begins, and its value; none if there is no journal.

    Raises OSError if it cannot be read, and ValueError if too much of it is not JSON.
    """
    if not path.is_file():
        return
    place, left = 0, MAX_LINE
    with open_unlinked(path) as file:
        for line in bounded_lines(file, MAX_LINE):
            try:
                value = _value(line)
            except (ValueError, RecursionError):
                left -= len(line)
                if left < 0:
                    raise ValueError("too many of its lines are damaged") from None
            else:
                yield place, value
            place += len(line)


def _value(line: bytes) -> Any:
    """The value of a line. Raises ValueError or RecursionError if it is not whole, or no JSON."""
    if not line.endswith(b"\n"):
        raise ValueError("the line is cut short")
    return parsed_json(line)


def _packed(entry: Entry[R]) -> bytes:
    line = {"key": entry.key, "rows": [row.model_dump() for row in entry.rows]}
    if entry.file_hash:
        line["file_hash"] = entry.file_hash
    return canonical_json(line).encode() + b"\n"
