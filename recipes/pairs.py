"""Pairs of recordings that say the same, of all corpora of a recipe in one file."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from recipes.recipe import Recipe, Source
from recipes.takes import pair_takes
from ulmo.pipelines.train.pairs import COLUMNS, MOST_BYTES, MOST_PAIRS, read_pairs
from ulmo.storage.atomic import publish
from ulmo.storage.csv_rows import read_csv_rows

PAIRS = "pairs.csv"


def gather_pairs(recipe: Recipe, root: Path, chosen: Sequence[Path], path: Path) -> bool:
    """Write the pairs of the chosen recordings, corpus by corpus, to `path`.

    They are those of FOLDER/pairs.csv, and the takes that the recipe names. Returns whether there
    is any. Paths begin with the folder of the corpus, as in recordings.parquet. Pairs with a
    recording that was not chosen are left out. Raises UserError if `ulmo-train --pairs` would
    refuse what was written.
    """
    names = {recording.as_posix() for recording in chosen}
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    count = 0
    for corpus in recipe.corpora:
        for a, b, a_times, b_times in _pairs_of(corpus, root / corpus.folder, names):
            row = [f"{corpus.folder}/{a}", f"{corpus.folder}/{b}", a_times, b_times]
            if {*row[:2]} <= names:
                table.writerow(row)
                count += 1
    with publish(path) as file:
        file.write(text.getvalue().encode())
    if count:
        read_pairs(path, sorted(names))
    return count > 0


def _pairs_of(corpus: Source, folder: Path, chosen: set[str]) -> Iterator[tuple[str, ...]]:
    """Rows of pairs of a corpus, with paths below its folder."""
    listed = folder / PAIRS
    if listed.exists():
        rows = read_csv_rows(listed, COLUMNS, most_bytes=MOST_BYTES, most_rows=MOST_PAIRS)
        yield from (tuple(row[column] for column in COLUMNS) for _, row in rows)
    if corpus.takes:
        start = f"{corpus.folder}/"
        own = [name.removeprefix(start) for name in chosen if name.startswith(start)]
        yield from pair_takes(folder, own, corpus.takes)
