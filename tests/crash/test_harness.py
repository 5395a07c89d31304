"""The harness itself: what it disturbs, and that it sees what is wrong."""

import errno
import os
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.crash.campaign import Campaign, Point, check_order
from tests.crash.faults import FAIL, KILL, KILLED, READ, TEAR, WHY_NOT, Call, Faults, can_run
from tests.crash.jobs import Job
from ulmo.storage.atomic import publish

pytestmark = pytest.mark.skipif(not can_run(), reason=WHY_NOT)


@pytest.fixture(scope="module")
def faults():
    return Faults()


def write_and_move(folder):
    (folder / "a").write_bytes(b"x" * 1000)
    (folder / "a").rename(folder / "b")


def test_each_call_is_told(faults, tmp_path):
    assert faults.calls(lambda: write_and_move(tmp_path), tmp_path) == [
        Call("open", tmp_path / "a", Path()),
        Call("write", tmp_path / "a", Path()),
        Call("rename", tmp_path / "b", tmp_path / "a"),
    ]


@pytest.mark.parametrize(
    ("at", "mode", "left"),
    [(1, KILL, {}), (2, KILL, {"a": 0}), (2, TEAR, {"a": 500}), (3, KILL, {"a": 1000})],
)
def test_a_kill_comes_before_the_call_or_in_the_midst_of_it(faults, tmp_path, at, mode, left):
    outcome = faults.run(lambda: write_and_move(tmp_path), tmp_path, at=at, mode=mode)
    assert outcome.status == KILLED
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == left


def test_a_full_disk_is_an_error_of_python(faults, tmp_path):
    seen = []

    def work():
        with pytest.raises(OSError, match="No space left") as error:
            write_and_move(tmp_path)
        seen.append(error)
        (tmp_path / "a").unlink()  # which needs no room
        return error.value.errno

    outcome = faults.run(work, tmp_path, at=2, mode=FAIL, error=errno.ENOSPC)
    assert outcome.status == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_a_read_fails_once(faults, tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 1000)

    def work():
        with pytest.raises(OSError, match="Input/output error"):
            (tmp_path / "a").read_bytes()
        return len((tmp_path / "a").read_bytes()) != 1000

    assert faults.run(work, tmp_path, at=1, mode=READ, error=errno.EIO).status == 0


def test_threads_and_libraries_are_seen_and_other_folders_are_not(faults, tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()

    def work():
        thread = threading.Thread(target=write_and_move, args=(inside,))
        thread.start()
        thread.join()
        pq.write_table(pa.table({"x": [1]}), inside / "table.parquet")
        write_and_move(outside)
        os.fsync(os.open(inside, os.O_RDONLY))

    calls = faults.calls(work, inside)
    assert [call.what for call in calls[:4]] == ["open", "write", "rename", "open"]
    assert {call.path.name for call in calls} == {"a", "b", "table.parquet", "in"}
    assert calls[-1] == Call("fsync", inside, Path())


def in_place(path, content):
    path.write_bytes(content)


def published(path, content):
    with publish(path) as file:
        file.write(content)


@pytest.mark.parametrize("write", [in_place, published])
def test_a_job_that_writes_in_place_is_found_out(write, tmp_path):
    class Writes(Job):
        def run(self, out):
            out.mkdir(exist_ok=True)
            for path in out.glob(".*.tmp"):
                path.unlink()
            write(out / "x", b"x" * 1000)

    job = Writes("writes", None, lambda out: (out / "x").exists())
    campaign = Campaign(tmp_path, lambda _: [job])
    points = campaign.points([KILL, TEAR])
    assert len(points) == (4 if write is in_place else 8)
    wrong = []
    for point in points:
        try:
            campaign.kill(point)
        except AssertionError as error:
            wrong.append((point, str(error)))
    if write is published:
        assert wrong == []
    else:
        assert wrong[-1] == (Point(0, 3, TEAR), "x is not what it will be")


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        (["write .x", "rename x", "fsync ."], r"\.x is moved before it is on the disk"),
        (["write .x", "fsync .x", "rename x"], "the moves of .* are not synced"),
        (
            ["write .x", "fsync .x", "rename x", "write .y.json", "fsync .y.json", "rename y.json"],
            r"y\.json is moved before the moves of ",
        ),
    ],
)
def test_what_a_power_cut_would_undo_is_found_out(calls, words):
    folder = Path("/folder")
    listed = []
    for call in calls:
        what, name = call.split()
        before = folder / f".{name}" if what == "rename" else Path()
        listed.append(Call(what, folder / name if name != "." else folder, before))
    with pytest.raises(AssertionError, match=words):
        check_order(listed)
