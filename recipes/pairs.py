"""Pairs of recordings that say the same, of all corpora of a recipe in one file."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from recipes.recipe import Recipe
from ulmo.pipelines.train.pairs import COLUMNS, MOST_BYTES, MOST_PAIRS, read_pairs
from ulmo.storage.atomic import publish
from ulmo.storage.csv_rows import read_csv_rows

PAIRS = "pairs.csv"


def gather_pairs(recipe: Recipe, root: Path, chosen: Sequence[Path], path: Path) -> bool:
    """Write the pairs of the chosen recordings, from FOLDER/pairs.csv of each corpus, to `path`.

    Returns whether there is any. Paths begin with the folder of the corpus, as in
    recordings.parquet. Pairs with a recording that was not chosen are left out. Raises UserError if
    `ulmo-train --pairs` would refuse what was written.
    """
    names = {recording.as_posix() for recording in chosen}
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    count = 0
    for corpus in recipe.corpora:
        pairs = root / corpus.folder / PAIRS
        if not pairs.exists():
            continue
        for _, row in read_csv_rows(pairs, COLUMNS, most_bytes=MOST_BYTES, most_rows=MOST_PAIRS):
            a, b = (f"{corpus.folder}/{row[side]}" for side in ("a", "b"))
            if {a, b} <= names:
                table.writerow([a, b, row["a_times"], row["b_times"]])
                count += 1
    with publish(path) as file:
        file.write(text.getvalue().encode())
    if count:
        read_pairs(path, sorted(names))
    return count > 0
