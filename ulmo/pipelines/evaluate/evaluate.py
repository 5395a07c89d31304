"""ulmo eval: a tokenizer, measured on prepared tiles, on labelled recordings, or on both.

Uses ONNX Runtime only. The results are a JSON file, and pictures beside it.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices
from ulmo.bundle.bundle import DEFAULT, read_bundle
from ulmo.bundle.manifest import MANIFEST
from ulmo.config import LIMITS, Limits, UserError
from ulmo.dataset import Loudness, ModelOutput, split_by_recording, tallies
from ulmo.evaluation.tally import Metrics, Reconstruction, Tally
from ulmo.evaluation.verdict import Verdict
from ulmo.jobs.best_effort import BestEffort
from ulmo.jobs.spread import HERE, Spread
from ulmo.pictures.axes import refuse_foreign_picture
from ulmo.pipelines.evaluate.audio import AudioEvaluation, AudioPlan
from ulmo.pipelines.evaluate.pictures import PICTURES, draw_pictures
from ulmo.preprocessing.store import TileStore
from ulmo.storage.atomic import publish
from ulmo.storage.differences import differences
from ulmo.storage.names import portable
from ulmo.storage.plain_file import lexists, read_unlinked
from ulmo.storage.run_manifest import RUN_MANIFEST, read_run
from ulmo.storage.sealed import json_values, write_json
from ulmo.tokenizer import Tokenizer

_Part = Literal["auto", "validation", "train", "all"]
_MAX_REPORT = 64 << 20  # bytes: it has figures for each batch of tiles
_Progress = Callable[[str, int, int], object]  # what is measured, how much is done, and all


class TilesEvaluation(NamedTuple):
    """Figures of each batch, and of all tiles."""

    folder: Path
    part: str  # what was measured: `validation`, `train` or `all`
    batches: list[Metrics]
    total: Metrics
    verdict: Verdict  # whether the ids change with the sound
    reconstruction: Reconstruction  # of all tiles, by bands and frames
    edges_hz: list[float]  # (bands + 1)
    band_counts: NDArray[np.int64]  # (bands, CB)
    sound_band_counts: NDArray[np.int64]  # (bands, CB)

    @classmethod
    def measure(
        cls,
        tokenizer: Tokenizer,
        tiles_dir: Path,
        run_dir: Path,
        part: _Part,
        *,
        batch_size: int,
        progress: _Progress,
    ) -> "TilesEvaluation":
        """Measure a tokenizer on a part of some tiles; `run_dir` need not hold a run."""
        store = TileStore(tiles_dir)
        if differing := differences(
            store.manifest.settings.model_dump(),
            tokenizer.manifest.prep.model_dump(),
            may_differ=("overlap", "channels"),
        ):
            raise UserError(
                f"{tiles_dir} was prepared with other settings than the run's tiles "
                f"({differing}): prepare it again with the same settings"
            )
        constants = tokenizer.manifest.normalization
        if constants is not None and constants != store.manifest.normalization:
            store.renormalize(constants)
        part, rows = _choose(run_dir, store, part)
        loudness = Loudness(store, tokenizer.manifest.model)
        found: list[Metrics] = []
        total: Tally | None = None
        model = partial(ModelOutput.of, tokenizer)
        for tally in tallies(model, loudness, rows, batch_size=batch_size):
            found.append(tally.metrics())
            total = tally if total is None else total + tally
            progress("tiles", len(found), -(-len(rows) // batch_size))
        if total is None:
            raise UserError(f"{tiles_dir} has no tiles to measure ({part})")
        return cls(
            folder=tiles_dir,
            part=part,
            batches=found,
            total=total.metrics(),
            verdict=total.verdict(),
            reconstruction=total.reconstruction(),
            edges_hz=tokenizer.edges_hz.tolist(),
            band_counts=total.band_counts,
            sound_band_counts=total.sound_band_counts,
        )


class Evaluation(NamedTuple):
    """The results; None for what was not asked for."""

    fingerprint: str  # of the tokenizer
    tiles: TilesEvaluation | None
    audio: AudioEvaluation | None
    report: Path  # the JSON file with all results
    pictures: dict[str, Path]  # `usage`: how often each code is used; `codes`: each code decoded

    def as_json(self) -> dict[str, Any]:
        """The content of eval.json."""
        return {
            "schema_version": 4,
            "tokenizer": self.fingerprint,
            "tiles": self.tiles and json_values(_tiles(self.tiles)),
            "audio": self.audio and json_values(_audio(self.audio)),
            "pictures": {name: path.name for name, path in self.pictures.items()},
        }


def evaluate(
    run_or_bundle: Path | str | None = None,
    tiles_dir: Path | None = None,
    *,
    audio: AudioPlan | None = None,
    part: _Part = "auto",
    batch_size: int = 16,
    threads: int = 0,
    limits: Limits = LIMITS,
    spread: Spread = HERE,
    report: Path | None = None,
    progress: _Progress = lambda *_: None,
    warn: Callable[[str], None] = print,
) -> Evaluation:
    """Measure a run's tokenizer, a bundle, or the one that ships; write `report` and its pictures.

    On tiles: reconstruction, commitment, codebook. On `audio`: labels told apart, robustness,
    rates, codebook.
    The default report is eval.json in the run, or in the working folder for a bundle outside a run.
    There it and its pictures replace those of an earlier `ulmo eval`, and no other files.
    `part` chooses the run's held-out recordings (`validation`), its training recordings, or all;
    `auto` takes the held-out ones if the tiles are those that the run was trained on, else all.
    `progress` receives what is measured, how much of it is done, and all; `warn` a line if a
    picture could not be drawn or written, which ends nothing. Raises UserError if the
    tokenizer, the tiles and the recordings do not fit.
    """
    if tiles_dir is None and audio is None:
        raise UserError("nothing to measure on: name TILES_DIR, or recordings with --audio")
    bundle, run_dir, reports = _bundle_and_run(run_or_bundle or DEFAULT)
    tokenizer = Tokenizer(read_bundle(bundle, limits), threads=threads, limits=limits)
    if report is None:
        report = reports / "eval.json"
        _refuse_foreign(report)
    if not report.parent.is_dir():
        raise UserError(f"there is no folder {report.parent} to write {report.name} to")
    on_tiles = on_audio = None
    counted = {}
    if tiles_dir is not None:
        on_tiles = TilesEvaluation.measure(
            tokenizer, tiles_dir, run_dir, part, batch_size=batch_size, progress=progress
        )
        counted["tiles"] = on_tiles.band_counts, on_tiles.sound_band_counts
    if audio is not None:
        on_audio = AudioEvaluation.measure(tokenizer, audio, progress, spread)
        tokens = on_audio.tokens
        counted["recordings"] = tokens.band_counts, tokens.sound_band_counts
    pictures: dict[str, Path] = {}
    with BestEffort(warn)("pictures of the codebook"):
        for name, content in draw_pictures(tokenizer, counted).items():
            picture = _picture_path(report, name)
            with publish(picture) as file:
                file.write(content)
            pictures[name] = picture
    fingerprint = tokenizer.manifest.fingerprint
    evaluation = Evaluation(fingerprint, on_tiles, on_audio, report, pictures)
    write_json(report, evaluation.as_json())
    return evaluation


def _picture_path(report: Path, name: str) -> Path:
    return report.with_name(f"{report.stem}-{name}.png")


def _refuse_foreign(report: Path) -> None:
    """Raise UserError if ulmo did not write the report, or a picture of it, that lies there."""
    remedy = "move it elsewhere, or name another report with --json"
    if lexists(report) and not _is_report(report):
        raise UserError(f"{report} is there, and ulmo eval did not write it: {remedy}")
    for name in PICTURES:
        refuse_foreign_picture(_picture_path(report, name), remedy)


def _bundle_and_run(named: Path | str) -> tuple[Path | str, Path, Path]:
    """The bundle, the folder that may be its run, and the folder for the report."""
    if isinstance(named, str):  # of the hub
        return named, DEFAULT.parent, Path.cwd()
    if not (named.is_file() or (named / MANIFEST).is_file()):
        return named / "tokenizer", named, named
    run_dir = named.resolve().parent
    return named, run_dir, run_dir if _is_run(run_dir) else Path.cwd()


def _is_run(folder: Path) -> bool:
    return (folder / RUN_MANIFEST).is_file()


def _is_report(path: Path) -> bool:
    try:
        values = json.loads(read_unlinked(path, _MAX_REPORT))
    except (OSError, UserError, ValueError, RecursionError):
        return False
    keys = {"schema_version", "tokenizer", "tiles", "audio", "pictures"}
    return isinstance(values, dict) and keys <= values.keys()


def _choose(run_dir: Path, store: TileStore, part: _Part) -> tuple[_Part, Indices]:
    everything = np.flatnonzero(store.views == 0)
    if part == "all" or (part == "auto" and not _is_run(run_dir)):
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


def _tiles(tiles: TilesEvaluation) -> dict[str, Any]:
    return {
        "folder": portable(tiles.folder.resolve()),
        "part": tiles.part,
        "verdict": tiles.verdict,
        "total": tiles.total,
        "reconstruction": {**tiles.reconstruction._asdict(), "edges_hz": tiles.edges_hz},
        "batches": tiles.batches,
    }


def _audio(audio: AudioEvaluation) -> dict[str, Any]:
    plan, tokens = audio.plan, audio.tokens
    return {
        "folder": portable(plan.folder.resolve()),
        "labels_file": None if plan.labels is None else portable(plan.labels.resolve()),
        "max_items": plan.max_items,
        "max_seconds": plan.max_seconds,
        "seed": plan.seed,
        "recordings": audio.recordings,
        "seconds": audio.seconds,
        "labels": audio.labels,
        "speakers": audio.speakers,
        "refused": [
            {"path": portable(path), "reason": reason, "detail": detail}
            for path, reason, detail in audio.refused
        ],
        "left_out": audio.left_out,
        "verdict": tokens.verdict,
        "codebook": tokens.codebook,
        "sound_codebook": tokens.sound_codebook,
        "abx": {
            "missing": audio.abx_missing or None,
            "tokens": None if audio.abx_missing else tokens.abx,
            "substitutions": audio.scores_abx,
            "latents": audio.latents and audio.latents.abx,
            "codes": audio.codes_abx,
            "spectrogram": audio.spectrogram_abx,
            "spectrogram_step": audio.spectrogram_step,
        },
        "probe": {
            "folds_by": tokens.folds.by,
            "missing": tokens.folds.missing or None,
            "latents": audio.latents and audio.latents.probe,
            "histograms": tokens.probe,
        },
        "neighbours": {
            "by": tokens.folds.by,
            "missing": tokens.neighbours.missing or None,
            "latents": audio.latents and audio.latents.nearest,
            "histograms": tokens.neighbours.histograms,
            "sequences": tokens.neighbours.sequences,
            "substitutions": tokens.neighbours.substitutions,
        },
        "robustness": {
            name: {
                **found._asdict(),
                "share": None if tokens.verdict.says_little else found.share,
                "sound_share": None if tokens.verdict.says_little else found.sound_share,
            }
            for name, found in tokens.robustness.items()
        },
        "rate": tokens.rate,
    }
