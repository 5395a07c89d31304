"""What the encoder learns from: the names of objectives, what they need, and their weights."""

import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator

from ulmo.config.errors import clipped


class ObjectiveTraits(NamedTuple):
    """What settings, `--help` and pages need to know of an objective without loading Keras.

    Its class, in `ulmo.models.objectives`, has them as `traits`.
    """

    words: str  # what the encoder learns, for --help
    wants: Literal["tiles", "views", "frontends"] = "tiles"  # what a batch holds beside the tiles
    teaches_codebook: bool = False  # whether it trains the model's quantizer
    teaches_decoder: bool = False  # whether it trains the model's decoder


# Figures of encoder, quantizer and decoder, whether these learn from the objective or follow.
OBJECTIVE_TRAITS = {
    "reconstruct": ObjectiveTraits(
        "restores the tile", teaches_codebook=True, teaches_decoder=True
    ),
    "denoise": ObjectiveTraits(
        "restores a tile from noise and masks", teaches_codebook=True, teaches_decoder=True
    ),
    "next_frame": ObjectiveTraits("predicts the frames that follow"),
    "infill": ObjectiveTraits("predicts masked frames and bins"),
    "simclr": ObjectiveTraits("finds a moment again in another view", "views"),
    "byol": ObjectiveTraits("predicts the latents of another view", "views"),
    "wav2vec2": ObjectiveTraits("picks the codes of masked latents", teaches_codebook=True),
    "abx_choice": ObjectiveTraits("finds a moment again in another front end", "frontends"),
}
AUTOENCODED = ("reconstruction", "commitment", "codebook", "perplexity", "usage")
SPREAD = ("latent_variance", "pair_similarity")  # how far apart latents are: both reveal a collapse
OWN = ("loss", "score", "chance")  # figures of each objective
_FORMER_NAMES = {"reconstruction": "reconstruct", "denoising": "denoise"}
_MOST_WEIGHT = 1e6


def parse_objectives(text: str) -> dict[str, float]:
    """Weights by name, of `simclr` or of `reconstruct=1,next_frame=0.5`; ValueError for other text.

    >>> parse_objectives("reconstruct,next_frame=0.5")
    {'reconstruct': 1.0, 'next_frame': 0.5}
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        if name in _FORMER_NAMES:
            raise ValueError(f"{name} is now called {_FORMER_NAMES[name]}")
        if name not in OBJECTIVE_TRAITS:
            names = ", ".join(OBJECTIVE_TRAITS)
            raise ValueError(f"no objective {name[:40]!r}: choose from {names}")
        if name in weights:
            raise ValueError(f"{name} is named twice")
        weights[name] = _weight(name, number)
    return weights


def _weight(name: str, number: str) -> float:
    try:
        weight = float(number) if number else 1.0
    except ValueError:
        weight = math.nan
    if not 0 < weight <= _MOST_WEIGHT:
        raise ValueError(
            f"{name}={number[:40]} is not a weight: set one above 0, at most {_MOST_WEIGHT:g}"
        )
    return weight


def _canonical(value: Any) -> Any:
    """Write a text in the one form that manifests use; leave other values to the type check."""
    if not isinstance(value, str):
        return value
    try:
        weights = parse_objectives(value)
    except ValueError as error:
        raise ValueError(f"objective = {clipped(value)}: {error}") from None
    if list(weights.values()) == [1.0]:
        return next(iter(weights))
    return ",".join(f"{name}={repr(weight).removesuffix('.0')}" for name, weight in weights.items())


# NAME, or NAME=WEIGHT,NAME=WEIGHT; a single objective needs no weight
Objectives = Annotated[str, BeforeValidator(_canonical)]


def loss_names(objectives: Iterable[str]) -> tuple[str, ...]:
    """Names of the figures of a training step, in order."""
    own = (f"{name}_{part}" for name in objectives for part in OWN)
    return ("total", *AUTOENCODED, *SPREAD, *own)
