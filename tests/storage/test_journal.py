"""A journal that was torn or damaged, or that others made: whole lines count, no more is read."""

import json
import os
import tracemalloc

import pytest

from tests.storage.ledgers import KEYS, rows_of
from ulmo.storage import journal as journal_file


class Counted:
    """An open file that notes how many bytes are read of it."""

    def __init__(self, file, read):
        self._file = file
        self._read = read

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def __getattr__(self, name):
        return getattr(self._file, name)

    def readline(self, most=-1):
        line = self._file.readline(most)
        self._read.append(len(line))
        return line


class TestJournal:
    def test_a_last_line_torn_anywhere(self, user, unfinished):
        journal = user.files(unfinished).journal
        whole = journal.read_bytes()
        first = whole.index(b"\n") + 1
        for end in (*range(first, len(whole), 9), len(whole) - 1):
            journal.write_bytes(whole[:end])
            ledger = user.resumed(unfinished)
            assert [len(ledger.done(key)) for key in KEYS[:2]] == [user.rows_of_a_key, 0]
        assert user.run(unfinished) == list(KEYS[1:])

    @pytest.mark.parametrize(
        "line",
        [
            *(b"", b"{", b"[]", b"null", b"7", b'"k1"', b"{}", b"\xff\xfe", b"\0"),
            *(b"[" * 100_000, b"9" * 9999, b'{"key": "k2"}', b'{"key": "k2", "rows": 7}'),
            *(b'{"key": "k2", "rows": [7]}', b'{"key": "k2", "rows": [{}]}', b'{"key": {}}'),
        ],
    )
    def test_lines_that_are_none_of_ours(self, user, unfinished, line):
        journal = user.files(unfinished).journal
        journal.write_bytes(line + b"\n" + journal.read_bytes() + line + b"\n")
        assert user.run(unfinished) == list(KEYS[2:])
        assert list(user.open(unfinished).rows()) == rows_of(user, KEYS)

    @pytest.mark.parametrize(
        "change",
        [
            {"key": "k1"},
            {"status": "well"},
            {"more": 1},
            {"path": 1},
            {"bytes": -1},
            {"channels": 10**9},
            {"duration_s": float("inf")},
            {"start_utc": 10**30},
        ],
    )
    def test_rows_that_are_none_of_ours(self, user, unfinished, change):
        journal = user.files(unfinished).journal
        first, second = map(json.loads, journal.read_text().splitlines())
        first["rows"][-1].update(change)
        journal.write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n")
        assert user.run(unfinished) == ["k0", *KEYS[2:]]

    @pytest.mark.parametrize("holes", [[1 << 40], [10 << 20] * 3])
    def test_holes_are_told_and_not_read(self, user, unfinished, holes, monkeypatch):
        """Lines before the hole count; what is behind is not looked for."""
        journal = user.files(unfinished).journal
        with journal.open("r+b") as file:
            lines = file.read()
            for size in holes:
                file.seek(size, os.SEEK_CUR)
                file.write(b"\n")
            file.write(lines.replace(b"k1", b"k9"))
        read, opened = [], journal_file.open_unlinked
        monkeypatch.setattr(journal_file, "open_unlinked", lambda path: Counted(opened(path), read))
        ledger = user.open(unfinished)
        done = 2 * user.rows_of_a_key
        assert ledger.progress() == f"{done} recordings; {journal.name} is damaged"
        assert sum(read) < 2 * journal_file.MAX_LINE
        assert user.run(unfinished) == list(KEYS[2:])
        assert list(user.open(unfinished).rows()) == rows_of(user, KEYS)

    def test_a_line_of_brackets_is_not_parsed(self, user, unfinished):
        journal = user.files(unfinished).journal
        journal.write_bytes(b'{"key":"k0","rows":[' + b"[]," * 400_000 + b"[]]}\n")
        tracemalloc.start()
        assert user.open(unfinished).progress() == "0 recordings"
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8e6

    @pytest.mark.parametrize("number", [2, 0])
    def test_one_that_cannot_be_read_is_as_good_as_none(
        self, user, unfinished, monkeypatch, number
    ):
        journal = user.files(unfinished).journal
        journal.unlink()
        if number:
            journal.mkdir()
        ledger = user.resumed(unfinished)
        assert [ledger.done(key) for key in KEYS] == [[]] * len(KEYS)
