"""Objectives beside each other: one encoder, equal tiles, equal minutes, held-out recordings.

    python -m benchmarks.objectives AUDIO_ROOT OUT --minutes 4 --threads 2
        [--only ROW,...] [--seeds 0,1,2] [--recipe FILE.toml] [--flags "--width 32"] [--table]

AUDIO_ROOT has the corpora of the recipe, recipes/default.toml unless another is named: grid, width
and batch size are its. Each row is trained by ulmo-train; a finished one is a file in OUT/rows, and
is not made again. Rows of several seeds are shown by mean and standard deviation. A run of all rows
writes the tables into docs/objectives.md; `--table` does so with those that are there.
"""

import argparse
import csv
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.heldout import RECIPE, divide, tiles_of
from benchmarks.objective_figures import audio_figures, bundle_figures
from benchmarks.objective_rows import ROWS, Row
from benchmarks.objective_tables import as_tables
from benchmarks.report import ROOT, names_of, publish
from benchmarks.tokenizer_baselines import Mfcc
from recipes.recipe import Recipe, read_recipe
from ulmo.config import OBJECTIVE_TRAITS, PrepSettings, UserError, parse_objectives, to_toml
from ulmo.preprocessing.frontends import FRONTENDS
from ulmo.storage.sealed import write_json
from ulmo.tokenizer import load_tokenizer

# Views of each training tile: itself, and two with other rates, hops, windows, gains, noise, masks.
PAGE = ROOT / "docs" / "objectives.md"
VIEWS = 3
# Most seconds of k-means: by then it has long converged.
MFCC_SECONDS = 60.0


class Work(NamedTuple):
    """Folders and settings that all rows share."""

    root: Path
    out: Path
    recipe: Recipe
    minutes: float
    threads: int
    # Flags of ulmo-train: they override those of the recipe, and the row's override them.
    flags: tuple[str, ...] = ()

    def tiles(self, frontend: str, part: str, views: int = 1) -> Path:
        """Tiles made by a front end; prepares them if they do not exist."""
        settings = PrepSettings.read({**_given(self.recipe.prep), "frontend": frontend})
        augment = self.recipe.augment.model_copy(update={"views": views})
        return tiles_of(self.out, frontend, part, settings, augment)


def make_row(name: str, row: Row, seed: int, work: Work) -> dict[str, Any]:
    """Train a row, and measure it."""
    base = {"name": name, "seed": seed, "minutes": work.minutes, "flags": list(work.flags)}
    if row.kind == "mfcc":
        recordings = sorted((work.out / "links" / "train" / "fsdd").rglob("*.wav"))
        mfcc = Mfcc(recordings, min(60 * work.minutes, MFCC_SECONDS))
        figures = audio_figures(mfcc.encoder(), mfcc.vectors, work.root, work.out)
        return {**base, "figures": figures, "own": {}}
    run = work.out / "runs" / f"{name}-{seed}"
    train(row, seed, run, work)
    tokenizer = load_tokenizer(run / "tokenizer", threads=work.threads)
    held = work.tiles(work.recipe.prep.frontend, "held")
    figures = bundle_figures(tokenizer, held, work.root, work.out)
    return {
        **base,
        "figures": {"steps": _steps(run / "losses.csv"), **figures},
        "own": json.loads((run / "objectives.json").read_text(encoding="utf-8"))["tasks"],
    }


def train(row: Row, seed: int, run: Path, work: Work) -> None:
    """Run or resume ulmo-train to its end; its output goes into run.log."""
    own = work.recipe.prep.frontend
    command = [*train_command(row, seed, work), str(work.tiles(own, "train", VIEWS)), str(run)]
    command += ["--resume"] if (run / "train.json").exists() else []
    names = parse_objectives(row.objective)
    if any(OBJECTIVE_TRAITS[name].wants == "frontends" for name in names):
        for frontend in FRONTENDS:
            if frontend != own:
                command += ["--beside", str(work.tiles(frontend, "train"))]
    run.parent.mkdir(parents=True, exist_ok=True)
    log = run.with_suffix(".log")
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with log.open("w") as file:
        done = subprocess.run(
            command, cwd=ROOT, env=quiet, stdout=file, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        raise UserError(f"{run.name}: ulmo-train ended with {done.returncode}: see {log}")


def train_command(row: Row, seed: int, work: Work) -> list[str]:
    """ulmo-train and all flags, later ones overriding earlier ones; the caller adds the folders."""
    settings = work.out / "settings.toml"
    settings.write_text(to_toml({"model": work.recipe.model, "train": work.recipe.train}))
    given = {
        "config": settings,
        "epochs": 100_000,
        "patience": 100_000,
        "max-minutes": work.minutes,
        "threads": work.threads,
        "objective": row.objective,
        "seed": seed,
    }
    flags = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    return [sys.executable, "-m", "ulmo", "train", *flags, *work.flags, *row.flags]


def _given(settings: PrepSettings) -> dict[str, Any]:
    return settings.model_dump(exclude_none=True)


def _steps(losses: Path) -> int:
    with losses.open(encoding="utf-8", newline="") as file:
        return max(int(row["step"]) for row in csv.DictReader(file))


def run_rows(names: Sequence[str], seeds: Sequence[int], work: Work) -> None:
    """Train and measure the rows that are missing."""
    (work.out / "rows").mkdir(parents=True, exist_ok=True)
    divide(work.recipe, work.root, work.out)
    for seed in seeds:
        for name in names:
            target = work.out / "rows" / f"{name}-{seed}.json"
            if target.exists() or (ROWS[name].kind == "mfcc" and seed != seeds[0]):
                continue
            print(f"{name}, seed {seed}", flush=True)
            write_json(target, make_row(name, ROWS[name], seed, work))


def read_rows(out: Path) -> dict[str, list[dict[str, Any]]]:
    """Finished rows by name, in the order of the table; one per seed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name in ROWS:
        paths = sorted((out / "rows").glob(f"{name}-*.json"))
        rows = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        if rows := [row for row in rows if row["name"] == name]:
            found[name] = rows
    return found


def numbers(text: str) -> list[int]:
    """Parse whole numbers with commas between them."""
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Train, measure, and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audio_root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=4, help="Minutes of training per row.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", type=names_of(list(ROWS)), help="Rows, with commas.")
    parser.add_argument("--seeds", type=numbers, default=[0], help="Seeds, with commas.")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument(
        "--flags", type=shlex.split, default=[], help="For ulmo-train, for all rows."
    )
    parser.add_argument("--table", action="store_true", help="Only write the tables.")
    options = parser.parse_args()
    work = Work(
        root=options.audio_root,
        out=options.out.resolve(),
        recipe=read_recipe(options.recipe),
        minutes=options.minutes,
        threads=options.threads,
        flags=tuple(options.flags),
    )
    if not options.table:
        run_rows(options.only or list(ROWS), options.seeds, work)
    rows = read_rows(work.out)
    text = as_tables(rows)
    if options.table or rows.keys() == ROWS.keys():
        publish("objectives", text, PAGE)
    else:
        print(text)


if __name__ == "__main__":
    main()
