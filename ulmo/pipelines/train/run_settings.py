"""The settings of a new run, or of a run that is resumed."""

from hashlib import file_digest
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ulmo.bundle.bundle import TOKENIZER_FOLDER
from ulmo.bundle.cost import check_tokenizer
from ulmo.bundle.weights import check_size
from ulmo.config import (
    LIMITS,
    QUANTIZER_TRAITS,
    Limits,
    ModelSettings,
    TrainSettings,
    UserError,
    training_cost,
)
from ulmo.preprocessing.store import TileStore
from ulmo.storage.differences import differences
from ulmo.storage.lock import is_free
from ulmo.storage.names import path_of, path_text, portable
from ulmo.storage.run_manifest import RunManifest, read_run

# Settings that may change when a run is resumed. They decide when it ends, and the learning rate
# and the end of revival follow from that; or, as `devices`, they change rounding alone.
_MAY_CHANGE = frozenset({"epochs", "max_minutes", "patience", "checkpoint_minutes", "devices"})


def plan_run(
    run_dir: Path,
    tiles_dir: Path,
    store: TileStore,
    model: dict[str, Any],
    settings: dict[str, Any],
    *,
    resume: bool,
    limits: Limits = LIMITS,
) -> RunManifest:
    """The settings of a new run, or of the one to resume. Writes nothing.

    `model` and `settings` hold only what differs from the defaults, or from the run's own values.
    Raises UserError for settings that do not fit each other, the tiles, the run or the limits.
    """
    if resume:
        manifest = _resumed(read_run(run_dir), model, settings)
        # Now, not when it is written at the end.
        TOKENIZER_FOLDER.refuse_foreign(run_dir / "tokenizer")
        if manifest.tiles_fingerprint != store.manifest.fingerprint:
            changed = differences(
                {**manifest.tiles_contents, "fingerprint": manifest.tiles_fingerprint},
                {**store.manifest.contents(), "fingerprint": store.manifest.fingerprint},
            )
            raise UserError(
                f"{run_dir} was trained on other tiles than those of {tiles_dir} ({changed}): "
                "prepare them as they were, or begin a new run"
            )
        if manifest.beside_fingerprints != _fingerprints(manifest.train):
            raise UserError(
                f"the --beside tiles of {run_dir} have changed: prepare them as they were"
            )
        if manifest.pairs_hash != _pairs_hash(manifest.train):
            raise UserError(
                f"{path_text(path_of(manifest.train.pairs or ''))} has changed: put the file back "
                "as it was, or begin a new run"
            )
        _check_cost(manifest.model, manifest.train, store, limits)
        return manifest
    if run_dir.exists() and not is_free(run_dir):
        raise UserError(f"{run_dir} exists: go on with --resume, or choose a new folder")
    new_model = ModelSettings.read({"tile_size": store.tile_size, **model})
    if new_model.tile_size != store.tile_size:
        raise UserError(
            f"{tiles_dir} holds tiles of {store.tile_size}, not tile_size {new_model.tile_size}: "
            f"leave tile_size out, or prepare the tiles with -M {new_model.tile_size}"
        )
    new = _with_full_paths(TrainSettings.read(settings))
    _check_cost(new_model, new, store, limits)
    _check_codebook(new_model, new)
    return RunManifest(
        model=new_model,
        train=new,
        tiles=portable(tiles_dir.resolve()),
        tiles_fingerprint=store.manifest.fingerprint or "",
        tiles_contents=store.manifest.contents(),
        beside_fingerprints=_fingerprints(new),
        pairs_hash=_pairs_hash(new),
        versions={name: version(name) for name in ("ulmo", "tensorflow", "keras", "numpy")},
    )


def _check_cost(
    model: ModelSettings, settings: TrainSettings, store: TileStore, limits: Limits
) -> None:
    """Refuse a step of training, or a tokenizer, that is too large: now, not after hours."""
    try:
        check_size(model)
    except ValueError as error:
        raise UserError(str(error)) from None
    cost = training_cost(model, batch=settings.batch_size, columns=settings.columns_of(model))
    cost.check(limits, "set a smaller batch_size or width, or larger strides")
    check_tokenizer(store.manifest.settings, model, limits)


def _with_full_paths(settings: TrainSettings) -> TrainSettings:
    """Settings whose folders can be found from any working folder."""
    beside = tuple(portable(path_of(folder).resolve()) for folder in settings.beside)
    init, pairs = (
        path and portable(path_of(path).resolve()) for path in (settings.init, settings.pairs)
    )
    return settings.model_copy(update={"beside": beside, "init": init, "pairs": pairs})


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
    """Fingerprints of the tiles in `beside`."""
    stores = (TileStore(path_of(folder)) for folder in settings.beside)
    return tuple(store.manifest.fingerprint or "" for store in stores)


def _pairs_hash(settings: TrainSettings) -> str | None:
    """SHA-256 of the file of pairs; None without one."""
    if settings.pairs is None:
        return None
    path = path_of(settings.pairs)
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        why = f"{path_text(path)} cannot be read ({error.strerror})"
        raise UserError(f"{why}: name the pairs with --pairs FILE") from None


def _resumed(manifest: RunManifest, model: dict[str, Any], settings: dict[str, Any]) -> RunManifest:
    """The run's own settings, with a new end if one is given; no other setting may differ."""
    own_model, own = manifest.model.model_dump(), manifest.train.model_dump()
    wished_model = ModelSettings.read({**own_model, **model})
    wished = _with_full_paths(TrainSettings.read({**own, **settings}))
    there, here = own_model | own, wished_model.model_dump() | wished.model_dump()
    if differing := differences(there, here, may_differ=_MAY_CHANGE):
        raise UserError(
            f"a resumed run keeps its settings ({differing}): leave them out, or start a new run"
        )
    return manifest.model_copy(update={"train": wished})
