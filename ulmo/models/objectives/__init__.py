"""Objectives: the tasks that train the encoder. One file and one line each."""

from ulmo.models.objectives.abx_choice import ABXChoice
from ulmo.models.objectives.base import Objective
from ulmo.models.objectives.byol import BYOL
from ulmo.models.objectives.denoise import Denoise
from ulmo.models.objectives.infill import Infill
from ulmo.models.objectives.next_frame import NextFrame
from ulmo.models.objectives.reconstruct import Reconstruct
from ulmo.models.objectives.simclr import SimCLR
from ulmo.models.objectives.wav2vec2 import Wav2Vec2

OBJECTIVES: dict[str, type[Objective]] = {
    "reconstruct": Reconstruct,
    "denoise": Denoise,
    "next_frame": NextFrame,
    "infill": Infill,
    "simclr": SimCLR,
    "byol": BYOL,
    "wav2vec2": Wav2Vec2,
    "abx_choice": ABXChoice,
}
