"""Mutants through the reader of recordings: nothing but a verdict may come of any.

    python -m tests.fuzz.reader [--count 20000] [--first 0] [--seed 0] [--workers 1]

A child reads them, a file each on a disk of memory: where it dies, the mutant is told and the
rest goes on. Status 1 where anything was found.
"""

import argparse
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from multiprocessing import RawArray, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tests.fuzz.mutants import mutant
from tests.fuzz.seeds import all_seeds
from ulmo.jobs.inputs import input_file
from ulmo.preprocessing.reading.audio import Recording, RefusedError, open_recording
from ulmo.preprocessing.reading.parts import Part
from ulmo.preprocessing.reading.plan import contents_of
from ulmo.preprocessing.reading.refusal import UNKNOWN_LENGTH
from ulmo.preprocessing.times.clock import Clock

BATCH = 20_000
MOST_FRAMES = 1 << 18
"""Of one mutant no more are read: a header may promise years of silence."""
MOST_SECONDS = 0.2
MOST_MIB = 200
HANG_SECONDS = 10
SHOWN = 20


def read(path: Path) -> str:
    """What the pipelines do with a file; its verdict. AssertionError where that is no true one."""
    input_file(path)
    Clock().timing(path)
    try:
        with open_recording(path) as recording:
            for block in recording.blocks():
                assert np.isfinite(block).all(), "a sample is no number"
                assert block.shape[1] == recording.channels, "a channel was lost"
                if recording.frames_read > MOST_FRAMES:
                    return "long"
    except RefusedError as error:
        refusal = error
    else:
        return check_read(recording, path)
    assert refusal.detail, "a refusal without a reason"
    assert (refusal.missing or 0) >= 0, "less than no frames are missing"
    known = refusal.missing is not None or UNKNOWN_LENGTH in refusal.detail
    assert known, "a number of missing frames that nobody knows"
    return f"refused {refusal.reason}"


def check_read(recording: Recording, path: Path) -> str:
    """The verdict on a recording that was read to its end."""
    status, reason = recording.verdict
    assert (status == "ok") == (reason is None) == (recording.detail is None), "no reason"
    assert recording.frames_read > 0, "no frames"
    assert recording.frames_missing >= 0, "less than no frames are missing"
    both, declared = recording.frames_read + recording.frames_missing, recording.frames_declared
    if reason == "header_sizes":
        first, *others = contents_of(path).parts
        bounded = isinstance(first, Part) and first.kind == "wav" and not others
        assert both <= 8 * recording.size or not bounded, "more than the file holds"
    elif reason == "more_data":
        counted = (declared or 0) < both or UNKNOWN_LENGTH in (recording.detail or "")
        assert counted, "another chunk of nothing"
    elif declared is not None:
        assert both == declared, f"{both} frames read and missing, {declared} declared"
    if status != "partial" and reason != "header_sizes":
        assert recording.frames_missing == 0, f"missing in {status}"
    assert len(recording.flags) == len(set(recording.flags)), "a flag stands twice"
    return " ".join(filter(None, recording.verdict))


def read_batch(state: "RawArray", folder: Path, numbers: range, seed: int) -> None:
    """Read mutants; what was found goes to one file at once, the sums to another in the end."""
    seeds = all_seeds()
    before = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (before + (256 << 20), resource.RLIM_INFINITY))
    verdicts: Counter[str] = Counter()
    slowest = (0.0, -1)

    def found(index: int, text: str) -> None:
        with (folder / "findings.jsonl").open("a") as file:
            file.write(json.dumps([index, text]) + "\n")

    path = folder / f"mutant-{os.getpid()}.wav"
    for index in numbers:
        state[0] = index
        path.write_bytes(mutant(seeds, seed, index))
        begun = time.process_time()
        try:
            verdicts[read(path)] += 1
        except (Exception, AssertionError):
            found(index, traceback.format_exc(limit=-3))
        took = time.process_time() - begun
        slowest = max(slowest, (took, index))
        if took > MOST_SECONDS:
            found(index, f"took {1000 * took:.0f} ms")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if peak > MOST_MIB:
        found(numbers[0], f"{peak:.0f} MiB in the batch that begins here")
    told = {"verdicts": verdicts, "slowest": slowest, "peak": peak}
    (folder / f"{numbers[0]}.json").write_text(json.dumps(told))
    path.unlink()


class Crew:
    """Children that read batches; one that dies or hangs is told of, and its batch goes on."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._context = get_context("fork")
        self._folder = folder
        self._seed = seed
        self._at: dict[BaseProcess, tuple[range, RawArray, float, int]] = {}
        self.findings: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._at)

    def start(self, numbers: range) -> None:
        state = RawArray("q", [numbers[0]])
        arguments = (state, self._folder, numbers, self._seed)
        child = self._context.Process(target=read_batch, args=arguments)
        child.start()
        self._at[child] = (numbers, state, time.monotonic(), numbers[0])

    def look(self) -> list[range]:
        """What is left of the batches of children that died; findings of those that ended."""
        left = []
        for child, (numbers, state, since, index) in list(self._at.items()):
            if state[0] != index:
                self._at[child] = (numbers, state, time.monotonic(), state[0])
            elif child.is_alive() and time.monotonic() - since > HANG_SECONDS:
                os.kill(child.pid or 0, signal.SIGKILL)
                child.join()
            if child.is_alive():
                continue
            child.join()
            del self._at[child]
            if child.exitcode != 0:
                self.findings.append((state[0], f"the reader died or hung: {child.exitcode}"))
                left.append(range(state[0] + 1, numbers.stop))
        return [numbers for numbers in left if numbers]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    end = options.first + options.count
    waiting = [range(at, min(at + BATCH, end)) for at in range(options.first, end, BATCH)][::-1]
    begun = time.monotonic()
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as name, tqdm(total=options.count) as bar:
        crew = Crew(Path(name), options.seed)
        while waiting or len(crew):
            while waiting and len(crew) < options.workers:
                crew.start(waiting.pop())
            time.sleep(0.05)
            waiting += crew.look()
            bar.update(options.count - sum(map(len, waiting)) - crew_left(crew) - bar.n)
        told = Path(name) / "findings.jsonl"
        findings = crew.findings
        if told.exists():
            findings += [(at, text) for at, text in map(json.loads, told.read_text().splitlines())]
        reports = [json.loads(path.read_text()) for path in sorted(Path(name).glob("*.json"))]
    seconds = time.monotonic() - begun
    verdicts: Counter[str] = sum((Counter(one["verdicts"]) for one in reports), Counter())
    slowest, which = max(one["slowest"] for one in reports)
    print(
        f"{options.count} mutants in {seconds:.0f} s ({options.count / seconds:.0f} a second), "
        f"seed {options.seed}: {len(findings)} findings; the slowest {1000 * slowest:.0f} ms "
        f"(number {which}), memory at most {max(one['peak'] for one in reports):.0f} MiB"
    )
    for verdict, count in verdicts.most_common():
        print(f"{count:9d} {verdict}")
    for index, text in sorted(findings)[:SHOWN]:
        print(f"mutant {index}: {text}", file=sys.stderr)
    return 1 if findings else 0


def crew_left(crew: Crew) -> int:
    """Mutants that the children still have before them."""
    return sum(numbers.stop - index for numbers, _, _, index in crew._at.values())


if __name__ == "__main__":
    sys.exit(main())
