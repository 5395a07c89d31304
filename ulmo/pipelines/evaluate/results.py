"""An evaluation as JSON: stable names, numbers, and null for what could not be measured."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ulmo.evaluation.agreement import Agreement
from ulmo.jobs.inputs import portable
from ulmo.pipelines.evaluate.audio import AudioEvaluation
from ulmo.pipelines.evaluate.tiles import TilesEvaluation


class Evaluation(NamedTuple):
    """The results; None for what was not asked for."""

    fingerprint: str  # of the tokenizer
    tiles: TilesEvaluation | None
    audio: AudioEvaluation | None
    report: Path  # the JSON file with all results
    pictures: dict[str, Path]  # `usage`: how often each code is used; `codes`: each code decoded


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """The content of eval.json."""
    return {
        "schema_version": 2,
        "tokenizer": evaluation.fingerprint,
        "tiles": _tiles(evaluation.tiles) if evaluation.tiles else None,
        "audio": _audio(evaluation.audio) if evaluation.audio else None,
        "pictures": {name: path.name for name, path in evaluation.pictures.items()},
    }


def _plain(value: Any) -> Any:
    """Named tuples as dictionaries, in lists too; numbers that are not finite as null."""
    if hasattr(value, "_asdict"):
        return {name: _plain(field) for name, field in value._asdict().items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _tiles(tiles: TilesEvaluation) -> dict[str, Any]:
    return {
        "folder": portable(tiles.folder.resolve()),
        "part": tiles.part,
        "total": _plain(tiles.total),
        "reconstruction": {**_plain(tiles.reconstruction), "edges_hz": tiles.edges_hz},
        "batches": _plain(tiles.batches),
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
        "codebook": _plain(tokens.codebook),
        "sound_codebook": _plain(tokens.sound_codebook),
        "abx": {
            "tokens": _plain(tokens.abx),
            "latents": _plain(audio.latents.abx),
            "codes": _plain(audio.codes_abx),
            "spectrogram": _plain(audio.spectrogram_abx),
            "spectrogram_step": audio.spectrogram_step,
        },
        "probes": {
            "folds_by": tokens.folds.by,
            "missing": tokens.folds.missing or None,
            "latents": _plain(audio.latents.probes),
            "histograms": _plain(tokens.probes),
        },
        "robustness": {name: _agreement(found) for name, found in tokens.robustness.items()},
        "rate": _plain(tokens.rate),
    }


def _agreement(found: Agreement) -> dict[str, Any]:
    return {
        **found._asdict(),
        "share": _plain(found.share),
        "sound_share": _plain(found.sound_share),
    }
