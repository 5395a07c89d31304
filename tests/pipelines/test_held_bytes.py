"""What a job holds of a recording: under 200 bytes, however many there are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.held_bytes import FEW, MANY

ROOT = Path(__file__).parents[2]
BYTES = 200  # of a recording


@pytest.mark.parametrize("command", ["prep", "tokenize"])
def test_a_job_and_the_next_one_hold_little_of_a_recording(command, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipelines.held_bytes", command, tmp_path],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    few, many = json.loads(done.stdout)
    grown = [(each - less) / (MANY - FEW) for less, each in zip(few, many, strict=True)]
    assert max(grown) < BYTES, (few, many)
