"""The verdicts on all malformed files of others, and on SciPy's, as a table.

    python -m tests.fuzz.verdicts > docs/verdicts.csv

Status 1 if a file took a second or more, or if one that is not `ok` has no reason.
"""

import csv
import io
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.seeds import MALFORMED, SCIPY
from ulmo.preprocessing.audio import RefusedError, open_recording

MOST_SECONDS = 1.0


def verdict_of(path: Path, name: str) -> dict[str, Any]:
    """The facts of a recording or of its refusal, its name, and the milliseconds it took."""
    begun = time.perf_counter()
    try:
        with open_recording(path) as recording:
            assert all(np.isfinite(block).all() for block in recording.blocks())
        facts = recording.facts()
    except RefusedError as refusal:
        facts = refusal.facts()
    return {"file": name, **facts, "ms": 1000 * (time.perf_counter() - begun)}


def verdicts() -> list[dict[str, Any]]:
    """Of every file, in the order of their names; the first is read twice, to be warm."""
    found = []
    for label, folder in (("", MALFORMED), ("scipy/", SCIPY)):
        for path in sorted(folder.rglob("*.wav")):
            name = label + path.relative_to(folder).as_posix()
            verdict_of(path, name)
            found.append(verdict_of(path, name.replace("test_fixtures_wave_", "")))
    return found


COLUMNS = {"read": "frames", "declared": "frames_declared", "missing": "frames_missing"}
HEADS = ("file", "status", "reason", "read", "declared", "missing", "flags", "ms")


def as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADS)
    for row in rows:
        shown = {**row, "flags": " ".join(row["flags"]), "ms": f"{row['ms']:.1f}"}
        writer.writerow([shown[COLUMNS.get(head, head)] for head in HEADS])
    return text.getvalue()


if __name__ == "__main__":
    table = verdicts()
    print(as_csv(table), end="")
    bad = [
        row
        for row in table
        if row["ms"] >= 1000 * MOST_SECONDS or (row["status"] == "ok") != (row["reason"] is None)
    ]
    sys.exit(1 if bad or not table else 0)
