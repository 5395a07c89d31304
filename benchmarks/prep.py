"""ulmo-prep beside the obvious script (obvious_script.py), and beside the disk."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from benchmarks.asked import ASKED
from benchmarks.commands import run_module, ulmo
from benchmarks.material import write_recordings
from benchmarks.report import beside, machine, parser_of, spread, table
from benchmarks.summary import add_outputs, publish


def written(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def fill_disk(folder: Path, size: int) -> float:
    """Write `size` bytes as ulmo-prep does, in shards of 50 MB with fsync; returns seconds."""
    begun = time.perf_counter()
    folder.mkdir()
    shard = bytes(50 << 20)
    for number in range(-(-size // len(shard))):
        with (folder / str(number)).open("wb") as file:
            file.write(shard[: min(len(shard), size - number * len(shard))])
            file.flush()
            os.fsync(file.fileno())
    return time.perf_counter() - begun


def script(audio: Path, out: Path) -> float:
    """Seconds of the obvious script, with one computing thread."""
    return run_module("benchmarks.obvious_script", audio, out, threads=1).seconds


def tiles(audio: Path, out: Path, workers: int) -> float:
    """Seconds of ulmo-prep, with one computing thread a worker."""
    return ulmo("prep", audio, out, "--workers", workers, threads=1).seconds


def one_turn(audio: Path, work: Path) -> dict[str, float]:
    """Seconds of the script, of one and two workers, and of the disk alone."""
    out, size = work / "out", 0
    commands: dict[str, Callable[[], float]] = {
        "script": lambda: script(audio, out),
        "one": lambda: tiles(audio, out, 1),
        "two": lambda: tiles(audio, out, 2),
        "disk": lambda: fill_disk(out, size),
    }
    seconds = {}
    for name, command in commands.items():
        seconds[name] = command()
        size = written(out)
        shutil.rmtree(out)
    return {**seconds, "megabytes": size / 1e6}


def ratios(turns: Sequence[dict[str, float]], over: str, under: str) -> list[float]:
    """How many times as long the one took as the other, in each turn."""
    return [turn[over] / turn[under] for turn in turns]


def row(rate: int, real: float, turns: Sequence[dict[str, float]]) -> list[str]:
    """Cells of a sampling rate; `real` are the seconds of sound."""
    faster, spreads = [], []
    for over, under in (("script", "one"), ("one", "two")):
        found = ratios(turns, over, under)
        faster.append(f"**{median(found):.2f}x**")
        spreads.append(spread(found, ".2f"))
    shares = [f"{median(ratios(turns, 'disk', name)):.0%}" for name in ("one", "two")]
    speed = median(turn["megabytes"] / turn["disk"] for turn in turns)
    times = [f"{real / median(turn[name] for turn in turns):.0f}" for name in turns[0]][:3]
    return [f"{rate // 1000} kHz", *times, *faster, *spreads, f"{speed:.0f} MB/s", *shares]


def main() -> None:
    """Measure, and write the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--minutes", type=int, default=180)
    parser.add_argument("--turns", type=int, default=3)
    add_outputs(parser)
    options = parser.parse_args()
    load, rows = beside(), []
    for rate in (16_000, 48_000):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            work = Path(folder)
            audio = write_recordings(work / "audio", options.minutes, 60, rate)
            turns = [one_turn(audio, work) for _ in range(options.turns)]
        rows.append(row(rate, options.minutes * 60, turns))
        print(" ".join(rows[-1]), flush=True)
    header = [
        *("recordings", "script", "one worker", "two workers", "one : script", "two : one"),
        *("one : script, turns", "two : one, turns"),
        *("disk with fsync", "of it used by one", "of it used by two"),
    ]
    publish(
        "ulmo-prep",
        f"{machine('ulmo', 'librosa', 'soxr', 'numpy')} {os.cpu_count()} cores; {load} when it "
        f"began. {options.minutes} recordings of a minute, 16 bit; default settings; whole "
        "commands, start included, one computing thread a worker; times real time, medians of "
        f"{options.turns} turns, and of their ratios. Asked: {ASKED['prep 16 kHz']} the script or "
        f"{ASKED['disk 16 kHz']}, and {ASKED['workers 16 kHz']} one worker by two.\n\n"
        + table(header, rows, parts=(5, 2, 3)),
        options.page,
    )


if __name__ == "__main__":
    main()
