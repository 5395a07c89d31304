"""Objectives: what the encoder is shown, and the decoder is to give back; one file each."""

from ulmo.models.objectives.denoising import Denoising
from ulmo.models.objectives.reconstruction import Reconstruction

OBJECTIVES = {"reconstruction": Reconstruction, "denoising": Denoising}
