"""ulmo eval: a tokenizer, measured on prepared tiles, on labelled recordings, or on both.

Uses ONNX Runtime only. The results are a JSON file, and pictures beside it.
"""

from pathlib import Path

from ulmo.bundle.bundle import read_bundle
from ulmo.bundle.manifest import MANIFEST
from ulmo.config import UserError
from ulmo.pipelines.evaluate.audio import AudioPlan, Progress, evaluate_audio
from ulmo.pipelines.evaluate.pictures import draw_codes, draw_usage
from ulmo.pipelines.evaluate.results import Evaluation, as_json
from ulmo.pipelines.evaluate.tiles import Part, evaluate_tiles
from ulmo.storage.atomic import publish
from ulmo.storage.run_manifest import RUN_MANIFEST
from ulmo.storage.sealed import write_json
from ulmo.tokenizer import Tokenizer


def evaluate(
    run_or_bundle: Path,
    tiles_dir: Path | None = None,
    *,
    audio: AudioPlan | None = None,
    part: Part = "auto",
    batch_size: int = 16,
    threads: int = 0,
    report: Path | None = None,
    progress: Progress = lambda *_: None,
) -> Evaluation:
    """Measure a run's tokenizer, or a bundle, and write `report` and its pictures.

    On tiles: reconstruction, commitment, codebook. On `audio`: ABX, robustness, rates, codebook.
    The default report is eval.json in the run, or in the working folder for a bundle outside a run.
    `part` chooses the run's held-out recordings (`validation`), its training recordings, or all;
    `auto` takes the held-out ones if the tiles are those that the run was trained on, else all.
    `progress` receives what is measured, how much of it is done, and all. Raises UserError if the
    tokenizer, the tiles and the recordings do not fit.
    """
    if tiles_dir is None and audio is None:
        raise UserError("nothing to measure on: name TILES_DIR, or recordings with --audio")
    bundle, run_dir = run_or_bundle / "tokenizer", run_or_bundle
    reports = run_dir
    if (run_or_bundle / MANIFEST).is_file():
        bundle, run_dir = run_or_bundle, run_or_bundle.resolve().parent
        reports = run_dir if (run_dir / RUN_MANIFEST).is_file() else Path.cwd()
    tokenizer = Tokenizer(read_bundle(bundle), threads=threads)
    report = report or reports / "eval.json"
    if not report.parent.is_dir():
        raise UserError(f"there is no folder {report.parent} to write {report.name} to")
    on_tiles = on_audio = None
    counted = {}
    if tiles_dir is not None:
        on_tiles = evaluate_tiles(
            tokenizer, tiles_dir, run_dir, part, batch_size=batch_size, progress=progress
        )
        counted["tiles"] = on_tiles.counts, on_tiles.sound_counts
    if audio is not None:
        on_audio = evaluate_audio(tokenizer, audio, progress)
        counted["recordings"] = on_audio.tokens.counts, on_audio.tokens.sound_counts
    counts, _ = next(iter(counted.values()))
    pictures = {}
    for name, content in {
        "usage": draw_usage(counted),
        "codes": draw_codes(tokenizer, counts),
    }.items():
        pictures[name] = report.with_name(f"{report.stem}-{name}.png")
        with publish(pictures[name]) as file:
            file.write(content)
    fingerprint = tokenizer.manifest.fingerprint
    evaluation = Evaluation(fingerprint, on_tiles, on_audio, report, pictures)
    write_json(report, as_json(evaluation))
    return evaluation
