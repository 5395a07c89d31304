"""Tokenizers beside each other: equal tiles, equal minutes of training, held-out recordings.

    python -m benchmarks.tokenizers AUDIO_ROOT OUT [--minutes 3] [--only ROW,...] [--quantizer ema]

AUDIO_ROOT has the corpora of recipes/default.toml. A row is a file in OUT/rows: one that is there
is not trained again. A run of all rows rewrites docs/tokenizers.md; `--table` does so with those
that are there.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.heldout import (
    ABX_SETS,
    RECIPE,
    divide,
    on_tiles,
    sounds_of,
    tile_figures,
    tiles_of,
    unequal,
)
from benchmarks.material import sound
from benchmarks.report import ROOT, Silent, machine, publish, table
from benchmarks.tokenizer_baselines import Mfcc, Patches
from benchmarks.tokenizer_rows import MODEL, ROWS, SAME, TRAIN
from benchmarks.train import names_of
from recipes.recipe import read_recipe
from ulmo.config import PrepSettings, UserError
from ulmo.dataset import ModelOutput
from ulmo.pipelines.evaluate.audio import EncoderFigures
from ulmo.pipelines.evaluate.encoders import AudioEncoder
from ulmo.pipelines.train.train import train
from ulmo.storage.sealed import write_json
from ulmo.tokenizer import load_tokenizer

PAGE = ROOT / "docs" / "tokenizers.md"
ENCODED_SECONDS = 60
"""Of the sound whose encoding is timed, in 5 calls."""
TRAINED = [name for name, row in ROWS.items() if (row.group, row.kind) == ("quantizer", "ulmo")]
"""Rows whose quantizer front ends and grids may have."""


def make_row(name: str, root: Path, out: Path, minutes: float, quantizer: str) -> dict[str, Any]:
    """Train a row, and measure it."""
    row = ROWS[name]
    encoder, figures = BUILDERS[row.kind](name, root, out, minutes, quantizer)
    audio = {
        corpus: EncoderFigures.measure(encoder, sounds_of(root, out, corpus, encoder.sample_rate))
        for corpus in ABX_SETS
    }
    return {"name": name, "minutes": minutes, **figures, **_on_audio(audio), **_speed(encoder)}


def _build_ulmo(
    name: str, root: Path, out: Path, minutes: float, quantizer: str
) -> tuple[AudioEncoder, dict[str, Any]]:
    row, run = ROWS[name], out / "runs" / name
    prep = PrepSettings(frontend=row.frontend)
    tiles, held = (tiles_of(out, row.frontend, part, prep) for part in ("train", "held"))
    best = ROWS[name if row.group == "quantizer" else quantizer]
    model = {**MODEL, **best.model, **row.model}
    settings = {**TRAIN, **best.train, "max_minutes": minutes, "epochs": 10_000, "patience": 10_000}
    resume = (run / "train.json").exists()
    trained = train(tiles, run, model, settings, Silent(), resume=resume)
    tokenizer = load_tokenizer(run / "tokenizer")
    manifest, on_arrays = tokenizer.manifest, partial(ModelOutput.of, tokenizer)
    metrics = on_tiles(on_arrays, held, manifest.model, manifest.normalization)
    told = {"tiles_per_second": trained.tiles_per_second, "steps": trained.steps}
    return AudioEncoder.of(tokenizer), {**told, **tile_figures(metrics)}


def _build_patches(
    name: str, root: Path, out: Path, minutes: float, quantizer: str
) -> tuple[AudioEncoder, dict[str, Any]]:
    tiles, held = (tiles_of(out, "mel", part, PrepSettings()) for part in ("train", "held"))
    patches = Patches(tiles, 60 * minutes)
    constants = patches.store.manifest.normalization
    metrics = on_tiles(patches.forward(), held, patches.model, constants)
    return patches.encoder(out / "runs" / name), tile_figures(metrics)


def _build_mfcc(
    name: str, root: Path, out: Path, minutes: float, quantizer: str
) -> tuple[AudioEncoder, dict[str, Any]]:
    recordings = sorted((out / "links" / "train" / "fsdd").rglob("*.wav"))
    return Mfcc(recordings, 60 * minutes).encoder(), {}


BUILDERS = {"ulmo": _build_ulmo, "patches": _build_patches, "mfcc": _build_mfcc}


def _on_audio(found: dict[str, EncoderFigures]) -> dict[str, Any]:
    speech, scenes = found["fsdd"], found["esc10"]
    assert speech.abx.within
    assert speech.abx.across
    assert scenes.abx.any
    changed = {
        name: unequal([figures.robustness[name] for figures in found.values()])
        for name in speech.robustness
    }
    return {
        "abx_within": speech.abx.within.error,
        "abx_across": speech.abx.across.error,
        "abx_esc10": scenes.abx.any.error,
        "abx_items": [speech.abx.items, scenes.abx.items],
        "unequal": changed,
        "tokens_per_second": scenes.rate.tokens_per_second,
        "bits_per_second": scenes.rate.bits_per_second,
        "entropy_bits_per_second": scenes.rate.entropy_bits_per_second,
    }


def _speed(encoder: AudioEncoder) -> dict[str, float]:
    """Samples to ids, times real time."""
    rng = np.random.default_rng(0)
    samples = sound(ENCODED_SECONDS, encoder.sample_rate, rng=rng).astype(np.float32)
    encoder.encode(samples)
    begun = time.perf_counter()
    for _ in range(5):
        encoder.encode(samples)
    return {"times_real_time": 5 * ENCODED_SECONDS / (time.perf_counter() - begun)}


HEADER = [
    *("tokenizer", "MSE", "dB², all", "non-silent", "usage", "entropy", "top-1"),
    *("ABX within", "across", "ESC-10", "± 6 dB", "noise 20 dB", "10 dB"),
    *("bits/s", "entropy-coded", "tiles/s", "tokens/s of encoding"),
]
PARTS = (3, 3, 3, 3, 4)  # columns that a table shows beside the name


def cells(title: str, row: dict[str, Any]) -> list[str]:
    """One line of the table; a dash where a tokenizer has no such figure."""

    def number(name: str, form: str) -> str:
        return format(row[name], form) if name in row else "-"

    changed = row["unequal"]
    gain = (changed["gain_up_6db"][0] + changed["gain_down_6db"][0]) / 2
    return [
        title,
        number("reconstruction", ".4f"),
        number("reconstruction_db", ".1f"),
        number("sound_reconstruction_db", ".1f"),
        number("sound_usage", ".1%"),
        number("sound_entropy", ".3f"),
        number("sound_top1", ".1%"),
        *(f"{100 * row[name]:.1f}" for name in ("abx_within", "abx_across", "abx_esc10")),
        f"{gain:.1%}",
        *(f"{changed[name][0]:.1%}" for name in ("noise_20db", "noise_10db")),
        number("bits_per_second", ".0f"),
        number("entropy_bits_per_second", ".0f"),
        number("tiles_per_second", ".0f"),
        f"{row['tokens_per_second'] * row['times_real_time']:.3g}",
    ]


def as_tables(rows: dict[str, dict[str, Any]], quantizer: str) -> str:
    """A table for the quantizers, one for the front ends, one for the grids."""
    parts = [f"{machine('ulmo', 'tensorflow', 'scikit-learn', 'librosa')} {os.cpu_count()} cores."]
    some = next(iter(rows.values()))
    if len({row["minutes"] for row in rows.values()}) > 1:
        raise UserError("the rows were trained for different minutes: remove some of OUT/rows")
    speech, scenes = some["abx_items"]
    parts.append(
        f"{some['minutes']:g} minutes of training each. Reconstruction and codebook on all held-out"
        f" recordings, usage, entropy and top-1 of non-silent tokens; ABX errors in % of {speech} "
        f"digits of two speakers never heard and of {scenes} clips of ESC-10; unequal tokens of "
        "these after gain and white noise. Entropy-coded: order zero, on ESC-10."
    )
    titles = {
        "quantizer": "Quantizers, mel, 16 x 16",
        "front end": f"Front ends, {quantizer}, 16 x 16",
        "grid": f"Grids, {quantizer}, mel",
    }
    for group, title in titles.items():
        found = [
            cells(row.title, rows[name])
            for name, row in ROWS.items()
            if row.group == group and name in rows
        ]
        if found:
            parts.append(f"**{title}.**\n\n{table(HEADER, found, parts=PARTS)}")
    return "\n\n".join(parts)


def read_rows(out: Path) -> dict[str, dict[str, Any]]:
    """Those that are finished."""
    paths = {name: out / "rows" / f"{name}.json" for name in ROWS}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def run_rows(options: argparse.Namespace) -> None:
    """Make the rows that are missing, each in a process of its own."""
    (options.out / "rows").mkdir(parents=True, exist_ok=True)
    divide(read_recipe(RECIPE), options.audio_root, options.out)
    context = multiprocessing.get_context("spawn")
    for name in options.only:
        target = options.out / "rows" / f"{name}.json"
        twin = options.out / "rows" / f"{SAME.get(name)}.json"
        if target.exists():
            continue
        if options.quantizer == "ema" and twin.exists():
            shutil.copyfile(twin, target)
            continue
        told = (name, options.audio_root, options.out, options.minutes, options.quantizer)
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            row = pool.submit(make_row, *told).result()
        write_json(target, row)
        print(" | ".join(cells(name, row)), flush=True)


def main() -> None:
    """Train, measure, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audio_root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=3, help="Of training, each row.")
    parser.add_argument(
        "--only", type=names_of(list(ROWS)), default=list(ROWS), help="Rows, with commas."
    )
    parser.add_argument("--quantizer", default="ema", choices=TRAINED, help="Of the other rows.")
    parser.add_argument("--table", action="store_true", help="Write the table of what is there.")
    options = parser.parse_args()
    if not options.table:
        run_rows(options)
    rows = read_rows(options.out)
    if options.table or rows.keys() == ROWS.keys():
        publish("tokenizers", as_tables(rows, options.quantizer), PAGE)


if __name__ == "__main__":
    main()
