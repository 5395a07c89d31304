"""An evaluation as JSON: names that stay, numbers, and null for what could not be measured."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ulmo.evaluation.abx import Abx
from ulmo.evaluation.robustness import Agreement
from ulmo.evaluation.tally import Metrics
from ulmo.jobs.inputs import portable
from ulmo.pipelines.evaluate.audio import AudioEvaluation
from ulmo.pipelines.evaluate.tiles import TilesEvaluation

SCHEMA_VERSION = 2


class Evaluation(NamedTuple):
    """What was measured; None what was not asked for."""

    fingerprint: str
    """The tokenizer's."""
    tiles: TilesEvaluation | None
    audio: AudioEvaluation | None
    report: Path
    """The JSON file with all of it."""
    pictures: dict[str, Path]
    """`usage`, the use of each code, and `codes`, each code decoded."""


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """What eval.json holds."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tokenizer": evaluation.fingerprint,
        "tiles": _tiles(evaluation.tiles) if evaluation.tiles else None,
        "audio": _audio(evaluation.audio) if evaluation.audio else None,
        "pictures": {name: path.name for name, path in evaluation.pictures.items()},
    }


def metrics_json(metrics: Metrics) -> dict[str, Any]:
    """Metrics as a plain dictionary; what could not be measured is null."""
    values: dict[str, Any] = plain(metrics)
    return values


def plain(value: Any) -> Any:
    """Named tuples as dictionaries, lists of them too; what is not finite is null."""
    if hasattr(value, "_asdict"):
        return {name: plain(field) for name, field in value._asdict().items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _tiles(tiles: TilesEvaluation) -> dict[str, Any]:
    return {
        "folder": portable(tiles.folder.resolve()),
        "part": tiles.part,
        "total": metrics_json(tiles.total),
        "reconstruction": {**plain(tiles.reconstruction), "edges_hz": tiles.edges_hz},
        "batches": plain(tiles.batches),
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
        "codebook": plain(tokens.codebook),
        "sound_codebook": plain(tokens.sound_codebook),
        "abx": {
            "tokens": _abx(tokens.abx),
            "latents": _abx(audio.latents.abx),
            "codes": _abx(audio.codes_abx),
            "spectrogram": _abx(audio.spectrogram_abx),
            "spectrogram_step": audio.spectrogram_step,
        },
        "probes": {
            "folds_by": tokens.folds.by,
            "missing": tokens.folds.missing or None,
            "latents": plain(audio.latents.probes),
            "histograms": plain(tokens.probes),
        },
        "robustness": {name: _agreement(found) for name, found in tokens.robustness.items()},
        "rate": plain(tokens.rate),
    }


def _abx(abx: Abx) -> dict[str, Any]:
    return {name: plain(score) for name, score in abx._asdict().items()}


def _agreement(found: Agreement) -> dict[str, Any]:
    return {
        **found._asdict(),
        "share": plain(found.share),
        "sound_share": plain(found.sound_share),
    }
