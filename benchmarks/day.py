"""ulmo-tokenize on a day of sound: memory and speed, hour by hour, read from /proc."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.asked import ASKED
from benchmarks.commands import limited
from benchmarks.material import write_sound
from benchmarks.peers import THREADS
from benchmarks.report import table
from benchmarks.start import tokenize_command

RATE = 16_000
MINUTE = 60
PARTS = 24  # of the file: an hour each by default; its halves and sixths are compared
EVERY = 0.02  # seconds between two snapshots: an hour of sound takes seconds
CONSTANT = 0.05  # asked: no half takes longer than the other by more


class Snapshot(NamedTuple):
    """The process and its children at one moment."""

    seconds: float
    position: int  # bytes of the recording that were read
    resident: float  # VmRSS in megabytes (2**20 bytes)
    peak: float  # VmHWM in megabytes
    computing: float  # processor seconds of all threads


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            found += family(int(child))
    return found


def read_so_far(pid: int, recording: Path) -> int:
    """The furthest position of a process in the recording; 0 if it is not open."""
    furthest = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if entry.readlink() == recording:
            text = Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text()
            furthest = max(furthest, int(re.findall(r"pos:\s*(\d+)", text)[0]))
    return furthest


def snapshot(process: int, recording: Path, begun: float) -> Snapshot | None:
    """A snapshot; None if a process or a file vanishes meanwhile."""
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
    return Snapshot(time.perf_counter() - begun, position, resident / 1024, peak / 1024, computing)


def watch(command: Sequence[str], recording: Path) -> tuple[list[Snapshot], float]:
    """Run a command to its end; return the snapshots while it read, and its seconds."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=limited(THREADS))
    snapshots = []
    while process.poll() is None:
        if (seen := snapshot(process.pid, recording, begun)) and seen.position:
            snapshots.append(seen)
        time.sleep(EVERY)
    seconds = time.perf_counter() - begun
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    if not snapshots:
        raise SystemExit("the recording was read before the first snapshot: give more --hours")
    return snapshots, seconds


def paces(
    snapshots: Sequence[Snapshot], marks: NDArray[np.float64], clock: Callable[[Snapshot], float]
) -> NDArray[np.float64]:
    """The time on a clock between marks, which are positions in the recording."""
    positions, first = np.unique([seen.position for seen in snapshots], return_index=True)
    times = [clock(snapshots[index]) for index in first]
    return np.diff(np.interp(marks, positions, times))


def slowdown(each: NDArray[np.float64]) -> float:
    """How much longer the second half took than the first: 0.1 is 10 %."""
    half = len(each) // 2
    return float(each[half:].sum() / each[:half].sum() - 1)


def largest_deviation(times: NDArray[np.float64]) -> float:
    """The largest deviation of a time from the mean: 0.1 is 10 % longer."""
    return max((float(time) for time in times / times.mean() - 1), key=abs)


def resident_before(snapshots: Sequence[Snapshot], mark: float, length: float) -> float:
    """Median resident megabytes while the `length` bytes before a mark were read."""
    near = [seen.resident for seen in snapshots if mark - length <= seen.position <= mark]
    nearest = min(snapshots, key=lambda seen: abs(seen.position - mark))
    return float(np.median(near or [nearest.resident]))


def measure_day(work: Path, bundle: Path, *, hours: float) -> str:
    """A table of memory and speed."""
    minutes = max(round(hours * 60), 1)
    recording = work.resolve() / "day" / "x.wav"
    write_sound(recording, MINUTE, RATE, repeated=minutes)
    with recording.open("rb") as file:
        os.fsync(file.fileno())  # not while it is measured
    snapshots, seconds = watch(tokenize_command(recording, bundle), recording)
    columns = len(np.load(recording.with_name("x.tokens.npy"), mmap_mode="r"))
    data = 2 * minutes * MINUTE * RATE
    size = recording.stat().st_size
    marks = np.linspace(size - data, size, PARTS + 1)
    tenth = data / PARTS / 10
    first, last = (resident_before(snapshots, mark, tenth) for mark in (marks[1], marks[-1]))
    each = paces(snapshots, marks, lambda seen: seen.seconds)
    computing = paces(snapshots, marks, lambda seen: seen.computing)
    peak = max(seen.peak for seen in snapshots)
    sixths = each.reshape(6, -1).mean(axis=1)
    part, sixth, half = (f"{minutes / 60 / count:.3g} h" for count in (PARTS, 6, 2))
    rows = [
        [f"resident after the first {part}", f"{first:.0f} MB", ""],
        ["resident at the end", f"{last:.0f} MB", ""],
        ["growth", f"**{last - first:+.1f} MB**", str(ASKED["day growth"])],
        ["peak (VmHWM)", f"**{peak:.0f} MB**", str(ASKED["day peak"])],
        [f"time for {part} of sound", f"{each.mean():.2f} s", ""],
        [f"last {half} to the first", f"**{slowdown(each):+.1%}**", f"within {CONSTANT:.0%}"],
        ["the same in processor time", f"{slowdown(computing):+.1%}", ""],
        [f"furthest {sixth} from the mean", f"**{largest_deviation(sixths):+.1%}**", ""],
        [f"furthest {part} from the mean", f"{largest_deviation(each):+.1%}", ""],
    ]
    return (
        f"**A day.** `ulmo-tokenize` on a WAV file of {minutes / 60:.3g} h at 16 kHz "
        f"({size / 1e9:.2f} GB: a minute of sound, repeated), {columns} columns of tokens, in "
        f"{seconds:.1f} s: {minutes * MINUTE / seconds:.0f} times real time, start included. "
        f"A snapshot every {1000 * EVERY:.0f} ms; memory is the median over the last tenth of "
        f"{part}.\n\n" + table(["figure", "measured", "asked"], rows)
    )
