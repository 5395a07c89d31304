"""The model of a run, its objectives and its optimizer, built from the run's settings."""

from pathlib import Path
from typing import Any
from zlib import crc32

import keras
import numpy as np

from ulmo.bundle.bundle import read_bundle
from ulmo.config import NO_LIMITS, ModelSettings, PrepSettings, TrainSettings, UserError
from ulmo.models.learner import Learner
from ulmo.models.objectives import OBJECTIVES
from ulmo.models.vqvae import VQVAE, build_vqvae, set_weights_of, weights_of
from ulmo.pipelines.hosts import use_devices
from ulmo.pipelines.loading import use_threads
from ulmo.storage.differences import differences
from ulmo.storage.names import path_of

# Settings that an encoder's weights depend on: of the model, and of the tiles.
_MODEL_SETTINGS = (
    *("tile_size", "encoder_layers", "embedding_dim", "width"),
    *("frequency_stride", "time_stride", "latent_norm"),
)
_PREP_SETTINGS = ("frontend", "sample_rate", "hop_length", "normalization")


def build_learner(
    model_settings: ModelSettings, settings: TrainSettings, prep: PrepSettings, *, init: bool
) -> Learner:
    """The model, its objectives and its optimizer; with `init`, `settings.init` is applied.

    TensorFlow gets the `settings.threads` and `settings.devices`: UserError if it runs already with
    another number, or if there are fewer GPUs.
    """
    if settings.threads:
        use_threads(settings.threads)
    devices = use_devices(settings.devices)
    policy = "mixed_bfloat16" if settings.mixed_precision else "float32"
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = build_vqvae(model_settings, settings.seed, devices)
        if init and settings.init is not None:
            _init_encoder(model, model_settings, prep, path_of(settings.init))
        objectives = {
            name: (OBJECTIVES[name](model_settings, _seed(settings.seed, name)), weight)
            for name, weight in settings.objectives.items()
        }
        for name, (objective, _) in objectives.items():
            objective.check(name, settings.columns_of(model_settings))
        learner = Learner(model, objectives)
    finally:
        keras.config.set_dtype_policy(before)
    learner.compile(optimizer=keras.optimizers.Adam(settings.learning_rate))
    learner.optimizer.build(learner.trainable_variables)
    return learner


def _init_encoder(model: VQVAE, settings: ModelSettings, prep: PrepSettings, folder: Path) -> None:
    """Copy the encoder's weights from a run or a bundle into a model; all else stays as it is.

    Raises UserError if `folder` holds no bundle or a damaged one, or if the settings of its model
    or of its tiles do not fit.
    """
    inside = folder / "tokenizer"
    bundle = read_bundle(inside if inside.is_dir() else folder, NO_LIMITS)
    theirs = _encoder_settings(bundle.manifest.model, bundle.manifest.prep)
    if differing := differences(theirs, _encoder_settings(settings, prep)):
        raise UserError(
            f"the encoder of {folder} does not fit ({differing}): use the same "
            "settings, or choose another --init"
        )
    own, others = weights_of(model), bundle.weights()
    encoder = {name: others[name] for name in own if name.startswith("encoder.")}
    set_weights_of(model, {**own, **encoder})


def _encoder_settings(model: ModelSettings, prep: PrepSettings) -> dict[str, Any]:
    """The settings that must agree for the weights of an encoder to fit."""
    model_settings = {name: getattr(model, name) for name in _MODEL_SETTINGS}
    return model_settings | {name: getattr(prep, name) for name in _PREP_SETTINGS}


def _seed(seed: int, name: str) -> int:
    """The seed of an objective: each objective draws differently."""
    words = [seed, crc32(name.encode())]
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)
