"""A bounded share of the campaign, and that it sees what is wrong; `make chaos` has more of it."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.chaos.campaign import check_end, check_ids
from tests.chaos.changes import Changes
from tests.chaos.storm import SIGNALS, Ended
from tests.formats.streams import header_of
from tests.pipelines.recordings import contents, noise, write

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
ROOT = Path(__file__).parents[2]
STARTS, KINDS = 10, ("prep", "csv", "timeline")


def test_a_round():
    """In a process of its own: it forks, and so may have no threads."""
    command = [sys.executable, "-m", "tests.chaos.campaign", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--starts", str(STARTS), "--kinds", *KINDS],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["rounds"], figures["jobs"]) == (1, STARTS)
    assert figures["signals"] > 0
    assert figures["files compared"] > 20


@pytest.mark.parametrize(
    ("status", "errors", "was_hit"),
    [
        (0, "Traceback (most recent call last):", True),
        (-9, "", False),
        (1, "ulmo: something else", True),
        (2, "ulmo: x exists and holds other things", True),
        (99, "", True),
    ],
)
def test_ends_that_are_not_foreseen(status, errors, was_hit):
    with pytest.raises(AssertionError):
        check_end(Ended("job", status, errors), was_hit=was_hit)
    check_end(Ended("job", 130, "ulmo: interrupted: run the same again"), was_hit=True)


def test_ids_of_another_tokenizer():
    ids = np.array([[3, 16]])
    header = header_of(ids)
    check_ids(Path("x"), ids, header, range(8))
    with pytest.raises(AssertionError, match="gives no"):
        check_ids(Path("x"), ids, header, range(8, 16))


def test_in_the_end_all_recordings_are_back(tmp_path):
    for number in range(4):
        write(tmp_path / f"{number}.wav", noise(900, number))
    changes = Changes([tmp_path], random.Random(0))
    before = contents(tmp_path)
    for _ in range(60):
        assert changes.one()
    changes.rest()
    assert contents(tmp_path) != before
    assert {path.suffix for path in tmp_path.iterdir()} == {".wav"}
    assert len(changes.counts) == 8
    assert len(SIGNALS) == 5
