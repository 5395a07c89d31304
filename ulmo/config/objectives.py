"""What the encoder learns from: names of objectives, and their weights."""

import math
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator

from ulmo.config.errors import clipped

OBJECTIVE_NAMES = (
    *("reconstruct", "denoise", "next_frame", "infill"),
    *("simclr", "byol", "wav2vec2", "abx_choice"),
)
AUTOENCODED = ("reconstruction", "commitment", "codebook", "perplexity", "usage")
"""What encoder, quantizer and decoder come to, whether they learn from it or follow."""
SPREAD = ("latent_variance", "pair_similarity")
"""How far apart latents are: what tells a collapse."""
OWN = ("loss", "score", "chance")
"""Of every objective."""
FORMER_NAMES = {"reconstruction": "reconstruct", "denoising": "denoise"}
MOST_WEIGHT = 1e6


def parse_objectives(text: str) -> dict[str, float]:
    """Weights by name, of `simclr`, or of `reconstruct=1,next_frame=0.5`; ValueError for others.

    >>> parse_objectives("reconstruct,next_frame=0.5")
    {'reconstruct': 1.0, 'next_frame': 0.5}
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        if name in FORMER_NAMES:
            raise ValueError(f"{name} is now called {FORMER_NAMES[name]}")
        if name not in OBJECTIVE_NAMES:
            raise ValueError(f"there is no objective {name[:40]!r}: {', '.join(OBJECTIVE_NAMES)}")
        if name in weights:
            raise ValueError(f"{name} is named twice")
        weights[name] = _weight(name, number)
    return weights


def _weight(name: str, number: str) -> float:
    try:
        weight = float(number) if number else 1.0
    except ValueError:
        weight = math.nan
    if not 0 < weight <= MOST_WEIGHT:
        raise ValueError(
            f"{name}={number[:40]} is no weight: it must be over 0, to {MOST_WEIGHT:g}"
        )
    return weight


def _canonical(value: Any) -> Any:
    """The text in the one way that a manifest has it; what is no text is left to the type."""
    if not isinstance(value, str):
        return value
    try:
        weights = parse_objectives(value)
    except ValueError as error:
        raise ValueError(f"objective = {clipped(value)}: {error}") from None
    if list(weights.values()) == [1.0]:
        return next(iter(weights))
    return ",".join(f"{name}={repr(weight).removesuffix('.0')}" for name, weight in weights.items())


Objectives = Annotated[str, BeforeValidator(_canonical)]
"""NAME, or NAME=WEIGHT,NAME=WEIGHT; of one objective alone the weight may be left out."""


def loss_names(objectives: Iterable[str]) -> tuple[str, ...]:
    """What a step of training tells, in order."""
    own = (f"{name}_{part}" for name in objectives for part in OWN)
    return ("total", *AUTOENCODED, *SPREAD, *own)
