"""The verdicts on all malformed files of others, and on SciPy's, as a table.

    python -m tests.fuzz.verdicts > docs/verdicts.csv

Status 1 if a file took a second or more, or if one that is not `ok` has no reason.
"""

import csv
import io
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.seeds import MALFORMED, SCIPY
from ulmo.preprocessing.audio import RefusedError, open_recording
from ulmo.preprocessing.refusal import Verdict

MOST_SECONDS = 1.0


class Row(NamedTuple):
    """What became of a file."""

    file: str
    verdict: Verdict
    read: int
    declared: int | None
    missing: int
    flags: tuple[str, ...]
    milliseconds: float


def verdict_of(path: Path, name: str) -> Row:
    begun = time.perf_counter()
    try:
        with open_recording(path) as recording:
            for _ in recording.blocks():
                pass
        found = (
            recording.verdict,
            recording.frames_read,
            recording.frames_declared,
            recording.frames_missing,
            recording.flags,
        )
    except RefusedError as refusal:
        verdict = Verdict("refused", refusal.reason)
        found = (verdict, 0, refusal.declared, refusal.missing, ())
    return Row(name, *found, 1000 * (time.perf_counter() - begun))


def verdicts() -> list[Row]:
    """Of every file, in the order of their names; the first is read twice, to be warm."""
    found = []
    for label, folder in (("", MALFORMED), ("scipy/", SCIPY)):
        for path in sorted(folder.rglob("*.wav")):
            name = label + path.relative_to(folder).as_posix()
            verdict_of(path, name)
            found.append(verdict_of(path, name.replace("test_fixtures_wave_", "")))
    return found


def as_csv(rows: list[Row]) -> str:
    lines = [("file", "status", "reason", "read", "declared", "missing", "flags", "ms")]
    for row in rows:
        verdict = (row.verdict.status, row.verdict.reason)
        frames = (row.read, row.declared, row.missing)
        lines.append((row.file, *verdict, *frames, " ".join(row.flags), f"{row.milliseconds:.1f}"))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


if __name__ == "__main__":
    table = verdicts()
    print(as_csv(table), end="")
    bad = [
        row
        for row in table
        if row.milliseconds >= 1000 * MOST_SECONDS
        or (row.verdict.status == "ok") != (row.verdict.reason is None)
    ]
    sys.exit(1 if bad or not table else 0)
