"""ulmo eval: a tokenizer, measured on prepared tiles, on labelled recordings, or on both.

Through ONNX Runtime alone. What comes of it is a JSON file, and pictures beside it.
"""

from pathlib import Path

from ulmo.bundle.bundle import MANIFEST, read_bundle
from ulmo.config import UserError
from ulmo.pipelines.evaluate.audio import AudioEvaluation, AudioPlan, Progress, evaluate_audio
from ulmo.pipelines.evaluate.pictures import draw_codes, draw_usage
from ulmo.pipelines.evaluate.results import Evaluation, as_json
from ulmo.pipelines.evaluate.tiles import Part, TilesEvaluation, evaluate_tiles
from ulmo.storage.atomic import publish
from ulmo.storage.sealed import write_json
from ulmo.tokenizer import Tokenizer

REPORT = "eval.json"


def evaluate(
    run_or_bundle: Path,
    tiles_dir: Path | None = None,
    *,
    audio: AudioPlan | None = None,
    part: Part = "auto",
    batch_size: int = 16,
    threads: int = 0,
    report: Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a run's tokenizer, or a bundle, and write `report` and its pictures.

    On tiles: reconstruction, commitment, codebook. On `audio`: ABX, robustness, rates, codebook.
    The report is eval.json in the run, or of a bundle without one in the working folder, unless
    it is named. `part` takes the
    held-out recordings of the run's own tiles, its training recordings, or all; `auto` takes the
    held-out ones of the tiles that the run was trained on, and all of any other tiles, or where
    there is no run. `progress` is told what is done, how many of it, and all. Raises UserError
    where tokenizer, tiles and recordings do not fit.
    """
    if tiles_dir is None and audio is None:
        raise UserError("nothing to measure on: name TILES_DIR, or recordings with --audio")
    bundle, run_dir = run_or_bundle / "tokenizer", run_or_bundle
    reports = run_dir
    if (run_or_bundle / MANIFEST).is_file():
        bundle, run_dir = run_or_bundle, run_or_bundle.resolve().parent
        reports = run_dir if (run_dir / "train.json").is_file() else Path.cwd()
    tokenizer = Tokenizer(read_bundle(bundle), threads=threads)
    report = report or reports / REPORT
    if not report.parent.is_dir():
        raise UserError(f"there is no folder {report.parent} to write {report.name} to")
    on_tiles = on_audio = None
    if tiles_dir is not None:
        on_tiles = evaluate_tiles(
            tokenizer, tiles_dir, run_dir, part, batch_size=batch_size, progress=progress
        )
    if audio is not None:
        on_audio = evaluate_audio(tokenizer, audio, progress)
    evaluation = Evaluation(
        fingerprint=tokenizer.manifest.fingerprint,
        tiles=on_tiles,
        audio=on_audio,
        report=report,
        pictures=_draw(tokenizer, on_tiles, on_audio, report),
    )
    write_json(report, as_json(evaluation))
    return evaluation


def _draw(
    tokenizer: Tokenizer,
    tiles: TilesEvaluation | None,
    audio: AudioEvaluation | None,
    report: Path,
) -> dict[str, Path]:
    counted = {}
    if tiles:
        counted["tiles"] = tiles.counts, tiles.sound_counts
    if audio:
        counted["recordings"] = audio.tokens.counts, audio.tokens.sound_counts
    counts, _ = next(iter(counted.values()))
    contents = {"usage": draw_usage(counted), "codes": draw_codes(tokenizer, counts)}
    pictures = {name: report.with_name(f"{report.stem}-{name}.png") for name in contents}
    for name, content in contents.items():
        with publish(pictures[name]) as file:
            file.write(content)
    return pictures
