"""Many short recordings: compressed ones, clips, memory, labelled items, and the growth of cost.

    python -m benchmarks.many [--only compressed,clips,memory,labelled,linear]

Each part rewrites its section of docs/benchmarks.md.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import soundfile

from benchmarks.asked import ASKED
from benchmarks.commands import Ran, ulmo
from benchmarks.linear import AXES, PLOT, measure_linear
from benchmarks.material import write_recordings
from benchmarks.prep import ratios, script, tiles
from benchmarks.report import beside, machine, names_of, parser_of, spread, table
from benchmarks.summary import add_outputs, publish

CLIP, DOT = 0.5, 0.1  # seconds of a clip, and of a recording of which there are very many
LABEL_SIZE = 10  # items of a label

Part = Callable[[Path, argparse.Namespace], str]


def measure_compressed(work: Path, options: argparse.Namespace) -> str:
    """ulmo-prep and the obvious script on Ogg Vorbis, in turn."""
    audio = write_recordings(work / "audio", options.compressed, 5, 44_100, ".ogg")
    commands = {"script": script, "one": lambda audio, out: tiles(audio, out, 1)}
    turns: list[dict[str, float]] = []
    for _ in range(options.turns + 1):
        turns.append({})
        for name, command in commands.items():
            turns[-1][name] = command(audio, work / "out")
            shutil.rmtree(work / "out")
    kept = turns[1:]  # the first one warms up
    faster = ratios(kept, "script", "one")

    def row(title: str, name: str, *cells: str) -> list[str]:
        seconds = [turn[name] for turn in kept]
        return [title, f"{median(seconds):.2f}", spread(seconds, ".2f"), *cells]

    rows = [
        row("the script", "script", "", "", ""),
        row(
            *("`ulmo-prep`", "one", f"**{median(faster):.2f}x**", spread(faster, ".2f")),
            str(ASKED["compressed"]),
        ),
    ]
    return (
        f"**Compressed clips.** {options.compressed} Ogg Vorbis files of 5 s at 44.1 kHz, one "
        "worker, one computing thread; whole commands in turn, medians of "
        f"{options.turns} after one of each to warm up, and of their ratios.\n\n"
        + table(["command", "seconds", "turns", "ratio", "turns", "asked"], rows)
    )


def measure_clips(work: Path, options: argparse.Namespace) -> str:
    """ulmo-tokenize on clips, and again when nothing is left to do."""
    audio = write_recordings(work / "audio", options.clips, CLIP)
    command = ("tokenize", audio, "--out-dir", work / "out", "--workers", options.workers)
    runs: dict[str, list[Ran]] = {"all": [], "nothing to do": []}
    for _ in range(options.long_turns):
        for kept in runs.values():
            kept.append(ulmo(*command))
        shutil.rmtree(work / "out")
    rows = [
        [title, *_times(found), str(ASKED[name])]
        for (title, found), name in zip(runs.items(), ("clips", "again"), strict=True)
    ]
    return (
        f"**Short clips.** {options.clips:,} WAV files of {CLIP:g} s at 16 kHz in one folder, "
        f"`ulmo-tokenize` with {options.workers} workers, whole commands; medians of "
        f"{options.long_turns} turns; the tokenizer that ships.\n\n"
        + table(["files", "seconds", "turns", "processor seconds", "turns", "asked"], rows)
    )


def _times(found: Sequence[Ran]) -> list[str]:
    """Seconds and processor seconds: the median, and the lowest to the highest, of each."""
    cells = []
    for values in ([ran.seconds for ran in found], [ran.processor for ran in found]):
        cells += [f"{median(values):.2f}", spread(values, ".2f")]
    return cells


def measure_memory(work: Path, options: argparse.Namespace) -> str:
    """Peaks of the process of ulmo-prep and ulmo-tokenize, with few recordings and with many."""
    few, most = options.recordings
    peaks: dict[str, list[float]] = {}
    for count in (few, most):
        audio, out = write_recordings(work / f"{count}", count, DOT), work / "out"
        for name, line in (
            ("prep", ("prep", audio, out)),
            ("tokenize", ("tokenize", audio, "--out-dir", out)),
        ):
            for title in (f"`ulmo-{name}`", f"`ulmo-{name}` again"):
                ran = ulmo(*line, "--workers", options.workers)
                peaks.setdefault(title, []).append(ran.peak)
            shutil.rmtree(out)
        shutil.rmtree(audio)
    rows = []
    for title, (first, last) in peaks.items():
        grown = (last - first) * 2**20 / (most - few)
        name = "memory tokenize" if "tokenize" in title else "memory prep"
        cells = (f"{first:.0f} MB", f"{last:.0f} MB", f"**{grown:.0f}**")
        rows.append([title, *cells, "" if "again" in title else str(ASKED[name])])
    return (
        f"**Memory of many recordings.** WAV files of {DOT:g} s in one folder, "
        f"{options.workers} workers; peak (VmHWM) of the command's own process, one run each; "
        "`again` is the same command with nothing left to do. Asked from 1,000 to 100,000 files; "
        f"measured from {few:,} to {most:,}.\n\n"
        + table(["command", f"{few:,}", f"{most:,}", "bytes a recording", "asked"], rows)
    )


def write_labelled(folder: Path, count: int, seconds: float) -> Path:
    """Write made calls: a folder of LABEL_SIZE recordings for each label, which names it.

    A call's pitch and warble are those of its label; recordings differ in phase, level and noise.
    """
    rng = np.random.default_rng(0)
    n = np.arange(round(16_000 * seconds)) / 16_000
    for number in range(count):
        label, take = divmod(number, LABEL_SIZE)
        pitch, warble = 500 * 2 ** (label % 7 / 2), 1 + label // 7
        phase = 2 * np.pi * pitch * n + 40 * np.sin(2 * np.pi * warble * n + take)
        samples = rng.uniform(0.1, 0.4) * np.sin(phase) * (np.sin(2 * np.pi * warble * n) > 0)
        samples += 0.01 * rng.standard_normal(len(n))
        path = folder / f"call_{label:02d}" / f"{take}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, 16_000)
    return folder


def measure_labelled(work: Path, options: argparse.Namespace) -> str:
    """`ulmo eval --audio` on labelled items."""
    rows = []
    for seconds in options.item_seconds:
        audio = write_labelled(work / f"{seconds:g}", options.items, seconds)
        command = ("eval", "--audio", audio, "--json", work / "eval.json")
        found = [ulmo(*command) for _ in range(options.eval_turns)]
        asked = "" if rows else str(ASKED["labelled"])
        rows.append([f"`ulmo eval --audio`, {seconds:g} s each", *_times(found), asked])
    labels = -(-options.items // LABEL_SIZE)
    return (
        f"**Labelled items.** {options.items} made calls with {labels} labels, all figures, whole "
        f"commands, turns: {options.eval_turns}; the tokenizer that ships.\n\n"
        + table(["command", "seconds", "turns", "processor seconds", "turns", "asked"], rows)
    )


PARTS: dict[str, Part] = {
    "compressed": measure_compressed,
    "clips": measure_clips,
    "memory": measure_memory,
    "labelled": measure_labelled,
    "linear": lambda work, options: measure_linear(
        work, options.least, options.most, options.long_turns, options.page.with_name(PLOT)
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the tables."""
    parser = parser_of(__doc__)
    only, count = names_of(PARTS), len(AXES)
    parser.add_argument("--only", type=only, default=list(PARTS), help="Comma-separated parts.")
    number = parser.add_argument
    number("--turns", type=int, default=5, help="Turns of compressed.")
    number("--long-turns", type=int, default=3, help="Turns of clips and linear.")
    number("--eval-turns", type=int, default=1, help="Turns of labelled, each of minutes.")
    number("--workers", type=int, default=2, help="Of clips and memory.")
    number("--compressed", type=int, default=160, help="Compressed clips.")
    number("--clips", type=int, default=4000)
    number("--recordings", type=int, nargs=2, default=[1000, 20_000], help="Few, many: memory.")
    number("--items", type=int, default=400, help="Labelled items.")
    number("--item-seconds", type=float, nargs="+", default=[5, 1], help="Sound of each.")
    number("--least", type=int, nargs=count, default=[10, 1, 10], help=", ".join(AXES))
    number("--most", type=int, nargs=count, default=[10_000, 64, 10_000], help="The same.")
    add_outputs(parser)
    options = parser.parse_args(arguments)
    for name in options.only:
        head = (
            f"{machine('ulmo', 'onnxruntime', 'numpy', 'soundfile', 'librosa')} "
            f"{os.cpu_count()} cores; {beside()} when it began."
        )
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            text = PARTS[name](Path(folder), options)
        publish(f"many {name}", f"{head}\n\n{text}", options.page)


if __name__ == "__main__":
    main()
