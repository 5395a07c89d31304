"""ulmo-train: a folder of tiles becomes a run, and at its end a tokenizer.

tiles -> split by recording -> k-means start -> epochs of batches -> bundle and pictures
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from ulmo.config import ModelSettings, TrainSettings, UserError
from ulmo.evaluation.tally import Metrics
from ulmo.pipelines.export import Agreement, export
from ulmo.pipelines.pictures import draw_losses
from ulmo.pipelines.run import RunManifest, read_run
from ulmo.pipelines.runlog import RunLog
from ulmo.pipelines.trainer import End, Reporter, Trainer
from ulmo.preprocessing.atomic import publish
from ulmo.preprocessing.store import TileStore, write_json

CHECK_TILES = 64
"""Tiles on which the bundle is compared with the model."""
MAY_CHANGE = frozenset({"epochs", "max_minutes", "patience", "checkpoint_minutes"})
"""Settings that a resumed run may be given anew: they rule its end, not its way."""


class TrainSummary(NamedTuple):
    """What a run came to."""

    run_dir: Path
    steps: int
    epochs: int
    end: End
    tiles_per_second: float
    validation: Metrics | None
    agreement: Agreement


class RunInterrupt(KeyboardInterrupt):
    """The run was interrupted, and saved: its text says how to go on."""


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
    store = TileStore(tiles_dir)
    manifest = _claim(run_dir, tiles_dir, store, model, settings, resume=resume)
    _use_threads(manifest.train.threads)
    trainer = Trainer(store, run_dir / "checkpoints", manifest.model, manifest.train, reporter)
    if not len(trainer.split.train):
        raise UserError(f"{tiles_dir} leaves no tiles to train on: set validation_fraction to 0")
    trainer.begin()
    first = int(trainer.state.step)
    log = RunLog(run_dir, last_step=first)
    with _noticing_interrupt(trainer):
        end = trainer.run(log)
    log.close()
    if end == "interrupt":
        raise RunInterrupt(
            f"interrupted and saved at step {int(trainer.state.step)}: "
            f"go on with ulmo-train {tiles_dir} {run_dir} --resume"
        )
    agreement = _export(trainer, run_dir)
    _draw(trainer, run_dir)
    return TrainSummary(
        run_dir=run_dir,
        steps=int(trainer.state.step),
        epochs=int(trainer.state.epoch),
        end=end,
        tiles_per_second=_speed(trainer),
        validation=trainer.validate(),
        agreement=agreement,
    )


def _claim(
    run_dir: Path,
    tiles_dir: Path,
    store: TileStore,
    model: dict[str, Any],
    settings: dict[str, Any],
    *,
    resume: bool,
) -> RunManifest:
    """The settings of a new run, written down; or those of the run that is to go on."""
    if resume:
        manifest = _resumed(read_run(run_dir), model, settings)
        if manifest.tiles_fingerprint != store.manifest.fingerprint:
            raise UserError(f"{run_dir} was trained on other tiles than those of {tiles_dir}")
    elif run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise UserError(f"{run_dir} exists: go on with --resume, or choose a new folder")
    else:
        wanted = ModelSettings.read({"tile_size": store.tile_size, **model})
        if wanted.tile_size != store.tile_size:
            raise UserError(
                f"{tiles_dir} holds tiles of {store.tile_size}, not tile_size {wanted.tile_size}: "
                f"leave it out, or prepare with -M {wanted.tile_size}"
            )
        manifest = RunManifest(
            model=wanted,
            train=TrainSettings.read(settings),
            tiles=str(tiles_dir.resolve()),
            tiles_fingerprint=store.manifest.fingerprint or "",
            versions={name: version(name) for name in ("ulmo", "tensorflow", "keras", "numpy")},
        )
    for folder in ("checkpoints", "pictures", "tensorboard"):
        (run_dir / folder).mkdir(parents=True, exist_ok=True)
    write_json(run_dir / "train.json", manifest.model_dump(mode="json"))
    return manifest


def _resumed(manifest: RunManifest, model: dict[str, Any], settings: dict[str, Any]) -> RunManifest:
    """The run's own settings, its end as newly wished; others must not differ."""
    wished_model = ModelSettings.read({**manifest.model.model_dump(), **model})
    wished = TrainSettings.read({**manifest.train.model_dump(), **settings})
    differing = [name for name, value in wished_model if value != getattr(manifest.model, name)]
    differing += [
        name
        for name, value in wished
        if name not in MAY_CHANGE and value != getattr(manifest.train, name)
    ]
    if differing:
        raise UserError(
            f"a resumed run keeps its settings: leave out {', '.join(differing)}, "
            "or start a new run"
        )
    return manifest.model_copy(update={"train": wished})


def _use_threads(threads: int) -> None:
    """Set TensorFlow's threads; with one, every operation is deterministic too."""
    if threads == 0:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        if tf.config.threading.get_intra_op_parallelism_threads() != threads:
            raise UserError("TensorFlow is running already: its threads cannot change") from None
    if threads == 1:
        tf.config.experimental.enable_op_determinism()


@contextmanager
def _noticing_interrupt(trainer: Trainer) -> Iterator[None]:
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


def _export(trainer: Trainer, run_dir: Path) -> Agreement:
    rows = trainer.split.validation if len(trainer.split.validation) else trainer.split.train
    store = trainer.store
    card = {
        "trained on": f"{len(set(store.recordings))} recordings, {len(store)} tiles",
        "tiles fingerprint": store.manifest.fingerprint or "",
        "steps": str(int(trainer.state.step)),
        "seed": str(trainer.settings.seed),
    }
    return export(
        run_dir / "tokenizer",
        trainer.forward(),
        trainer.weights(),
        trainer.model_settings,
        store,
        rows[:CHECK_TILES],
        card,
    )


def _draw(trainer: Trainer, run_dir: Path) -> None:
    for name, picture in {
        "reconstructions.png": trainer.picture(),
        "losses.png": draw_losses(run_dir / "losses.csv", run_dir / "epochs.csv"),
    }.items():
        with publish(run_dir / "pictures" / name) as file:
            file.write(picture)


def _speed(trainer: Trainer) -> float:
    seconds = float(trainer.state.seconds)
    steps = int(trainer.state.step)
    return steps * len(trainer.split.train) / trainer.steps_per_epoch / seconds if seconds else 0.0
