"""The contract of a ledger, over all that have one: tiles, a folder of tokens, a timeline."""

import json
import os
import shutil
import tracemalloc
from contextlib import suppress
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.outputs import write_table
from tests.parquet import write_parquet
from tests.pipelines.recordings import Killed, contents
from tests.pipelines.verifying import flip
from tests.sealed import hashes_of, reseal
from tests.storage.ledgers import KEYS, USERS, at_each_change, rows_of
from ulmo.config import NewerError, UserError
from ulmo.storage import journal as journal_file
from ulmo.storage import ledger as ledger_file
from ulmo.storage.tables import schema_of


@pytest.fixture(scope="module", autouse=True)
def without_waiting_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


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


@pytest.fixture(params=USERS)
def user(request):
    return USERS[request.param]


@pytest.fixture
def complete(user, tmp_path):
    """A folder whose job has ended; a notebook of other people lies in it."""
    folder = tmp_path / "complete"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    assert user.run(folder) == list(KEYS)
    return folder


@pytest.fixture
def unfinished(user, tmp_path):
    """A folder whose job was killed after two keys."""
    folder = tmp_path / "unfinished"
    folder.mkdir()
    ledger = user.resumed(folder)
    with suppress(Killed), ledger.writing([]):
        for key in KEYS[:2]:
            ledger.add(key, user.rows(key))
        raise Killed
    return folder


class TestOfAJob:
    def test_its_files_say_what_was_added_in_the_order_asked_for(self, user, complete):
        files = user.files(complete)
        names = {path.name for path in complete.iterdir()}
        assert names == {"notes.txt", files.manifest.name, files.table.name}
        ledger = user.open(complete)
        assert list(ledger.rows()) == rows_of(user, KEYS)
        assert pq.read_schema(files.table).equals(schema_of(user.row))
        assert json.loads(files.manifest.read_text())["complete"] is True
        assert ledger.check() == []

    def test_new_resumed_and_done(self, user, tmp_path):
        ledger = user.resumed(tmp_path)
        assert ledger.is_new
        assert not ledger.is_finished([])
        assert list(tmp_path.iterdir()) == []  # nothing is written before writing()
        with ledger.writing([]):
            assert ledger.done("k0") == []
            ledger.add("k0", user.rows("k0"))
            assert ledger.done("k0") == user.rows("k0")
            other = user.resumed(tmp_path)
            assert not other.is_new
            assert other.done("k0") == user.rows("k0")
            assert other.done("k1") == []
            ledger.finish(["k0"])
        assert user.resumed(tmp_path).done("k0") == user.rows("k0")

    @pytest.mark.parametrize(
        ("keys", "did"),
        [
            (KEYS, []),
            (KEYS[::-1], []),
            (KEYS[2:], []),
            (KEYS[:2], []),
            (("k1", "new", "k0"), ["new"]),
            ((), []),
        ],
    )
    def test_again_with_other_keys(self, user, complete, keys, did):
        assert user.resumed(complete).is_finished(keys) == (keys == KEYS)
        assert user.run(complete, keys) == did
        assert list(user.open(complete).rows()) == rows_of(user, keys)
        assert user.resumed(complete).is_finished(keys)

    def test_again_and_nothing_is_touched(self, user, complete):
        before = {path: path.stat().st_mtime_ns for path in (complete, *complete.iterdir())}
        assert user.run(complete) == []
        assert {path: path.stat().st_mtime_ns for path in before} == before

    def test_in_any_order_of_reading(self, user, complete):
        """Rows are converted in blocks, whose ends nobody sees."""
        user.run(complete, [f"{number:04}" for number in range(1500)])
        ledger = user.resumed(complete)
        for number in (*range(1500), 7, 1499, *range(1490, 0, -97), *range(0, 1500, 3)):
            key = f"{number:04}"
            assert ledger.done(key) == user.rows(key)

    def test_a_job_replaced_by_one_with_more(self, user, complete):
        """As ulmo-prep does where recordings are added."""
        ledger = user.resumed(complete)
        ledger.replace(user.manifest)
        ledger.update()
        assert not user.open(complete).manifest.complete
        assert user.run(complete, ["k1"]) == ["k1"]

    def test_removed(self, user, complete):
        user.resumed(complete).remove()
        assert contents(complete) == {"notes.txt": b"mine"}


