"""A run that starts from another one's encoder."""

from pathlib import Path

from ulmo.bundle import read_bundle
from ulmo.config import ModelSettings, UserError
from ulmo.models.vqvae import VQVAE, set_weights_of, weights_of

SHAPING = (
    *("tile_size", "encoder_layers", "embedding_dim", "width"),
    *("frequency_stride", "time_stride", "latent_norm"),
)
"""Settings of the model that an encoder's weights fit, and no others."""
ENCODER = "encoder."


def init_encoder(model: VQVAE, settings: ModelSettings, folder: Path) -> None:
    """Give a model the encoder of a run's bundle, or of a bundle; all else stays as it is.

    UserError where there is none, it is damaged, or its settings are others.
    """
    inside = folder / "tokenizer"
    bundle = read_bundle(inside if inside.is_dir() else folder)
    theirs = bundle.manifest.model
    if differing := [
        f"{name} {getattr(theirs, name)}, not {getattr(settings, name)}"
        for name in SHAPING
        if getattr(theirs, name) != getattr(settings, name)
    ]:
        raise UserError(
            f"the encoder of {folder} does not fit ({'; '.join(differing)}): set the same, "
            "or choose another --init"
        )
    own, others = weights_of(model), bundle.weights()
    encoder = {name: others[name] for name in own if name.startswith(ENCODER)}
    set_weights_of(model, {**own, **encoder})
