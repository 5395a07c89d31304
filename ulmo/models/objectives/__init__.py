"""Objectives: what the encoder learns from; one file each."""

from ulmo.models.objectives.denoise import Denoise
from ulmo.models.objectives.reconstruct import Reconstruct

OBJECTIVES = {
    "reconstruct": Reconstruct,
    "denoise": Denoise,
}
