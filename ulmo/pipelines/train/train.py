"""ulmo-train: a folder of tiles to a run, and at its end a tokenizer.

tiles -> split by recording -> k-means start -> epochs of batches -> bundle and pictures
"""

from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ulmo.config import LIMITS, Limits, TrainSettings, UserError, plain, require
from ulmo.dataset import has_sound, split_by_recording
from ulmo.evaluation.tally import Metrics
from ulmo.evaluation.verdict import Verdict
from ulmo.jobs.best_effort import BestEffort
from ulmo.pipelines.hosts import Hosts, told_if_lost
from ulmo.pipelines.loading import catching_interrupts, loading_tensorflow, refuse_strategy
from ulmo.pipelines.run_folder import PACKAGES, held_run, refuse_links
from ulmo.pipelines.train.export import export
from ulmo.pipelines.train.pairs import Pairs, read_pairs
from ulmo.pipelines.train.pictures import draw_losses
from ulmo.pipelines.train.run_settings import plan_run
from ulmo.preprocessing.store import TileStore
from ulmo.storage.atomic import (
    is_temporary,
    publish,
    sync_folder,
)
from ulmo.storage.csv_log import LogColumns
from ulmo.storage.names import path_of, path_text
from ulmo.storage.open_folder import open_folder
from ulmo.storage.run_manifest import RUN_MANIFEST, RunManifest
from ulmo.storage.sealed import write_json, write_sealed

if TYPE_CHECKING:
    from ulmo.pipelines.run_loop import Reporter
    from ulmo.pipelines.train.own_tasks import OwnTasks

# Folders of a run. None of them may be a link; RUN_DIR itself may.
_PLACES = ("checkpoints", "checkpoints/best", "pictures", "tensorboard", "tokenizer")
_OWN_TILES = 256  # training tiles to measure objectives on if none are held out


class TrainSummary(NamedTuple):
    """The results of a run."""

    run_dir: Path
    steps: int
    epochs: int
    end: str  # the setting that ended it: epochs, patience or max_minutes
    minutes: float  # as `max_minutes` counts them, in all sessions
    tiles_per_second: float
    validation: Metrics | None
    objectives: dict[str, float]
    own_tasks: "OwnTasks"  # on held-out recordings; on training tiles if none are held out
    tokens: int  # of the bundle, compared with those of the model on real tiles
    ties: int  # tokens that differ: both codes are equally near
    verdict: Verdict  # on the ids of held-out recordings; of training tiles if none are held out
    quantizer: str


def train(
    tiles_dir: Path,
    run_dir: Path,
    model: dict[str, Any],
    settings: dict[str, Any],
    reporter: "Reporter",
    *,
    resume: bool = False,
    limits: Limits = LIMITS,
) -> TrainSummary:
    """Train, and write RUN_DIR; `model` and `settings` hold what differs from the defaults.

    limits: what a step of training, and the tokenizer that comes of it, may cost.

    Raises UserError for settings that cannot be met or packages that are missing, and after Ctrl-C
    KeyboardInterrupt, whose text says how to resume the run.
    """
    require(*PACKAGES)
    refuse_strategy()
    store = TileStore(tiles_dir)
    if not len(store):
        raise UserError(f"{tiles_dir} has no tiles to train on: every recording was refused")
    plan = partial(
        plan_run, run_dir, tiles_dir, store, model, settings, resume=resume, limits=limits
    )
    wanted = plan().train  # all that can be refused is, before anything is written
    _refuse_silence(store, wanted)
    pairs = _read_pairs(store, wanted, reporter)
    again = f"ulmo-train {tiles_dir} {run_dir} --resume"
    with held_run(run_dir, again), told_if_lost(again):
        return _run(store, run_dir, plan(), reporter, pairs)


def _refuse_silence(store: TileStore, settings: TrainSettings) -> None:
    """Raise UserError if there is no sound to train on: now, not after hours."""
    split = split_by_recording(store, settings.validation_fraction, settings.seed)
    if has_sound(store, split.train):
        return
    if has_sound(store, split.validation):
        raise UserError(
            f"{store.folder}: all recordings with sound are held out, and the others are digital "
            "silence: set another --seed, or --validation-fraction 0"
        )
    raise UserError(
        f"{store.folder} holds digital silence only, and there is nothing to learn from it: "
        "prepare recordings with sound"
    )


