"""Print the tokens of a recording of this folder, its known events marked.

python data_samples/show.py FILE.wav BUNDLE
"""

import csv
import sys
from pathlib import Path

import numpy as np

import ulmo


def main(recording: Path, bundle: Path) -> None:
    tokens = ulmo.load_tokenizer(bundle).encode(recording)
    column_s = tokens.hop / tokens.sample_rate
    print(
        f"{recording.name}: ids {tokens.ids.shape} (time, band), a column every {column_s:.2f} s, "
        f"bands from {tokens.edges_hz[0]:.0f} to {tokens.edges_hz[-1]:.0f} Hz"
    )
    events = dict(known_events(recording))
    starts = np.array(sorted(events))
    for second, ids in zip(tokens.seconds, tokens.ids, strict=True):
        inside = starts[(starts >= second) & (starts < second + column_s)]
        note = " ".join(f"<- {events[start]} at {start:.2f} s" for start in inside)
        print(f"{second:7.2f} s  {' '.join(f'{token:3d}' for token in ids)}  {note}".rstrip())


def known_events(recording: Path) -> list[tuple[float, str]]:
    folder = Path(__file__).parent
    name = recording.resolve().relative_to(folder.resolve()).as_posix()
    with (folder / "events.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["file"] == name]
    return [(float(row["start_s"]), row["label"]) for row in rows]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
