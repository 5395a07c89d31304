"""ulmo eval: a run's tokenizer, measured on prepared tiles, through ONNX Runtime alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.bundle import read_bundle
from ulmo.config import UserError
from ulmo.evaluation.tally import Metrics, Tally
from ulmo.pipelines.data import Indices, Loudness, split_by_recording
from ulmo.pipelines.measure import Model, Passed, tallies
from ulmo.pipelines.run import read_run
from ulmo.preprocessing.store import TileStore, write_json
from ulmo.tokenizer import Tokenizer

Part = Literal["auto", "validation", "train", "all"]


class Evaluation(NamedTuple):
    """The figures of each batch, and of all."""

    part: str
    """What was measured: `validation`, `train` or `all`."""
    fingerprint: str
    """The tokenizer's."""
    batches: list[Metrics]
    total: Metrics
    report: Path
    """The JSON file with all of it."""


def evaluate(
    run_dir: Path,
    tiles_dir: Path,
    *,
    part: Part = "auto",
    batch_size: int = 16,
    threads: int = 0,
    report: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure RUN_DIR/tokenizer on tiles, and write eval.json into the run (or to `report`).

    `part` takes the run's held-out recordings, its training recordings, or all; `auto` takes
    the held-out ones of the tiles that the run was trained on, and all of any other tiles.
    `progress` is told batches done, and all. Raises UserError where run and tiles do not fit.
    """
    tokenizer = Tokenizer(read_bundle(run_dir / "tokenizer"), threads=threads)
    report = report or run_dir / "eval.json"
    if not report.parent.is_dir():
        raise UserError(f"there is no folder {report.parent} to write {report.name} to")
    store = TileStore(tiles_dir)
    _check(tokenizer, store, tiles_dir)
    constants = tokenizer.manifest.normalization
    if constants is not None and constants != store.manifest.normalization:
        store.renormalize(constants)
    part, indices = _choose(run_dir, store, part)
    settings = tokenizer.manifest.model
    loudness = Loudness(store, settings)
    batches: list[Metrics] = []
    total: Tally | None = None
    for tally in tallies(
        as_model(tokenizer), store, indices, loudness, settings, batch_size=batch_size
    ):
        batches.append(tally.metrics())
        total = tally if total is None else total + tally
        if progress:
            progress(len(batches), -(-len(indices) // batch_size))
    if total is None:
        raise UserError(f"{tiles_dir} has no tiles to measure ({part})")
    evaluation = Evaluation(
        part=part,
        fingerprint=tokenizer.manifest.fingerprint,
        batches=batches,
        total=total.metrics(),
        report=report,
    )
    write_json(evaluation.report, _as_json(evaluation, tiles_dir))
    return evaluation


def as_model(tokenizer: Tokenizer) -> Model:
    """A tokenizer as a function of tiles: encode, quantise, decode."""

    def forward(tiles: NDArray[np.float32], valid_frames: NDArray[np.int32]) -> Passed:
        ids, distances = tokenizer.encode_tiles(tiles, valid_frames)
        decoded = tokenizer.decode_ids(ids)[:, :, : tiles.shape[2]]
        return Passed(decoded, ids, distances)

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
    if part == "all":
        return part, everything
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


def _as_json(evaluation: Evaluation, tiles_dir: Path) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "tokenizer": evaluation.fingerprint,
        "tiles": str(tiles_dir.resolve()),
        "part": evaluation.part,
        "total": metrics_json(evaluation.total),
        "batches": [metrics_json(metrics) for metrics in evaluation.batches],
    }


def metrics_json(metrics: Metrics) -> dict[str, Any]:
    """Metrics as a plain dictionary; what could not be measured is null."""
    values = metrics._asdict()
    for name in ("codebook", "sound_codebook"):
        values[name] = {key: _finite(value) for key, value in values[name]._asdict().items()}
    return {name: _finite(value) for name, value in values.items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
