"""Labels of many kinds of sound, found by the nearest item from another recording.

    python -m benchmarks.neighbours AUDIO_ROOT OUT [--bundle NAME=PATH ...] [--table]

Rows are the tokenizer that ships, each bundle named, and k-means on MFCC at 10 ms and at the column
of each of them. AUDIO_ROOT has the corpora of recipes/default.toml, which k-means learns from, and
others to judge. A row is a file in OUT/neighbours: it is not measured again unless its bundle has
changed. All rows are put into docs/tokenizers.md; `--table` does so with those that are there.
"""

import argparse
import json
import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.coarser import coarser, merged, variants
from benchmarks.heldout import RECIPE, divide
from benchmarks.label_sets import Found, LabelSet, find_sets
from benchmarks.neighbour_tables import as_tables
from benchmarks.report import ROOT, parser_of, publish
from benchmarks.tokenizer_baselines import HOP, RATE, Mfcc
from recipes.recipe import read_recipe
from ulmo.arrays import Array
from ulmo.bundle.bundle import DEFAULT
from ulmo.config import UserError
from ulmo.evaluation.probe import histograms
from ulmo.jobs.inputs import find_recordings
from ulmo.pipelines.evaluate.audio import TokenNeighbours
from ulmo.pipelines.evaluate.encoders import AudioEncoder
from ulmo.storage.sealed import json_values, write_json
from ulmo.tokenizer import load_tokenizer

PAGE = ROOT / "docs" / "tokenizers.md"
SHIPPED = "ulmo, default"
# Of k-means on all frames: by then it has long converged, and its codes are the same in every run.
EPOCHS = 20
FRAME_S = HOP / RATE  # of MFCCs


class Row(NamedTuple):
    """One tokenizer."""

    title: str
    encoder: AudioEncoder
    codebook: Array  # (CB, d)


class Plan(NamedTuple):
    """A row to make."""

    title: str
    fingerprint: str  # of the bundle; the number of frames of k-means
    build: Callable[[], Row]


def _bundle(title: str, folder: Path) -> Row:
    tokenizer = load_tokenizer(folder)
    return Row(title, AudioEncoder.of(tokenizer), tokenizer.codebook)


def _mfcc(title: str, links: Path, frames: int) -> Row:
    found = [links / path for path in find_recordings(links)]
    mfcc = Mfcc(found, epochs=EPOCHS, frames=frames)
    return Row(title, mfcc.encoder(), mfcc.codebook)


def plans(bundles: dict[str, Path], links: Path) -> list[Plan]:
    """All rows: k-means at 10 ms, at the columns of the bundles, and the bundles."""
    made, columns = [], {1}
    for title, folder in bundles.items():
        tokenizer = load_tokenizer(folder)
        encoder = AudioEncoder.of(tokenizer)
        columns.add(max(round(encoder.hop / encoder.sample_rate / FRAME_S), 1))
        fingerprint = tokenizer.manifest.fingerprint
        made.append(Plan(title, fingerprint, partial(_bundle, title, folder)))
    for frames in sorted(columns, reverse=True):
        title = f"k-means, MFCC-39, {1000 * frames * FRAME_S:g} ms"
        build = partial(_mfcc, title, links, frames)
        made.insert(0, Plan(title, f"{frames} frames, {EPOCHS} epochs", build))
    return made


def measure(row: Row, found: Found, root: Path) -> dict[str, Any]:
    """Figures of a row: bits a second of each variant, and neighbours of each set."""
    encoder, size = row.encoder, len(row.codebook)
    ids_of = cache(partial(merged, row.codebook))
    chosen = variants(size)
    figures: dict[str, Any] = {"title": row.title, "bits": {}, "sets": {}}

    def judge(items: LabelSet) -> dict[str, Any]:
        sounds = items.read(root, encoder.sample_rate)
        grids = [encoder.encode(sound.samples) for sound in sounds.sounds]
        audible = [
            encoder.sound(sound.samples, grid)
            for sound, grid in zip(sounds.sounds, grids, strict=True)
        ]
        of_set = {}
        for variant in chosen:
            coarse = [coarser(grid, ids_of(variant.codes), variant) for grid in grids]
            masks = [mask[:: variant.step] for mask in audible]
            per_second = grids[0].shape[1] * encoder.sample_rate / encoder.hop
            figures["bits"][variant.name] = variant.bits_per_second(per_second)
            of_set[variant.name] = TokenNeighbours.of(
                coarse,
                histograms(coarse, masks, variant.codes),
                sounds,
                by=items.by,
                scores=encoder.substitution if variant == chosen[0] else None,
            )
        return of_set

    for name, items in {**found.shares, **found.counts}.items():
        figures["sets"][name] = json_values(judge(items))
        print(f"{row.title}: {name}", flush=True)
    return figures


def make_rows(options: argparse.Namespace, found: Found) -> list[dict[str, Any]]:
    """All rows, those that are there read, the others measured."""
    rows = []
    for plan in plans({SHIPPED: DEFAULT, **options.bundle}, options.out / "links" / "train"):
        name = re.sub(r"[^a-z0-9]+", "-", plan.title.lower())
        target = options.out / "neighbours" / f"{name}.json"
        row = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
        if row.get("fingerprint") != plan.fingerprint and not options.table:
            figures = measure(plan.build(), found, options.audio_root)
            row = {"fingerprint": plan.fingerprint, **figures}
            target.parent.mkdir(parents=True, exist_ok=True)
            write_json(target, row)
        rows += [row] if row else []
    return rows


def named_bundles(texts: Sequence[str]) -> dict[str, Path]:
    """NAME=PATH of each text; UserError if one is not of this form."""
    pairs = [text.partition("=") for text in texts]
    if not all(name and path for name, _, path in pairs):
        raise UserError("--bundle wants NAME=PATH")
    return {name: Path(path) for name, _, path in pairs}


def main() -> None:
    """Measure, and write the table."""
    parser = parser_of(__doc__)
    parser.add_argument("audio_root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--bundle", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--table", action="store_true", help="Only write the tables.")
    options = parser.parse_args()
    options.bundle = named_bundles(options.bundle)
    options.out.mkdir(parents=True, exist_ok=True)
    recipe = read_recipe(RECIPE)
    divide(recipe, options.audio_root, options.out)
    found = find_sets(recipe, options.audio_root, options.out)
    publish("neighbours", as_tables(make_rows(options, found), found), PAGE)


if __name__ == "__main__":
    main()
