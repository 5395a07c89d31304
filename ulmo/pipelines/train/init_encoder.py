"""A run that starts from another one's encoder."""

from pathlib import Path

from ulmo.bundle.bundle import read_bundle
from ulmo.config import ModelSettings, PrepSettings, UserError
from ulmo.models.vqvae import VQVAE, set_weights_of, weights_of

SHAPING = (
    *("tile_size", "encoder_layers", "embedding_dim", "width"),
    *("frequency_stride", "time_stride", "latent_norm"),
)
"""Settings of the model that an encoder's weights fit, and no others."""
SHOWING = ("frontend", "sample_rate", "hop_length", "normalization")
"""Settings of the tiles of which an encoder has learned."""
ENCODER = "encoder."


def init_encoder(model: VQVAE, settings: ModelSettings, prep: PrepSettings, folder: Path) -> None:
    """Give a model the encoder of a run's bundle, or of a bundle; all else stays as it is.

    UserError where there is none, it is damaged, or its settings are others: those of the model,
    or of the tiles that it was made for.
    """
    inside = folder / "tokenizer"
    bundle = read_bundle(inside if inside.is_dir() else folder)
    pairs = ((bundle.manifest.model, settings, SHAPING), (bundle.manifest.prep, prep, SHOWING))
    if differing := [
        f"{name} {getattr(theirs, name)}, not {getattr(ours, name)}"
        for theirs, ours, names in pairs
        for name in names
        if getattr(theirs, name) != getattr(ours, name)
    ]:
        raise UserError(
            f"the encoder of {folder} does not fit ({'; '.join(differing)}): set the same, "
            "or choose another --init"
        )
    own, others = weights_of(model), bundle.weights()
    encoder = {name: others[name] for name in own if name.startswith(ENCODER)}
    set_weights_of(model, {**own, **encoder})
