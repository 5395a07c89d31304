"""Some mutants of every file that ulmo parses; `make fuzz-parsers` tries many."""

import os
import random
import tempfile
from pathlib import Path

import pytest

from tests.fuzz.parsers import SLOW, Target, fuzz, mutate, targets
from ulmo.config import UserError

COUNT = 1000
NOISE = 5
"""Times that a mutant may take longer in a test: the cores are shared."""


def test_mutants_are_refused_or_read(make_bundle):
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        found = targets(Path(folder), make_bundle)
        became, slowest = fuzz(found, COUNT, seed=1)
    print(became, slowest)
    assert became["read"] + became["refused"] == COUNT
    assert became["refused"] > COUNT / 4
    assert slowest.seconds < NOISE * SLOW


def test_a_crash_is_told(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")

    def read():
        if path.read_bytes() != b"abc":
            raise KeyError("x")

    with pytest.raises(AssertionError, match="mine, seed 0, mutant 0: KeyError"):
        fuzz({"mine": Target(path, read, lambda: None)}, 1, seed=0)

    def refuse():
        raise UserError("two\nlines")

    with pytest.raises(AssertionError, match="mutant 0"):
        fuzz({"mine": Target(path, refuse, lambda: None)}, 1, seed=0)


def test_mutants_differ():
    rng = random.Random(0)
    assert len({mutate(b'{"a": 12}' * 5, rng) for _ in range(200)}) > 150
