"""Objectives: what the encoder learns from; one file each."""

from ulmo.models.objectives.abx_choice import ABXChoice
from ulmo.models.objectives.byol import BYOL
from ulmo.models.objectives.denoise import Denoise
from ulmo.models.objectives.reconstruct import Reconstruct
from ulmo.models.objectives.simclr import SimCLR

OBJECTIVES = {
    "reconstruct": Reconstruct,
    "denoise": Denoise,
    "simclr": SimCLR,
    "byol": BYOL,
    "abx_choice": ABXChoice,
}
