"""The first table of docs/benchmarks.md: what is asked, and what the tables below it say.

    python -m benchmarks.summary

Every part of `make bench` rewrites it together with its own section: figures are read from there.
"""

import argparse
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from benchmarks import report
from benchmarks.asked import ASKED, Asked
from benchmarks.report import PAGE, parser_of, table

SUMMARY = "summary"
NOT_YET = "not measured yet"
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


class Row(NamedTuple):
    """A kind of work."""

    work: str
    figures: tuple[str, ...]  # keys of ASKED
    obstacle: str  # what stands in the way where it is not reached, with what was measured
    is_any_enough: bool = False  # one of the figures suffices


def publish(name: str, text: str, page: Path) -> None:
    """Put a section into a page, and the summary that follows from it.

    A page that is new begins as a copy of docs/benchmarks.md.
    """
    if not page.exists():
        shutil.copy(PAGE, page)
    report.publish(name, text, page)
    report.put(SUMMARY, summary(page.read_text(encoding="utf-8")), page)
    print(flush=True)


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Options of what a benchmark writes, and where."""
    add = parser.add_argument
    add("--folder", type=Path, default=None, help="Folder for temporary files.")
    add("--page", type=Path, default=PAGE, help="Page to rewrite: another for a trial.")


def measured(page: str, asked: Asked) -> float | None:
    """The figure of a page; None if it is not there."""
    found = re.search(rf"<!-- {asked.section} -->\n(.*?)<!-- end", page, re.DOTALL)
    column = None
    for line in found[1].splitlines() if found else ():
        cells = [cell.strip().strip("*") for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            column = None
        elif column is None:  # the first line of a table
            column = cells.index(asked.column) if asked.column in cells else len(cells)
        elif cells[0].startswith(asked.row) and column < len(cells):
            number = _NUMBER.match(cells[column])
            return float(number[0].replace(",", "")) if number else None
    return None


def summary(page: str) -> str:
    """The table of all rows, and below it what stands in the way of those not reached."""
    lines, obstacles = [], []
    for row in ROWS:
        asked = [ASKED[name] for name in row.figures]
        found = [measured(page, each) for each in asked]
        met = [
            figure is not None and each.is_met(figure)
            for each, figure in zip(asked, found, strict=True)
        ]
        words = [
            NOT_YET if figure is None else f"{figure:g}{each.unit}"
            for each, figure in zip(asked, found, strict=True)
        ]
        joined = " or " if row.is_any_enough else ", "
        is_reached = any(met) if row.is_any_enough else all(met)
        is_open = None in found and not is_reached
        verdict = "yes" if is_reached else "in part" if any(met) else "no"
        lines.append(
            [
                row.work,
                joined.join(dict.fromkeys(map(str, asked))),
                NOT_YET if set(found) == {None} else joined.join(words),
                "" if is_open else verdict,
            ]
        )
        if not is_reached and not is_open:
            obstacles.append(f"- {row.work}: {row.obstacle}")
    text = table(["work", "asked", "measured", "reached"], lines)
    if obstacles:
        text += "\n\nWhat stands in the way:\n\n" + "\n".join(obstacles)
    return text


ROWS = (
    Row(
        "`ulmo-prep`, 3 h of WAV, 16 kHz, against the script",
        ("prep 16 kHz", "disk 16 kHz"),
        "of 2.7 s for an hour of sound, mel takes 1.7 (the FFT 0.56, the bands 0.42), reading "
        "0.2. librosa's mel alone takes 4 to 5 times as long as ulmo's, so 4 in all leave nothing "
        "for checksums, manifests and fsync, which the script does not do.",
        is_any_enough=True,
    ),
    Row(
        "`ulmo-prep`, 3 h of WAV, 48 kHz, against the script",
        ("prep 48 kHz", "disk 48 kHz"),
        "both resample with the same soxr, which is most of the time.",
        is_any_enough=True,
    ),
    Row(
        "`ulmo-prep`, 160 Ogg clips of 5 s, against the script",
        ("compressed",),
        "the script took 4.4 s of a core, so 2.5 times are 1.8 s. Alone and hot, decoding takes "
        "0.67, mel of the tiles 0.25 and of the constants 0.17, resampling 0.13, writing 0.02, "
        "and the start 0.5: 1.7 s, though each clip is decoded 1.7 times, of which the second time "
        "takes 0.5. Decoding once needs room for samples; a trial was not kept (log).",
    ),
    Row(
        "`ulmo-prep`, two workers against one, 16 and 48 kHz",
        ("workers 16 kHz", "workers 48 kHz"),
        "two workers start in about 0.6 s, and their clocks are those of a shared host.",
    ),
    Row(
        "`ulmo-tokenize`, what ships, against Mimi, SNAC, EnCodec",
        ("ships mimi", "ships snac", "ships encodec"),
        "of 120 ms for 60 s of sound, ONNX Runtime took 56, four fifths of it in convolutions, "
        "and mel 34; 82 to 94 are left. The peers' own speed changes by half with the host: in "
        "one run they were half as fast, and all ratios higher.",
    ),
    Row(
        "`ulmo-tokenize`, 16 x 16, against Mimi, SNAC, EnCodec",
        ("seed mimi", "seed snac", "seed encodec"),
        "convolutions take 0.27 ms a column for any width of a window, about 50 GMAC/s, which is "
        "what this BLAS does with matrices.",
    ),
    Row(
        "`ulmo-tokenize`, 4,000 clips of half a second, two workers",
        ("clips",),
        "9 s are 4.5 ms of a core for each clip. Opening files takes 1.8 (16 a clip, of which "
        "three are made), the recording's lock 1.1, ONNX Runtime 0.64, mel 0.6, `fsync` 0.46, "
        "looking at the file before 0.4, the header 0.25. Windows of several recordings in one "
        "batch save 0.04.",
    ),
    Row(
        "4,000 clips again, nothing to do",
        ("again",),
        "a row, a header and its SHA-256 take 0.26 ms of a core for each clip, 1 s for all, "
        "beside a start of 0.55 s.",
    ),
    Row(
        "memory of a recording, `ulmo-prep`, `ulmo-tokenize`",
        ("memory prep", "memory tokenize"),
        "of the 24 and 32 MB from 1,000 to 100,000 files, some 20 are a table's first group of "
        "16,384 rows, once: from 20,000 files on it was 0 and 160 bytes a recording (log). Traced "
        "by Python, 17 bytes are held.",
    ),
    Row(
        "start: `ulmo-tokenize` on 10 s, of TensorFlow's import",
        ("start",),
        "in a profile of 0.46 s (log), pydantic, ONNX Runtime, NumPy, click, OpenCV and other "
        "packages take 0.24 to import, which is 0.055 of TensorFlow's alone; modules of ulmo 0.08, "
        "the recording 0.04, the bundle 0.02.",
    ),
    Row(
        "`ulmo-tokenize --help`",
        ("help",),
        "0.12 s of a core on a machine that does other things, too; most of it is pydantic.",
    ),
    Row(
        "`ulmo-train`, tiles a second against PyTorch's usual plan",
        ("train speed",),
        "385 million multiplications a tile, and twice as many backward, were 44 GMAC/s of a core "
        "on 2026-11-28 (77 tiles/s). Products of matrices of 1,536 x 1,536, measured after it, do "
        "53, and twice the peer's speed would be 54.",
    ),
    Row(
        "`ulmo-train`, time to its final error",
        ("train time",),
        "its error is below the peer's at a quarter and at half of the time (0.146 and 0.190, "
        "0.114 and 0.122 on 2026-11-28), but falls less at the end (both 0.088). With other "
        "recordings it was 0.077 and 0.085 at the end, and 0.77 of the time (2026-11-24).",
    ),
    Row(
        "`stream`, a block of 20 ms to tokens, live",
        ("stream",),
        "a group of 256 frames of mel for each column, and threads and caches that have gone cold.",
    ),
    Row(
        "`ulmo eval --audio` on 400 labelled items",
        ("labelled",),
        "ABX compares each two items, five times, by all pairs of their columns: 80,000 pairs of "
        "125 x 125 columns. In 30 s of a profile of 100 items, aligning took 9, angles of vectors "
        "6, and tokens kept, which encode seven changed recordings for each, 6.",
    ),
    Row(
        "24 h in one file: growth of memory, and its peak",
        ("day growth", "day peak"),
        "not known.",
    ),
    Row(
        "cost against length, channels and files: exponents",
        ("length", "channels", "files"),
        "not known.",
    ),
)


def main() -> None:
    """Rewrite the table from the page's other tables."""
    parser = parser_of(__doc__)
    add_outputs(parser)
    page = parser.parse_args().page
    report.publish(SUMMARY, summary(page.read_text(encoding="utf-8")), page)


if __name__ == "__main__":
    main()
