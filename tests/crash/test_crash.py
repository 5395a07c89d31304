"""Kills and full disks in small jobs of every command; `make crash` has many more of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.faults import WHY_NOT, can_run

pytestmark = pytest.mark.skipif(not can_run(), reason=WHY_NOT)
ROOT = Path(__file__).parents[2]
KILLS, FULL_DISKS, SAVES, BAD_READS = 500, 50, 76, 30


def campaign(module, *arguments):
    """The figures of a campaign, which ran in a process of its own, without coverage."""
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("COV")}
    command = [sys.executable, "-m", f"tests.crash.{module}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("part", [0, 1])
def test_kill_points(part):
    """Nothing half is there, the same bytes come in the end, and at most two units come twice."""
    figures = campaign("campaign", "kill", KILLS, f"{part}/2")
    assert figures["points"] == KILLS // 2
    assert len(figures["jobs"]) == 15
    assert set(figures["twice"]) <= {"0", "1", "2"}


def test_full_disks():
    """One line and status 1; then there is room, and the same bytes come in the end."""
    figures = campaign("campaign", "full", FULL_DISKS)
    assert figures["points"] == FULL_DISKS
    assert len(figures["jobs"]) == 15


def test_kills_in_a_save():
    """Each of the calls of a save of a checkpoint, twice: what was saved before is restored."""
    figures = campaign("training", "saves", SAVES)
    assert figures["lost"] == 0
    assert figures["kills"] == SAVES >= 2 * figures["points"]
    assert figures["saved all the same"] > 0


def test_reads_that_fail():
    """A bad sector is a recording's fault: its row says so, and the others are done."""
    figures = campaign("reads", BAD_READS)
    assert figures["points"] == BAD_READS
    assert sum(figures["statuses"].values()) == BAD_READS * figures["recordings"]
    assert {"refused", "ok"} <= set(figures["statuses"])
