"""A bounded run of the harness (a long one: make fuzz), and what the harness itself finds."""

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.mutants import MOST, MUTATORS, mutant
from tests.fuzz.seeds import KINDS, all_seeds, own_seeds
from tests.preprocessing.reading.edited import ogg_pages, with_crc

ROOT = Path(__file__).parents[2]
MUTANTS = 4000


def run(*command):
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


@pytest.mark.skipif(sys.platform != "linux", reason="children are forked, and measured by /proc")
def test_mutants_of_recordings_are_read_or_refused():
    done = run("-m", "tests.fuzz.reader", "--count", str(MUTANTS), "--seed", "6")
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"{MUTANTS} mutants" in done.stdout
    lines = re.findall(r"^ *(\d+) (refused .*|ok|partial .*|repaired .*|long)$", done.stdout, re.M)
    verdicts = {verdict: int(count) for count, verdict in lines}
    assert sum(verdicts.values()) == MUTANTS
    read = sum(count for verdict, count in verdicts.items() if "refused" not in verdict)
    assert read > MUTANTS / 5, "mutants that are all refused try nothing"
    assert len(verdicts) > 10


FAULTY = """
import os, sys, time
from tests.fuzz import reader

def faulty(path):
    kind = reader_index() % 6
    if kind == 0:
        os.abort()
    if kind == 1:
        raise ValueError("an error of the reader's own")
    if kind == 2:
        time.sleep(1000)
    if kind == 3:
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
    if kind == 4:
        bytearray(1 << 30)
    return "ok"

count = [-1]
def mutant(seeds, seed, index):
    count[0] = index
    return b""
def reader_index():
    return count[0]

reader.HANG_SECONDS, reader.MOST_SECONDS = 3, 0.05
reader.all_seeds = list
reader.read, reader.mutant = faulty, mutant
sys.argv = ["reader", "--count", "6"]
sys.exit(reader.main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="children are forked, and measured by /proc")
def test_the_harness_finds_a_crash_an_exception_a_hang_a_slow_one_and_a_hungry_one():
    done = run("-c", FAULTY)
    assert done.returncode == 1
    for number, text in (
        (0, "the reader died or hung: -6"),
        (1, r"(.*\n)+ValueError: an error of the reader's own"),
        (2, "the reader died or hung: -9"),
        (3, "took 1"),
        (4, r"(.*\n)+MemoryError"),
    ):
        assert re.search(rf"^mutant {number}: {text}", done.stderr, re.MULTILINE), done.stderr
    assert "mutant 5" not in done.stderr
    assert "5 findings" in done.stdout


def test_a_mutant_is_told_by_its_number():
    seeds = own_seeds()
    some = [mutant(seeds, 1, index) for index in range(200)]
    assert [mutant(seeds, 1, index) for index in range(200)] == some
    assert len(set(some)) > 150
    assert [mutant(seeds, 2, index) for index in range(200)] != some
    assert max(map(len, some)) <= MOST


def test_half_of_the_mutants_of_ogg_have_checksums():
    """Without them, a decoder sees none of what was changed."""
    seeds = [seed for seed in own_seeds() if seed.startswith(b"OggS")]
    some = [mutant(seeds, 1, index) for index in range(200)]
    whole = [all(with_crc(page) == page for page in ogg_pages(one)) for one in some]
    assert 80 < sum(whole) < 180


@pytest.mark.parametrize("mutator", MUTATORS, ids=lambda mutator: mutator.__name__)
def test_each_mutator_changes_what_it_is_given_and_takes_nothing_amiss(mutator):
    rng = random.Random(0)
    content = bytes(range(256)) * 4
    changed = []
    for _ in range(50):
        mutated = bytearray(content)
        mutator(rng, mutated, content[::-1])
        changed.append(bytes(mutated) != content)
        mutator(rng, bytearray(), b"")
    assert sum(changed) > 25


def test_seeds_are_of_every_kind():
    assert len(own_seeds()) > len(KINDS)
    assert len(all_seeds()) >= len(own_seeds())
