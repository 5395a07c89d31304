"""A whole ulmo-tokenize process, beside a Python that only imports TensorFlow."""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.asked import ASKED
from benchmarks.commands import run
from benchmarks.material import write_sound
from benchmarks.peers import THREADS
from benchmarks.report import side_by_side, spread, table

SECONDS = 10


def tokenize_command(recording: Path, bundle: Path) -> list[str]:
    """The ulmo-tokenize of this interpreter; it writes the tokens beside the recording."""
    options = [str(recording), "--tokenizer", str(bundle), "--threads", str(THREADS)]
    return [sys.executable, "-m", "ulmo", "tokenize", *options]


def clear(recording: Path) -> None:
    """Remove all files beside a recording."""
    for path in recording.parent.iterdir():
        if path != recording:
            path.unlink()


def measure_start(work: Path, bundle: Path, *, turns: int) -> str:
    """A table of start times in seconds."""
    recording = write_sound(work / "start" / "x.wav", SECONDS, 16_000)
    command = tokenize_command(recording, bundle)

    def python(*arguments: str) -> None:
        run([sys.executable, *arguments], threads=THREADS)

    def tokenize() -> None:
        clear(recording)
        run(command, threads=THREADS)
        assert recording.with_name("x.tokens.npy").is_file()

    ours, shown, tensorflow, nothing = side_by_side(
        tokenize,
        lambda: python("-m", "ulmo", "tokenize", "--help"),
        lambda: python("-c", "import tensorflow"),
        lambda: python("-c", "pass"),
        repeats=turns,
    )

    def row(title: str, seconds: Sequence[float], asked: str) -> list[str]:
        part = [its / imported for its, imported in zip(seconds, tensorflow, strict=True)]
        typical, share = f"{median(seconds):.3f}", f"{median(part):.3f}"
        return [title, typical, spread(seconds, ".3f"), share, spread(part, ".3f"), asked]

    rows = [
        row(f"`ulmo-tokenize`, {SECONDS} s of sound", ours, f"{ASKED['start']} of it"),
        row("`ulmo-tokenize --help`", shown, str(ASKED["help"])),
        row('`python -c "import tensorflow"`', tensorflow, ""),
        row('`python -c "pass"`', nothing, ""),
    ]
    return (
        "**Start.** Whole processes (`python -m ulmo tokenize`), start to end, in turn; medians of "
        f"{turns} after one of each to warm up.\n\n"
        + table(["process", "seconds", "turns", "of TensorFlow's", "turns", "asked"], rows)
    )
