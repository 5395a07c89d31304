"""ulmo-train: a folder of tiles becomes a run, and at its end a tokenizer.

tiles -> split by recording -> k-means start -> epochs of batches -> bundle and pictures
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ulmo.bundle.card import Card
from ulmo.config import UserError
from ulmo.evaluation.tally import Metrics
from ulmo.pipelines.run_manifest import RunManifest, begin_run, plan_run, tidy_run
from ulmo.pipelines.train.card import build_card
from ulmo.pipelines.train.export import Agreement, export
from ulmo.pipelines.train.loading import check_tensorflow, loading_tensorflow
from ulmo.pipelines.train.pictures import draw_losses
from ulmo.pipelines.train.reporter import End, Reporter
from ulmo.preprocessing.store import TileStore
from ulmo.storage.atomic import make_folder, publish
from ulmo.storage.lock import LOCK, locked
from ulmo.storage.sealed import write_json

if TYPE_CHECKING:
    from ulmo.pipelines.train.own_tasks import OwnTasks
    from ulmo.pipelines.train.trainer import Trainer


OWN_TILES = 256
"""Of training, that objectives are measured on where nothing is held out."""


class TrainSummary(NamedTuple):
    """What a run came to."""

    run_dir: Path
    steps: int
    epochs: int
    end: End
    tiles_per_second: float
    validation: Metrics | None
    objectives: dict[str, float]
    own_tasks: "OwnTasks"
    """On held-out recordings; where there are none, on some that were trained on."""
    agreement: Agreement


class RunInterrupt(KeyboardInterrupt):
    """The run was interrupted: its text says how to go on."""


def train(
    tiles_dir: Path,
    run_dir: Path,
    model: dict[str, Any],
    settings: dict[str, Any],
    reporter: Reporter,
    *,
    resume: bool = False,
) -> TrainSummary:
    """Train, and write RUN_DIR; `model` and `settings` hold what differs from the defaults.

    Raises UserError for settings that cannot be met, RunInterrupt after Ctrl-C.
    """
    check_tensorflow()
    store = TileStore(tiles_dir)
    if not len(store):
        raise UserError(f"{tiles_dir} has no tiles to train on: every recording was refused")
    plan = partial(plan_run, run_dir, tiles_dir, store, model, settings, resume=resume)
    plan()
    make_folder(run_dir, "choose another")
    try:
        with locked(run_dir / LOCK, run_dir):
            manifest = plan()
            return _run(store, run_dir, manifest, reporter)
    except KeyboardInterrupt as interrupt:
        saved = str(interrupt) or "interrupted"
        raise RunInterrupt(
            f"{saved}: go on with ulmo-train {tiles_dir} {run_dir} --resume"
        ) from None


def _run(
    store: TileStore, run_dir: Path, manifest: RunManifest, reporter: Reporter
) -> TrainSummary:
    reporter.note("loading TensorFlow ...")
    with loading_tensorflow():
        from ulmo.pipelines.train.own_tasks import described
        from ulmo.pipelines.train.run_log import RunLog
        from ulmo.pipelines.train.trainer import Trainer, use_threads
    use_threads(manifest.train.threads)
    trainer = Trainer(store, run_dir / "checkpoints", manifest.model, manifest.train, reporter)
    begin_run(run_dir, manifest)
    tidy_run(run_dir)
    trainer.begin()
    log = RunLog(
        run_dir,
        manifest.train.objectives,
        steps=int(trainer.state.step),
        epochs=int(trainer.state.epoch),
    )
    with _noticing_interrupt(trainer):
        end = trainer.run(log)
    log.close()
    if end == "interrupt":
        raise KeyboardInterrupt(f"interrupted and saved at step {int(trainer.state.step)}")
    validation = trainer.validate()
    agreement = _export(trainer, run_dir, build_card(trainer, validation, manifest.versions))
    _draw(trainer, run_dir)
    tasks = trainer.own_tasks or trainer.measure_tasks(trainer.split.train[:OWN_TILES])
    told = described(tasks, trainer.learner, trainer.feed.frontends)
    write_json(run_dir / "objectives.json", told)
    return TrainSummary(
        run_dir=run_dir,
        steps=int(trainer.state.step),
        epochs=int(trainer.state.epoch),
        end=end,
        tiles_per_second=_speed(trainer),
        validation=validation,
        objectives=manifest.train.objectives,
        own_tasks=tasks,
        agreement=agreement,
    )


@contextmanager
def _noticing_interrupt(trainer: "Trainer") -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the run after the batch at hand; a second Ctrl-C at once."""

    def notice(number: int, _: Any) -> None:
        trainer.interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before: dict[signal.Signals, Callable[..., Any] | int | None] = {}
    try:
        for name in (signal.SIGINT, signal.SIGTERM):
            before[name] = signal.signal(name, notice)
        yield
    except ValueError:  # not in the main thread: there are no signals to notice
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _export(trainer: "Trainer", run_dir: Path, card: Card) -> Agreement:
    rows = trainer.split.validation if len(trainer.split.validation) else trainer.split.train
    return export(
        run_dir / "tokenizer",
        trainer.forward(),
        trainer.weights(),
        trainer.model_settings,
        trainer.store,
        rows,
        trainer.split.train,
        card,
    )


def _draw(trainer: "Trainer", run_dir: Path) -> None:
    for name, picture in {
        "reconstructions.png": trainer.picture(),
        "losses.png": draw_losses(run_dir / "losses.csv", run_dir / "epochs.csv"),
    }.items():
        with publish(run_dir / "pictures" / name) as file:
            file.write(picture)


def _speed(trainer: "Trainer") -> float:
    seconds = float(trainer.state.seconds)
    steps = int(trainer.state.step)
    return steps * len(trainer.split.train) / trainer.steps_per_epoch / seconds if seconds else 0.0
