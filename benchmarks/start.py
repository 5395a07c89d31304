"""A whole ulmo-tokenize process, beside a Python that only imports TensorFlow."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.material import write_sound
from benchmarks.peers import THREADS
from benchmarks.report import side_by_side, table

SECONDS = 10
TARGET = 0.25


def tokenize_command(recording: Path, bundle: Path) -> list[str]:
    """The ulmo-tokenize of this interpreter; it writes the tokens beside the recording."""
    options = [str(recording), "--tokenizer", str(bundle), "--threads", str(THREADS)]
    return [sys.executable, "-m", "ulmo", "tokenize", *options]


def environment() -> dict[str, str]:
    """An environment that limits every library to two threads."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    return {**os.environ, **dict.fromkeys(names, str(THREADS))}


def clear(recording: Path) -> None:
    """Remove all files beside a recording."""
    for path in recording.parent.iterdir():
        if path != recording:
            path.unlink()


def run(command: Sequence[str]) -> None:
    """Run a command; if it fails, end the benchmark and show its error output."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")


def measure_start(work: Path, bundle: Path, *, turns: int) -> str:
    """A table of start times in seconds."""
    recording = write_sound(work / "start" / "x.wav", SECONDS, 16_000)
    command = tokenize_command(recording, bundle)

    def tokenize() -> None:
        clear(recording)
        run(command)
        assert recording.with_name("x.tokens.npy").is_file()

    ours, tensorflow, nothing = side_by_side(
        tokenize,
        lambda: run([sys.executable, "-c", "import tensorflow"]),
        lambda: run([sys.executable, "-c", "pass"]),
        repeats=turns,
    )
    rows = [
        [f"`ulmo-tokenize`, {SECONDS} s of sound", f"{ours:.2f}", f"**{ours / tensorflow:.2f}**"],
        ['`python -c "import tensorflow"`', f"{tensorflow:.2f}", ""],
        ['`python -c "pass"`', f"{nothing:.2f}", f"{nothing / tensorflow:.2f}"],
    ]
    return (
        "**Start.** Whole processes (`python -m ulmo tokenize`), start to end, in turn; medians of "
        f"{turns} after one of each to warm up. Asked: at most {TARGET:g} of TensorFlow's.\n\n"
        + table(["process", "seconds", "of TensorFlow's"], rows)
    )
