"""Frozen, validated settings; TOML and JSON both ways.

Each command takes some of the groups here. A group is stored as JSON beside the output made with
it (prep.json, train.json, tokenizer.json), so nothing has to be typed twice.
"""

from ulmo.config.base import Settings, help_texts
from ulmo.config.cost import (
    LIMITS,
    NO_LIMITS,
    Cost,
    Limits,
    decoder_cost,
    encoder_cost,
    training_cost,
)
from ulmo.config.errors import (
    JobError,
    NewerError,
    UserError,
    WholeFileError,
    one_line,
    plain,
    printable,
    whole_letters,
)
from ulmo.config.extras import EXTRAS, not_installed, require
from ulmo.config.formats import FORMAT_TRAITS, FormatTraits
from ulmo.config.model import QUANTIZER_TRAITS, ModelSettings, QuantizerTraits
from ulmo.config.network import NORM_EPSILON, SPHERE_EPSILON, Convolution
from ulmo.config.objectives import (
    AUTOENCODED,
    OBJECTIVE_TRAITS,
    OWN,
    SPREAD,
    ObjectiveTraits,
    loss_names,
    parse_objectives,
)
from ulmo.config.prep import (
    HIGHEST_RATE,
    AugmentSettings,
    ClockSettings,
    FullScale,
    PrepSettings,
    TileSize,
    TimeExpansion,
)
from ulmo.config.strides import stage_names
from ulmo.config.toml import Config, read_toml, to_toml
from ulmo.config.train import MOST_BESIDE, TrainSettings

__all__ = [
    "AUTOENCODED",
    "EXTRAS",
    "FORMAT_TRAITS",
    "HIGHEST_RATE",
    "LIMITS",
    "MOST_BESIDE",
    "NORM_EPSILON",
    "NO_LIMITS",
    "OBJECTIVE_TRAITS",
    "OWN",
    "QUANTIZER_TRAITS",
    "SPHERE_EPSILON",
    "SPREAD",
    "AugmentSettings",
    "ClockSettings",
    "Config",
    "Convolution",
    "Cost",
    "FormatTraits",
    "FullScale",
    "JobError",
    "Limits",
    "ModelSettings",
    "NewerError",
    "ObjectiveTraits",
    "PrepSettings",
    "QuantizerTraits",
    "Settings",
    "TileSize",
    "TimeExpansion",
    "TrainSettings",
    "UserError",
    "WholeFileError",
    "decoder_cost",
    "encoder_cost",
    "help_texts",
    "loss_names",
    "not_installed",
    "one_line",
    "parse_objectives",
    "plain",
    "printable",
    "read_toml",
    "require",
    "stage_names",
    "to_toml",
    "training_cost",
    "whole_letters",
]
