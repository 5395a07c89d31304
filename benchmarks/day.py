"""ulmo-tokenize on a day of sound: memory and pace, hour by hour, as /proc tells them."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import write_sound
from benchmarks.report import table
from benchmarks.start import environment, tokenize_command

RATE = 16_000
MINUTE = 60
PARTS = 24
"""Of the file, an hour each where it has 24; halves and sixths of it are compared."""
EVERY = 0.02
"""Seconds between two looks: an hour of sound takes seconds."""
KEPT_MB, PEAK_MB, CONSTANT = 16, 500, 0.05
"""What is asked: growth after the first part, peak, and deviation of the pace."""


class Look(NamedTuple):
    """One look at the process and those that it started."""

    seconds: float
    position: int
    """Bytes of the recording that were read."""
    resident: float
    """Megabytes (2**20 bytes), VmRSS."""
    peak: float
    """Megabytes, VmHWM."""
    computing: float
    """Processor seconds, of all threads."""


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            found += family(int(child))
    return found


def read_so_far(pid: int, recording: Path) -> int:
    """The furthest position of a process in the recording; 0 while it is not open."""
    furthest = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if entry.readlink() == recording:
            text = Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text()
            furthest = max(furthest, int(re.findall(r"pos:\s*(\d+)", text)[0]))
    return furthest


def look(process: int, recording: Path, begun: float) -> Look | None:
    """None where a process or a file is gone while it is looked at."""
    position = resident = peak = ticks = 0
    try:
        for pid in family(process):
            position = max(position, read_so_far(pid, recording))
            status = Path(f"/proc/{pid}/status").read_text()
            resident += int(re.findall(r"VmRSS:\s*(\d+) kB", status)[0])
            peak += int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0])
            user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
            ticks += int(user) + int(system)
    except (OSError, IndexError):
        return None
    computing = ticks / os.sysconf("SC_CLK_TCK")
    return Look(time.perf_counter() - begun, position, resident / 1024, peak / 1024, computing)


def watch(command: Sequence[str], recording: Path) -> tuple[list[Look], float]:
    """Run a command to its end: what was seen of it while it read, and its seconds."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment())
    looks = []
    while process.poll() is None:
        if (seen := look(process.pid, recording, begun)) and seen.position:
            looks.append(seen)
        time.sleep(EVERY)
    seconds = time.perf_counter() - begun
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    if not looks:
        raise SystemExit("the recording was read before it was looked at: give more --hours")
    return looks, seconds


def paces(
    looks: Sequence[Look], marks: NDArray[np.float64], clock: Callable[[Look], float]
) -> NDArray[np.float64]:
    """What a clock counted from mark to mark, which are positions in the recording."""
    positions, first = np.unique([seen.position for seen in looks], return_index=True)
    times = [clock(looks[index]) for index in first]
    return np.diff(np.interp(marks, positions, times))


def late(each: NDArray[np.float64]) -> float:
    """How much longer the second half took than the first: 0.1 is 10 %."""
    half = len(each) // 2
    return float(each[half:].sum() / each[:half].sum() - 1)


def furthest(times: NDArray[np.float64]) -> float:
    """The largest deviation from their mean: 0.1 is 10 % longer."""
    return max((float(time) for time in times / times.mean() - 1), key=abs)


def resident_before(looks: Sequence[Look], mark: float, length: float) -> float:
    """Median megabytes while the `length` bytes before a mark were read."""
    near = [seen.resident for seen in looks if mark - length <= seen.position <= mark]
    nearest = min(looks, key=lambda seen: abs(seen.position - mark))
    return float(np.median(near or [nearest.resident]))


def measure_day(work: Path, bundle: Path, *, hours: float) -> str:
    """A table of memory and pace."""
    minutes = max(round(hours * 60), 1)
    recording = work.resolve() / "day" / "x.wav"
    write_sound(recording, MINUTE, RATE, repeated=minutes)
    with recording.open("rb") as file:
        os.fsync(file.fileno())  # not while it is measured
    looks, seconds = watch(tokenize_command(recording, bundle), recording)
    columns = len(np.load(recording.with_name("x.tokens.npy"), mmap_mode="r"))
    data = 2 * minutes * MINUTE * RATE
    size = recording.stat().st_size
    marks = np.linspace(size - data, size, PARTS + 1)
    tenth = data / PARTS / 10
    first, last = (resident_before(looks, mark, tenth) for mark in (marks[1], marks[-1]))
    each = paces(looks, marks, lambda seen: seen.seconds)
    computing = paces(looks, marks, lambda seen: seen.computing)
    sixths = each.reshape(6, -1).mean(axis=1)
    part, sixth, half = (f"{minutes / 60 / count:.3g} h" for count in (PARTS, 6, 2))
    rows = [
        [f"resident after the first {part}", f"{first:.0f} MB", ""],
        ["resident at the end", f"{last:.0f} MB", ""],
        ["growth", f"**{last - first:+.1f} MB**", f"at most {KEPT_MB} MB"],
        ["peak (VmHWM)", f"**{max(seen.peak for seen in looks):.0f} MB**", f"under {PEAK_MB} MB"],
        [f"time for {part} of sound", f"{each.mean():.2f} s", ""],
        [f"last {half} to the first", f"**{late(each):+.1%}**", f"within {CONSTANT:.0%}"],
        ["the same in processor time", f"{late(computing):+.1%}", ""],
        [f"furthest {sixth} from the mean", f"**{furthest(sixths):+.1%}**", ""],
        [f"furthest {part} from the mean", f"{furthest(each):+.1%}", ""],
    ]
    return (
        f"**A day.** `ulmo-tokenize` on a WAV file of {minutes / 60:.3g} h at 16 kHz "
        f"({size / 1e9:.2f} GB: a minute of sound, repeated), {columns} columns of tokens, in "
        f"{seconds:.1f} s: {minutes * MINUTE / seconds:.0f} times real time, start included. "
        f"Looked at every {1000 * EVERY:.0f} ms; memory is the median over the last tenth of "
        f"{part}.\n\n" + table(["figure", "measured", "asked"], rows)
    )
