"""Print how many of the known events of this folder are in tables of ulmo regions and repeats.

python data_samples/found.py REGIONS.csv REPEATS.csv
"""

import csv
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

NEAR_S = 0.1  # a row may begin or end so much before or behind its event


class Stretch(NamedTuple):
    """An event, or a row of a table."""

    start_s: float
    end_s: float
    kind: str = ""

    def meets(self, other: "Stretch") -> bool:
        return self.start_s < other.end_s + NEAR_S and other.start_s < self.end_s + NEAR_S


def read(path: Path, file: str) -> dict[str, list[Stretch]]:
    found: dict[str, list[Stretch]] = {}
    with path.open(newline="") as lines:
        for row in csv.DictReader(lines):
            stretch = Stretch(float(row["start_s"]), float(row["end_s"]), row.get("kind") or "")
            if row.get("label") != "dropout":
                found.setdefault(row[file], []).append(stretch)
    return found


def main(regions: Path, repeats: Path) -> None:
    events = read(Path(__file__).with_name("events.csv"), "file")
    tables = {"regions": read(regions, "recording"), "repeats": read(repeats, "recording")}
    for name, table in tables.items():
        for file, known in events.items():
            rows = table.get(file, [])
            found = sum(any(event.meets(row) for row in rows) for event in known)
            kinds = Counter(row.kind for row in rows if any(row.meets(event) for event in known))
            words = ", ".join(f"{count} rows of {kind}" for kind, count in kinds.items() if kind)
            print(f"{name}  {file:<26}{found:3d} of {len(known):2d} events  {words}".rstrip())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
