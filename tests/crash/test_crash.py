"""Kills and full disks in small jobs of every command; `make crash` has many more of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import run
from tests.crash.faults import WHY_NOT, can_run
from tests.pipelines.recordings import contents, noise, write
from ulmo.cli.main import ulmo

pytestmark = pytest.mark.skipif(not can_run(), reason=WHY_NOT)
ROOT = Path(__file__).parents[2]
PLAN = ("--frontend", "stft", "-M", "32", "--sample-rate", "4000", "--hop-length", "64")
KILLS, FULL_DISKS, BAD_READS = 45, 45, 10


def campaign(module, *arguments):
    """The figures of a campaign, which ran in a process of its own."""
    command = [sys.executable, "-m", f"tests.crash.{module}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def figures():
    return campaign("campaign", "kill", KILLS, "full", FULL_DISKS)


def test_kill_points(figures):
    """Nothing half is there, the same bytes come in the end, and at most two units come twice."""
    assert figures["kill"]["points"] == KILLS
    assert len(figures["kill"]["jobs"]) == 15
    assert set(figures["kill"]["twice"]) <= {"0", "1", "2"}


def test_full_disks(figures):
    """One line and status 1; then there is room, and the same bytes come in the end."""
    assert figures["full"]["points"] == FULL_DISKS
    assert len(figures["full"]["jobs"]) == 15


def test_reads_that_fail():
    """A bad sector is a recording's fault: its row says so, and the others are done."""
    figures = campaign("reads", BAD_READS)
    assert figures["points"] == BAD_READS
    assert sum(figures["statuses"].values()) == BAD_READS * figures["recordings"]
    assert {"refused", "ok"} <= set(figures["statuses"])


def test_kills_on_a_cluster():
    """Whatever is killed, the same bytes come in the end; `make crash` has a store, too."""
    pytest.importorskip("distributed", reason="needs ulmo[dask]")
    figures = campaign("cluster", 2)
    assert sum(figures["of"].values()) == figures["kills"] >= 2
    assert sum(figures["statuses"].values()) == 3 * sum(figures["rounds"].values())


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 KB, and a function that makes it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if not mount("size=300k"):
        pytest.skip("needs the right to mount a file system")
    yield folder, lambda: mount("remount,size=30m")
    subprocess.run(["umount", "--lazy", folder], check=True)


def prepare(audio, out):
    command = [sys.executable, "-m", "ulmo", "prep", audio, out, *PLAN]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=ROOT)


def test_a_small_disk_that_is_truly_full(small_disk, tmp_path):
    """Workers and all."""
    folder, enlarge = small_disk
    for seed in range(12):
        write(tmp_path / "audio" / f"{seed}.wav", noise(20_000, seed))
    full = prepare(tmp_path / "audio", folder / "out")
    assert full.returncode == 1
    assert full.stderr.splitlines()[-1].startswith("ulmo: [Errno 28] No space left on device")
    assert "Traceback" not in full.stderr
    assert not json.loads((folder / "out" / "prep.json").read_text())["complete"]
    assert enlarge()
    assert prepare(tmp_path / "audio", folder / "out").returncode == 0
    plan = (*PLAN, "--workers", 1)
    assert run(ulmo, "prep", tmp_path / "audio", tmp_path / "elsewhere", *plan).exit_code == 0
    assert contents(folder / "out") == contents(tmp_path / "elsewhere")