class TestKilled:
    @pytest.mark.parametrize("begun", ["new", "complete", "unfinished"])
    def test_at_every_change(self, user, tmp_path, monkeypatch, request, begun):
        """By a copy of the folder at each, from which the same job ends with the same bytes."""
        folder = tmp_path / "new" if begun == "new" else request.getfixturevalue(begun)
        folder.mkdir(exist_ok=True)
        keys = ("k4", "k9", "k0")
        copies = []

        def copy():
            copies.append(shutil.copytree(folder, tmp_path / f"copy{len(copies)}"))

        with monkeypatch.context() as patch:
            at_each_change(patch, copy)
            did = user.run(folder, keys)
        assert len(copies) > 2 * len(did) + 4
        for copied in copies:
            ledger = user.resumed(copied)
            for key in (*KEYS, "k9"):
                assert ledger.done(key) in ([], user.rows(key))
            if ledger.manifest.complete:
                assert ledger.has_exactly(keys) or ledger.has_exactly(KEYS)
            user.run(copied, keys)
            assert contents(copied) == contents(folder)

    @given(
        jobs=st.lists(
            st.tuples(
                st.lists(st.sampled_from("abcdefg"), unique=True, min_size=1),
                st.integers(0, 30) | st.none(),
            ),
            max_size=4,
        ),
        last=st.lists(st.sampled_from("abcdefg"), unique=True),
        name=st.sampled_from(list(USERS)),
    )
    def test_any_number_of_jobs_over_any_keys(self, jobs, last, name, tmp_path_factory):
        """Each with its keys, killed at a change or not."""
        user, folder = USERS[name], tmp_path_factory.mktemp("ledger")
        did = set()
        for keys, number in jobs:
            left = [len(keys) + 99 if number is None else number]

            def kill(left=left):
                left[0] -= 1
                if left[0] == -1:
                    raise Killed

            with pytest.MonkeyPatch.context() as patch, suppress(Killed):
                at_each_change(patch, kill)
                did |= set(user.run(folder, keys))
        user.run(folder, last)
        assert list(user.open(folder).rows()) == rows_of(user, last)
        assert user.open(folder).check() == []
        files = user.files(folder)
        assert {path.name for path in folder.iterdir()} == {files.manifest.name, files.table.name}


class TestOthers:
    def test_rows_of_other_keys_are_kept_until_the_job_has_ended(self, user, complete):
        """They do not count as done, and outlive jobs that were killed."""
        files = user.files(complete)
        for _ in range(2):
            ledger = user.resumed(complete)
            assert list(ledger.others(KEYS[:3])) == rows_of(user, KEYS[3:])
            with suppress(Killed), ledger.writing([], 9, others=KEYS[3:]):
                ledger.add(KEYS[0], user.rows(KEYS[0]))
                raise Killed
            one = user.rows_of_a_key
            assert user.open(complete).progress() == f"{one} of 9 recordings"
            assert user.resumed(complete).done(KEYS[3]) == user.rows(KEYS[3])
        assert user.run(complete, KEYS[:1]) == []
        assert list(user.resumed(complete).others(KEYS[:1])) == []
        assert not files.journal.exists()

    @pytest.mark.parametrize("others", ["x", -7, 10**30, None, [1], True])
    def test_a_count_of_them_that_is_nonsense(self, others, user, unfinished):
        journal = user.files(unfinished).journal
        line = json.dumps({"expected": 9, "others": others})
        journal.write_text(f"{line}\n{journal.read_text()}")
        assert user.open(unfinished).progress().endswith(" of 9 recordings")


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


class TestOtherJobs:
    def test_other_settings_are_refused_and_nothing_is_touched(self, user, complete, unfinished):
        for folder in (complete, unfinished):
            before = contents(folder)
            for words, manifest in user.others.items():
                with pytest.raises(UserError, match=words) as refusal:
                    user.open(folder).resume(manifest, folder)
                assert str(refusal.value).startswith(f"{folder} was made with other settings (")
            assert contents(folder) == before

    @pytest.mark.parametrize("by", [1, -1])
    def test_another_version(self, user, complete, by):
        version = user.manifest.newest() + by
        reseal(user.files(complete).manifest, schema_version=version, more=1)
        refused = NewerError if by > 0 else UserError
        with pytest.raises(refused, match="newer ulmo .*upgrade" if by > 0 else "begin anew"):
            user.open(complete)


def spoil_both(files):
    flip(files.manifest)
    flip(files.table)


def reseal_table(rows):
    """A table with other rows, and its hash in the manifest."""

    def spoil(files):
        write_parquet(rows(pq.read_table(files.table)), files.table, use_dictionary=False)
        reseal(files.manifest, hashes=hashes_of(files.table.parent, files.table.name))

    return spoil


def other_status(table):
    place = table.schema.get_field_index("status")
    return table.set_column(place, "status", pa.array(["well"] * len(table)))


LOST = {
    "no table": (lambda files: files.table.unlink(), "missing"),
    "table": (lambda files: flip(files.table), "damaged"),
    "empty table": (lambda files: files.table.write_bytes(b""), "damaged"),
    "folder": (lambda files: (files.table.unlink(), files.table.symlink_to("/none")), "damaged"),
    "other columns": (reseal_table(lambda table: table.select(["key", "path"])), "unreadable"),
    "no hash": (lambda files: reseal(files.manifest, hashes={}), "damaged"),
    "incomplete": (lambda files: reseal(files.manifest, complete=False), "unfinished"),
    "no manifest": (lambda files: files.manifest.unlink(), None),
}


