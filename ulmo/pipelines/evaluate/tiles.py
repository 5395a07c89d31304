"""A tokenizer, measured on prepared tiles: reconstruction, commitment, codebook."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices
from ulmo.config import UserError
from ulmo.evaluation.tally import Metrics, Reconstruction, Tally
from ulmo.pipelines.dataset import (
    Loudness,
    ModelOutput,
    TileModel,
    split_by_recording,
    tallies,
)
from ulmo.pipelines.evaluate.audio import Progress
from ulmo.preprocessing.store import TileStore
from ulmo.storage.run_manifest import RUN_MANIFEST, read_run
from ulmo.tokenizer import Tokenizer

Part = Literal["auto", "validation", "train", "all"]


class TilesEvaluation(NamedTuple):
    """Figures of each batch, and of all tiles."""

    folder: Path
    part: str  # what was measured: `validation`, `train` or `all`
    batches: list[Metrics]
    total: Metrics
    reconstruction: Reconstruction  # of all tiles, by bands and frames
    edges_hz: list[float]  # (bands + 1)
    counts: NDArray[np.int64]  # (CB,)
    sound_counts: NDArray[np.int64]  # (CB,)


def evaluate_tiles(
    tokenizer: Tokenizer,
    tiles_dir: Path,
    run_dir: Path,
    part: Part,
    *,
    batch_size: int,
    progress: Progress,
) -> TilesEvaluation:
    """Measure a tokenizer on a part of some tiles; `run_dir` need not hold a run."""
    store = TileStore(tiles_dir)
    _check_prepared_alike(tokenizer, store, tiles_dir)
    constants = tokenizer.manifest.normalization
    if constants is not None and constants != store.manifest.normalization:
        store.renormalize(constants)
    part, rows = _choose(run_dir, store, part)
    loudness = Loudness(store, tokenizer.manifest.model)
    found: list[Metrics] = []
    total: Tally | None = None
    for tally in tallies(as_model(tokenizer), loudness, rows, batch_size=batch_size):
        found.append(tally.metrics())
        total = tally if total is None else total + tally
        progress("tiles", len(found), -(-len(rows) // batch_size))
    if total is None:
        raise UserError(f"{tiles_dir} has no tiles to measure ({part})")
    return TilesEvaluation(
        folder=tiles_dir,
        part=part,
        batches=found,
        total=total.metrics(),
        reconstruction=total.reconstruction(),
        edges_hz=tokenizer.edges_hz.tolist(),
        counts=total.counts,
        sound_counts=total.sound_counts,
    )


def as_model(tokenizer: Tokenizer) -> TileModel:
    """A tokenizer as a function of tiles: encode, quantise, decode."""

    def forward(tiles: NDArray[np.float32], valid_frames: NDArray[np.int32]) -> ModelOutput:
        columns = tokenizer.encode_tiles(tiles, valid_frames)
        decoded = tokenizer.decode_ids(columns.ids)[:, :, : tiles.shape[2]]
        return ModelOutput(decoded, columns.ids, columns.distances)

    return forward


def _check_prepared_alike(tokenizer: Tokenizer, store: TileStore, tiles_dir: Path) -> None:
    """Refuse tiles of another front end than the tokenizer's."""
    wanted, given = tokenizer.manifest.prep, store.manifest.settings
    differing = [
        f"{name} {getattr(given, name)!r}, not {value!r}"
        for name, value in wanted
        if name not in ("overlap", "channels") and value != getattr(given, name)
    ]
    if differing:
        raise UserError(
            f"{tiles_dir} was prepared with other settings than the run's tiles "
            f"({'; '.join(differing)}): prepare it again with the same settings"
        )


def _choose(run_dir: Path, store: TileStore, part: Part) -> tuple[Part, Indices]:
    everything = np.flatnonzero(store.views == 0)
    if part == "all" or (part == "auto" and not (run_dir / RUN_MANIFEST).is_file()):
        return "all", everything
    run = read_run(run_dir)
    if run.tiles_fingerprint != store.manifest.fingerprint:
        if part == "auto":
            return "all", everything
        raise UserError("the run was trained on other tiles: only --part all can be measured")
    split = split_by_recording(store, run.train.validation_fraction, run.train.seed)
    if part == "auto":
        part = "validation" if len(split.validation) else "all"
    train = np.intersect1d(split.train, everything)
    parts = {"validation": split.validation, "train": train, "all": everything}
    return part, parts[part]
