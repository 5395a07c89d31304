"""The verdicts on malformed files as a table, with the milliseconds that each took.

    python -m benchmarks.verdicts > docs/verdicts.csv

Status 1 if a file took a second or more.
"""

import csv
import sys
import time

from tests.fuzz.verdicts import files, verdict_of

MOST_MS = 1000.0
COLUMNS = {
    **{name: name for name in ("file", "status", "reason")},
    **{"read": "frames", "declared": "frames_declared", "missing": "frames_missing"},
    **{name: name for name in ("flags", "ms")},
}


def main() -> int:
    """Print the table; each file is read twice, and timed when it is warm."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    slowest = 0.0
    for name, path in files():
        verdict_of(name, path)
        begun = time.perf_counter()
        row = verdict_of(name, path)
        took = 1000 * (time.perf_counter() - begun)
        slowest = max(slowest, took)
        shown = {**row, "flags": " ".join(row["flags"]), "ms": f"{took:.1f}"}
        writer.writerow([shown[column] for column in COLUMNS.values()])
    return int(slowest >= MOST_MS)


if __name__ == "__main__":
    sys.exit(main())