class TestDamaged:
    @pytest.mark.parametrize(("spoil", "what"), LOST.values(), ids=LOST)
    def test_what_is_lost_is_named_and_made_again(self, user, complete, spoil, what):
        before, files = contents(complete), user.files(complete)
        spoil(files)
        if what is not None:
            (fault,) = user.open(complete).check()
            name = (files.manifest if what == "unfinished" else files.table).name
            assert (fault.path, fault.what, fault.remedy) == (name, what, "go on")
            with pytest.raises(UserError, match=r"go on|run the same command again"):
                user.open(complete).check_rows()
        assert user.run(complete) == list(KEYS)
        assert contents(complete) == before

    def test_a_left_over_journal_is_named_and_removed(self, user, complete):
        before, files = contents(complete), user.files(complete)
        files.journal.touch()
        (complete / f".{files.table.name}.0123.tmp").touch()
        (fault,) = user.open(complete).check()
        assert (fault.path, fault.what) == (files.journal.name, "left_over")
        assert not user.resumed(complete).is_finished(KEYS)
        assert user.run(complete) == []
        assert contents(complete) == before

    def test_rows_that_are_sealed_and_none_of_ours(self, user, complete):
        before = contents(complete)
        reseal_table(other_status)(user.files(complete))
        with pytest.raises(UserError, match=r"is as it was written, .*go on"):
            user.open(complete).check_rows()
        assert user.run(complete) == list(KEYS)
        assert contents(complete) == before

    @pytest.mark.parametrize("spoil", [lambda files: flip(files.manifest), spoil_both])
    def test_a_damaged_manifest_is_one_line(self, user, complete, spoil):
        spoil(user.files(complete))
        before = contents(complete)
        with pytest.raises(UserError, match=r"(is not JSON of ours|is damaged .*): begin anew"):
            user.open(complete)
        assert contents(complete) == before

    def test_a_table_of_other_people(self, user, tmp_path):
        table = user.files(tmp_path).table
        write_table(table, [{"x": 1}], pa.schema([("x", pa.int64())]))
        before = contents(tmp_path)
        with pytest.raises(UserError, match=rf"{table.name} cannot be read .*move it elsewhere"):
            user.resumed(tmp_path)
        assert contents(tmp_path) == before

    @pytest.mark.parametrize("name", ["manifest", "table"])
    def test_what_cannot_be_read_may_be_whole(self, user, complete, name, monkeypatch):
        path, before = getattr(user.files(complete), name), contents(complete)
        opened = os.open

        def denied(each, *arguments, **options):
            if each == path:
                raise PermissionError(13, "Permission denied", str(each))
            return opened(each, *arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", denied)
            with pytest.raises(UserError, match=rf"{path.name} cannot be read .*let yourself"):
                user.resumed(complete)
            if name == "table":
                assert [fault.what for fault in user.open(complete).check()] == ["unreadable"]
        assert contents(complete) == before


def test_keys_and_places_are_held_and_no_rows(tmp_path, monkeypatch):
    """A table is read in blocks as well, of at most so many rows."""
    user, keys = USERS["tokens"], [f"{number:04}" for number in range(300)]
    monkeypatch.setattr(ledger_file, "BATCH_ROWS", 16)
    user.run(tmp_path, keys)
    ledger = user.resumed(tmp_path)
    for key in keys:
        assert ledger.done(key) == user.rows(key)
        assert len(ledger._block[1]) <= 16
    with ledger.writing(keys):
        assert ledger._table is None
        assert all(isinstance(place, int) for place in ledger._journal._places.values())


def refused_rows(user, count):
    """Recordings that are refused for one reason, as alike as honest ones are."""
    plain = user.rows("k")[0].model_dump() | {"status": "refused", "detail": "the file is empty"}
    group = 64 if user is USERS["tiles"] else 1
    for number in range(count):
        key = sha256(str(number // group).encode()).hexdigest()
        yield plain | {"path": f"{number:06}.wav", "key": key, "bytes": 0}


def table_of(user, folder, rows):
    """A complete output whose table has these rows."""
    user.run(folder)
    files = user.files(folder)
    write_table(files.table, rows, schema_of(user.row))
    reseal(files.manifest, hashes=hashes_of(folder, files.table.name))
    return user.open(folder)


def test_many_recordings_refused_for_one_reason(user, tmp_path):
    """They compress well, and are read, while few of them are in memory."""
    ledger = table_of(user, tmp_path, refused_rows(user, 30_000))
    tracemalloc.start()
    assert sum(1 for _ in ledger.rows()) == 30_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6


def test_more_rows_than_the_table_has_room_for(user, tmp_path):
    """Equal ones, of a key, in a few kilobytes."""
    rows = [user.rows("k")[0].model_dump()] * 30_000
    ledger = table_of(user, tmp_path, rows)
    assert user.files(tmp_path).table.stat().st_size < 30_000 - 4096
    with pytest.raises(UserError, match="more rows than its size allows"):
        ledger.check_rows()


def test_a_key_of_more_rows_than_a_block_is_not_done(user, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_file, "BATCH_ROWS", 16)
    table_of(user, tmp_path, [user.rows("k")[0].model_dump()] * 17)
    assert user.resumed(tmp_path).done("k") == []
