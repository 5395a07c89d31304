"""The contract of a ledger, over all that have one: tiles, a folder of tokens, a timeline."""

import json
import os
import shutil
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bounded import some_of
from tests.outputs import write_table
from tests.parquet import write_parquet
from tests.pipelines.recordings import Killed, contents
from tests.pipelines.verifying import flip
from tests.sealed import hashes_of, reseal
from tests.storage.ledgers import KEYS, USERS, at_each_change, rows_of
from ulmo.config import NewerError, UserError
from ulmo.storage import ledger as ledger_file
from ulmo.storage.packed import Index
from ulmo.storage.tables import schema_of


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
            ledger.finish(ledger.done("k0"))
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
    @pytest.mark.kills
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
        for copied in some_of(copies, f"{user.row} {begun}"):
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

    def test_they_have_no_file_that_a_job_may_go_on_with(self, user, complete):
        """Other keys may have taken its place: only those that are kept have its hash."""
        key = KEYS[0]
        ledger = user.resumed(complete)
        with suppress(Killed), ledger.writing([]):
            ledger.add(key, user.rows(key), "a hash")
            raise Killed
        for options, expected in (({"keep": [key]}, "a hash"), ({"keep": [], "others": [key]}, "")):
            with suppress(Killed), user.resumed(complete).writing(**options):
                raise Killed
            assert user.resumed(complete).entry(key).file_hash == expected
            assert user.resumed(complete).done(key) == user.rows(key)

    @pytest.mark.parametrize("others", ["x", -7, 10**30, None, [1], True])
    def test_a_count_of_them_that_is_nonsense(self, others, user, unfinished):
        journal = user.files(unfinished).journal
        line = json.dumps({"expected": 9, "others": others})
        journal.write_text(f"{line}\n{journal.read_text()}")
        assert user.open(unfinished).progress().endswith(" of 9 recordings")


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
        assert isinstance(ledger._journal._places, Index)


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize(("first", "second"), [("tiles", "tokens"), ("tokens", "tiles")])
def test_an_output_of_another_command(first, second, ended, tmp_path):
    """Both have a recordings.parquet: each would replace that of the other."""
    user, other = USERS[first], USERS[second]
    ledger = user.resumed(tmp_path)
    with ledger.writing([]):
        ledger.add("k0", user.rows("k0"))
        if ended:
            ledger.finish(ledger.done("k0"))
    before = contents(tmp_path)
    command = user.files(tmp_path).manifest.stem
    with pytest.raises(UserError, match=f"is an output of ulmo-{command}: choose another one"):
        other.resumed(tmp_path)
    assert contents(tmp_path) == before
    (tmp_path / "t.tokens.npy").touch()  # a file in it is no output of the folder
    assert USERS["timeline"].resumed(tmp_path).is_new
