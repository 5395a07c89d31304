"""ulmo-prep beside the obvious script (obvious_script.py), and beside the disk."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.material import sound
from benchmarks.report import machine, publish, table


def make_recordings(folder: Path, count: int, seconds: int, rate: int) -> None:
    """Write recordings of noise and a wandering tone, 16 bit, one channel."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        samples = sound(seconds, rate, rng=rng, phase=number)
        soundfile.write(folder / f"{number:04d}.wav", samples, rate, subtype="PCM_16")


def run(*arguments: object) -> None:
    """Run a Python module from start to end, with one computing thread per process."""
    alone = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **alone})


def written(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def fill_disk(folder: Path, size: int) -> None:
    """Write `size` bytes as ulmo-prep does: in shards of 50 MB, each with fsync."""
    folder.mkdir()
    shard = bytes(50 << 20)
    for number in range(-(-size // len(shard))):
        with (folder / str(number)).open("wb") as file:
            file.write(shard[: min(len(shard), size - number * len(shard))])
            file.flush()
            os.fsync(file.fileno())


def one_turn(audio: Path, work: Path) -> dict[str, float]:
    """Seconds of the script, of one and two workers, and of the disk alone."""
    size = 0

    def tiles(workers: int) -> None:
        nonlocal size
        run("ulmo", "prep", audio, work / "out", "--workers", workers)
        size = written(work / "out")

    commands: dict[str, Callable[[], None]] = {
        "script": lambda: run("benchmarks.obvious_script", audio, work / "out"),
        "one": lambda: tiles(1),
        "two": lambda: tiles(2),
        "disk": lambda: fill_disk(work / "out", size),
    }
    seconds = {}
    for name, command in commands.items():
        begun = time.perf_counter()
        command()
        seconds[name] = time.perf_counter() - begun
        shutil.rmtree(work / "out")
    seconds["megabytes"] = size / 1e6
    return seconds


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=180)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="Folder for temporary files.")
    options = parser.parse_args()
    real = options.minutes * 60
    rows = []
    for rate in (16_000, 48_000):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            work = Path(folder)
            make_recordings(work / "audio", options.minutes, 60, rate)
            turns = [one_turn(work / "audio", work) for _ in range(options.turns)]
        typical = {name: float(np.median([turn[name] for turn in turns])) for name in turns[0]}
        rows.append(
            [
                f"{rate // 1000} kHz",
                *(f"{real / typical[name]:.0f}" for name in ("script", "one", "two")),
                f"**{typical['script'] / typical['one']:.1f}x**",
                f"**{typical['one'] / typical['two']:.2f}x**",
                f"{typical['megabytes'] / typical['disk']:.0f} MB/s",
                f"{typical['disk'] / typical['one']:.0%}, {typical['disk'] / typical['two']:.0%}",
            ]
        )
        print(" ".join(rows[-1]), flush=True)
    header = [
        *("recordings", "script", "one worker", "two workers", "one : script", "two : one"),
        *("disk with fsync", "of it used by one, two"),
    ]
    publish(
        "ulmo-prep",
        f"{machine('ulmo', 'librosa', 'soxr', 'numpy')} {options.minutes} recordings of a minute, "
        "16 bit; default settings; whole commands, start included, one computing thread a worker; "
        f"times real time, medians of {options.turns} turns.\n\n"
        + table(header, rows, parts=(5, 2)),
    )


if __name__ == "__main__":
    main()
