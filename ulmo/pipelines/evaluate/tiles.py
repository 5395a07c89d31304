"""A tokenizer, measured on prepared tiles: reconstruction, commitment, codebook."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices
from ulmo.config import UserError
from ulmo.evaluation.reconstruction import Reconstruction, ReconstructionTally
from ulmo.evaluation.tally import Metrics, Tally
from ulmo.pipelines.dataset import Loudness, split_by_recording
from ulmo.pipelines.evaluate.audio import Progress
from ulmo.pipelines.measure import Model, Passed, measured
from ulmo.pipelines.run_manifest import RUN_MANIFEST, read_run
from ulmo.preprocessing.store import TileStore
from ulmo.tokenizer import Tokenizer

Part = Literal["auto", "validation", "train", "all"]


class TilesEvaluation(NamedTuple):
    """The figures of each batch, and of all."""

    folder: Path
    part: str
    """What was measured: `validation`, `train` or `all`."""
    batches: list[Metrics]
    total: Metrics
    reconstruction: Reconstruction
    """Of all, by bands and frames."""
    edges_hz: list[float]
    """Edges of the bands, (bands + 1)."""
    counts: NDArray[np.int64]  # (CB,)
    sound_counts: NDArray[np.int64]  # (CB,)


def evaluate_tiles(
    tokenizer: Tokenizer,
    tiles_dir: Path,
    run_dir: Path,
    part: Part,
    *,
    batch_size: int,
    progress: Progress | None = None,
) -> TilesEvaluation:
    """Measure a tokenizer on a part of some tiles; `run_dir` is read where there is a run."""
    store = TileStore(tiles_dir)
    _check(tokenizer, store, tiles_dir)
    constants = tokenizer.manifest.normalization
    if constants is not None and constants != store.manifest.normalization:
        store.renormalize(constants)
    part, indices = _choose(run_dir, store, part)
    settings = tokenizer.manifest.model
    found = measured(
        as_model(tokenizer), store, indices, Loudness(store, settings), batch_size=batch_size
    )
    batches: list[Metrics] = []
    total: Tally | None = None
    errors: ReconstructionTally | None = None
    for batch in found:
        tally, error = Tally.of(batch, settings), ReconstructionTally.of(batch, settings)
        batches.append(tally.metrics())
        total = tally if total is None else total + tally
        errors = error if errors is None else errors + error
        if progress:
            progress("tiles", len(batches), -(-len(indices) // batch_size))
    if total is None or errors is None:
        raise UserError(f"{tiles_dir} has no tiles to measure ({part})")
    return TilesEvaluation(
        folder=tiles_dir,
        part=part,
        batches=batches,
        total=total.metrics(),
        reconstruction=errors.metrics(),
        edges_hz=tokenizer.edges_hz.tolist(),
        counts=total.counts,
        sound_counts=total.sound_counts,
    )


def as_model(tokenizer: Tokenizer) -> Model:
    """A tokenizer as a function of tiles: encode, quantise, decode."""

    def forward(tiles: NDArray[np.float32], valid_frames: NDArray[np.int32]) -> Passed:
        columns = tokenizer.encode_tiles(tiles, valid_frames)
        decoded = tokenizer.decode_ids(columns.ids)[:, :, : tiles.shape[2]]
        return Passed(decoded, columns.ids, columns.distances)

    return forward


def _check(tokenizer: Tokenizer, store: TileStore, tiles_dir: Path) -> None:
    """Tiles of other settings would be measured against a front end that never made them."""
    wanted, given = tokenizer.manifest.prep, store.manifest.settings
    differing = [
        f"{name} {getattr(given, name)!r}, not {value!r}"
        for name, value in wanted
        if name not in ("overlap", "channels") and value != getattr(given, name)
    ]
    if differing:
        raise UserError(
            f"{tiles_dir} was prepared otherwise than the run's tiles ({'; '.join(differing)})"
        )


def _choose(run_dir: Path, store: TileStore, part: Part) -> tuple[Part, Indices]:
    everything = np.flatnonzero(store.views == 0)
    if part == "all" or (part == "auto" and not (run_dir / RUN_MANIFEST).is_file()):
        return "all", everything
    run = read_run(run_dir)
    same = run.tiles_fingerprint == store.manifest.fingerprint
    if not same and part == "auto":
        return "all", everything
    if not same:
        raise UserError("the run was trained on other tiles: only --part all can be measured")
    split = split_by_recording(store, run.train.validation_fraction, run.train.seed)
    if part == "auto":
        part = "validation" if len(split.validation) else "all"
    train = np.intersect1d(split.train, everything)
    parts = {"validation": split.validation, "train": train, "all": everything}
    return part, parts[part]