def _read_pairs(store: TileStore, settings: TrainSettings, reporter: "Reporter") -> Pairs | None:
    """The pairs that the settings name; says which of their recordings have no tiles."""
    if settings.pairs is None:
        return None
    path = path_of(settings.pairs)
    pairs = read_pairs(path, store.recordings.tolist())
    if pairs.left_out:
        counted = f"{pairs.left_out} pairs in {path_text(path)} are left out"
        reporter.warn(f"{counted}: some recordings have no tiles, such as {plain(pairs.example)}")
    return pairs


def _run(
    store: TileStore,
    run_dir: Path,
    manifest: RunManifest,
    reporter: "Reporter",
    pairs: Pairs | None,
) -> TrainSummary:
    Hosts.here().lead(reporter.note)
    reporter.note("loading TensorFlow ...")
    with loading_tensorflow():
        from ulmo.pipelines.run_files import RunLog
        from ulmo.pipelines.train.trainer import Trainer
    settings = manifest.model, manifest.train
    trainer = Trainer(store, run_dir / "checkpoints", *settings, reporter, pairs)
    best_effort = trainer.best_effort
    _begin_run(run_dir, manifest, best_effort)
    trainer.begin()
    steps, epochs = int(trainer.state.step), int(trainer.state.epoch)
    objectives = manifest.train.objectives
    log = RunLog(run_dir, LogColumns.of(objectives), best_effort, steps=steps, epochs=epochs)
    with closing(log), catching_interrupts(trainer):
        end = trainer.run(log)
    if end == "interrupt":
        raise KeyboardInterrupt(f"interrupted and saved at step {int(trainer.state.step)}")
    validation = trainer.validate()
    reporter.note("checking the tokenizer, and learning which ids stand for each other ...")
    check = export(run_dir / "tokenizer", trainer, validation, manifest.versions)
    pictures: dict[str, Callable[[], bytes]] = {
        "reconstructions.png": trainer.picture,
        "losses.png": partial(draw_losses, run_dir / "losses.csv", run_dir / "epochs.csv"),
    }
    for name, draw in pictures.items():
        with best_effort(f"the picture {name}"):
            picture = draw()
            with publish(run_dir / "pictures" / name, below=run_dir) as file:
                file.write(picture)
    some = trainer.split.train[:_OWN_TILES]
    tasks = trainer.own_tasks or trainer.measure_tasks(some)
    verdict = trainer.verdict or trainer.measure(some).verdict()
    content = tasks.as_json(trainer.learner, trainer.feed.frontends)
    write_json(run_dir / "objectives.json", content)
    return TrainSummary(
        run_dir=run_dir,
        steps=int(trainer.state.step),
        epochs=int(trainer.state.epoch),
        end=end,
        minutes=float(trainer.state.seconds) / 60,
        tiles_per_second=trainer.tiles_per_second,
        validation=validation,
        objectives=manifest.train.objectives,
        own_tasks=tasks,
        tokens=check.tokens,
        ties=check.differing,
        verdict=verdict,
        quantizer=manifest.model.quantizer,
    )


def _begin_run(run_dir: Path, manifest: RunManifest, best_effort: BestEffort) -> None:
    """Write train.json, from when on the run can be resumed; remove half-written files."""
    refuse_links(run_dir, _PLACES)
    write_sealed(run_dir / RUN_MANIFEST, manifest)
    pictures = run_dir / "pictures"
    (run_dir / "checkpoints").mkdir(exist_ok=True)
    with best_effort("the folder of pictures"):
        pictures.mkdir(exist_ok=True)
    sync_folder(run_dir)
    for folder in (run_dir, pictures):
        with suppress(NotADirectoryError), open_folder(folder, below=run_dir) as opened:
            for name in filter(_is_half_written, opened.names()):
                opened.remove(name)


def _is_half_written(name: str) -> bool:
    return is_temporary(Path(name))
