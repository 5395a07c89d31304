"""How the model is trained."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from ulmo.config.base import Settings
from ulmo.config.objectives import Objectives, parse_objectives

Folder = Annotated[str, Field(min_length=1, max_length=4096)]


class TrainSettings(Settings):
    """How the model is trained."""

    batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    """Tiles a step."""
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """Passes over the training tiles, at most."""
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    """Stop cleanly after so much time in training steps, whatever the epoch."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Of Adam, at the beginning."""
    final_learning_rate: Annotated[float, Field(ge=0, le=1)] = 5e-5
    """The same at the end: it falls along half a cosine (Loshchilov and Hutter 2017)."""
    objective: Objectives = "reconstruct"
    """What the encoder learns from: NAME, or several as reconstruct=1,simclr=0.5."""
    init: Folder | None = None
    """RUN_DIR of a run, or a bundle, whose encoder this one starts from."""
    beside: tuple[Folder, ...] = Field(default=(), max_length=16)
    """Of `abx_choice`: TILES_DIR of the same recordings through another front end."""
    silence_weight: Annotated[float, Field(ge=0, le=1)] = 0.1
    """How much a silent token counts in the codebook. 0.1: silence is most of a field recording."""
    validation_fraction: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    """Share of the recordings (never of the tiles) held out."""
    patience: Annotated[int, Field(ge=1)] = 5
    """Epochs without a better held-out reconstruction before training stops, if it learns by that
    alone; else it goes on to its end."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0
    """A checkpoint is written at each epoch's end, and inside an epoch after so long."""
    mixed_precision: bool = False
    """Compute in bfloat16, keep weights and codebook in float32."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Rules the split, the order, the first weights and the revived codes."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """0: as many as there are cores. With 1, the same seed and data give the same weights."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.beside and "abx_choice" not in self.objectives:
            raise ValueError("beside is of abx_choice: leave it out")
        return self

    @property
    def autoencodes(self) -> bool:
        """True where the encoder learns from nothing but reconstruction.

        Then held-out reconstruction tells the best epoch; the losses of other tasks do not tell
        how good tokens are (that of `byol` is lowest where all latents are one).
        """
        return self.objectives.keys() <= {"reconstruct", "denoise"}

    @property
    def objectives(self) -> dict[str, float]:
        """Weights of the objectives by name."""
        return parse_objectives(self.objective)
