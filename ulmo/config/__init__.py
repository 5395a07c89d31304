"""Frozen, validated settings; TOML and JSON both ways.

Every command is ruled by some of the groups here. A group lies as JSON beside what was
made with it (prep.json, train.json, tokenizer.json), so that nothing has to be typed twice.
"""

from ulmo.config.base import Settings
from ulmo.config.errors import JobError, NewerError, UserError, one_line, plain, printable
from ulmo.config.extras import EXTRAS, not_installed
from ulmo.config.model import USERS, ModelSettings
from ulmo.config.network import NORM_EPSILON, SPHERE_EPSILON, Convolution
from ulmo.config.objectives import (
    AUTOENCODED,
    OBJECTIVE_NAMES,
    OWN,
    SPREAD,
    loss_names,
    parse_objectives,
)
from ulmo.config.prep import AugmentSettings, ClockSettings, PrepSettings, TileSize
from ulmo.config.strides import spread_factors, spread_stride, stage_names
from ulmo.config.toml import Config, read_most, read_toml, to_toml
from ulmo.config.train import TrainSettings

__all__ = [
    "AUTOENCODED",
    "EXTRAS",
    "NORM_EPSILON",
    "OBJECTIVE_NAMES",
    "OWN",
    "SPHERE_EPSILON",
    "SPREAD",
    "USERS",
    "AugmentSettings",
    "ClockSettings",
    "Config",
    "Convolution",
    "JobError",
    "ModelSettings",
    "NewerError",
    "PrepSettings",
    "Settings",
    "TileSize",
    "TrainSettings",
    "UserError",
    "loss_names",
    "not_installed",
    "one_line",
    "parse_objectives",
    "plain",
    "printable",
    "read_most",
    "read_toml",
    "spread_factors",
    "spread_stride",
    "stage_names",
    "to_toml",
]
