"""train.json: what a run is made with, and who may go on with it."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ulmo.bundle.weights import check_size
from ulmo.config import QUANTIZER_TRAITS, ModelSettings, Settings, TrainSettings, UserError
from ulmo.preprocessing.store import TileStore
from ulmo.storage.atomic import is_temporary, sync_folder
from ulmo.storage.lock import LOCK
from ulmo.storage.sealed import read_json, write_sealed

MAY_CHANGE = frozenset({"epochs", "max_minutes", "patience", "checkpoint_minutes"})
"""Settings that a resumed run may be given anew: they rule its end, and by how far
that is the learning rate and the end of revival."""

RUN_MANIFEST = "train.json"
AGAIN = "train again, into a new folder"
FOLDERS = ("checkpoints", "pictures", "tensorboard")


class RunManifest(Settings):
    """train.json."""

    schema_version: Literal[2] = 2
    """1 had other names of objectives, and none that needed more than its own tiles."""
    model: ModelSettings
    train: TrainSettings
    tiles: str
    """Folder of the tiles."""
    tiles_fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    beside_fingerprints: tuple[str, ...] = ()
    """Of the tiles in `train.beside`, in their order."""
    versions: dict[str, str]


def read_run(run_dir: Path) -> RunManifest:
    """train.json of a run, strictly checked."""
    path = run_dir / RUN_MANIFEST
    if not path.is_file():
        raise UserError(f"{run_dir} holds no run: make one with ulmo-train TILES_DIR {run_dir}")
    return read_json(
        path, RunManifest, newest=2, oldest=2, remedy=AGAIN, outdated=AGAIN, sealed=True
    )


def plan_run(
    run_dir: Path,
    tiles_dir: Path,
    store: TileStore,
    model: dict[str, Any],
    settings: dict[str, Any],
    *,
    resume: bool,
) -> RunManifest:
    """The settings of a new run, or those of the run that is to go on; nothing is touched."""
    if resume:
        manifest = _resumed(read_run(run_dir), model, settings)
        if manifest.tiles_fingerprint != store.manifest.fingerprint:
            raise UserError(f"{run_dir} was trained on other tiles than those of {tiles_dir}")
        if manifest.beside_fingerprints != _fingerprints(manifest.train):
            raise UserError(f"{run_dir} was trained beside other tiles: prepare them as they were")
        return manifest
    if run_dir.exists() and not _is_free(run_dir):
        raise UserError(f"{run_dir} exists: go on with --resume, or choose a new folder")
    wanted = ModelSettings.read({"tile_size": store.tile_size, **model})
    if wanted.tile_size != store.tile_size:
        raise UserError(
            f"{tiles_dir} holds tiles of {store.tile_size}, not tile_size {wanted.tile_size}: "
            f"leave it out, or prepare with -M {wanted.tile_size}"
        )
    _check_size(wanted)
    wished = _resolved(TrainSettings.read(settings))
    _check_codebook(wanted, wished)
    return RunManifest(
        model=wanted,
        train=wished,
        tiles=str(tiles_dir.resolve()),
        tiles_fingerprint=store.manifest.fingerprint or "",
        beside_fingerprints=_fingerprints(wished),
        versions={name: version(name) for name in ("ulmo", "tensorflow", "keras", "numpy")},
    )


def begin_run(run_dir: Path, manifest: RunManifest) -> None:
    """Write the settings down: from now on the run is there, to be gone on with."""
    write_sealed(run_dir / RUN_MANIFEST, manifest)
    for name in FOLDERS:
        (run_dir / name).mkdir(exist_ok=True)
    sync_folder(run_dir)


def tidy_run(run_dir: Path) -> None:
    """Remove what a killed run left half written."""
    for folder in (run_dir, run_dir / "pictures"):
        for path in folder.iterdir():
            if is_temporary(path):
                path.unlink()


def _resolved(settings: TrainSettings) -> TrainSettings:
    """Settings whose folders are found from anywhere, as that of the tiles is."""
    beside = tuple(str(Path(folder).resolve()) for folder in settings.beside)
    init = settings.init and str(Path(settings.init).resolve())
    return settings.model_copy(update={"beside": beside, "init": init})


def _check_codebook(model: ModelSettings, settings: TrainSettings) -> None:
    """Refuse a quantizer that the objectives cannot teach, or fit to their latents."""
    codebook = QUANTIZER_TRAITS[model.quantizer].codebook
    if codebook == "fixed" and not any(one.teaches_decoder for one in settings.traits):
        raise UserError(
            f"{model.quantizer} has no codebook that could be fitted to latents: add reconstruct "
            "to the objective, or choose another quantizer"
        )
    for name, one in zip(settings.objectives, settings.traits, strict=True):
        if codebook != "learned" and one.teaches_codebook and not one.teaches_decoder:
            learned = [each for each, one in QUANTIZER_TRAITS.items() if one.codebook == "learned"]
            raise UserError(
                f"{name} trains the codebook in each step, and that of {model.quantizer} does not "
                f"learn so: set quantizer to {' or '.join(learned)}"
            )


def _fingerprints(settings: TrainSettings) -> tuple[str, ...]:
    """Of the tiles that are learned from beside those of TILES_DIR."""
    stores = (TileStore(Path(folder)) for folder in settings.beside)
    return tuple(store.manifest.fingerprint or "" for store in stores)


def _is_free(run_dir: Path) -> bool:
    """True of an empty folder; what is left of a run that had not begun does not count."""
    return run_dir.is_dir() and all(
        is_temporary(path) or path.name == LOCK for path in run_dir.iterdir()
    )


def _check_size(model: ModelSettings) -> None:
    """Now, and not after hours of training: no bundle may ask for so much."""
    try:
        check_size(model)
    except ValueError as error:
        raise UserError(str(error)) from None


def _resumed(manifest: RunManifest, model: dict[str, Any], settings: dict[str, Any]) -> RunManifest:
    """The run's own settings, its end as newly wished; others must not differ."""
    wished_model = ModelSettings.read({**manifest.model.model_dump(), **model})
    wished = _resolved(TrainSettings.read({**manifest.train.model_dump(), **settings}))
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
