"""How the model is trained."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from ulmo.config.base import Settings
from ulmo.config.model import ModelSettings
from ulmo.config.objectives import OBJECTIVE_TRAITS, Objectives, ObjectiveTraits, parse_objectives

_Folder = Annotated[str, Field(min_length=1, max_length=4096)]
MOST_BESIDE = 16  # folders of tiles beside the first


class TrainSettings(Settings):
    """How the model is trained."""

    groups: ClassVar = {
        "Objectives": ("objective", "beside", "init"),
        "Views": ("pairs", "pair_share", "crop_frames", "warp_spread", "tilt_db"),
        "Optimisation": (
            *("batch_size", "epochs", "max_minutes", "patience", "validation_fraction"),
            *("learning_rate", "final_learning_rate", "silence_weight"),
            *("mixed_precision", "devices", "threads", "seed"),
        ),
        "Output": ("checkpoint_minutes",),
    }

    batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    """Tiles per step."""
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """Most passes over the training tiles."""
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    """Stop after this many minutes (steps, validation, checkpoints), even within an epoch."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Adam's learning rate at the start."""
    final_learning_rate: Annotated[float, Field(ge=0, le=1)] = 5e-5
    """Learning rate at the end, reached along half a cosine (Loshchilov and Hutter 2017)."""
    objective: Objectives = "reconstruct"
    """What the encoder learns: one NAME, or several with weights, as reconstruct=1,simclr=0.5."""
    init: _Folder | None = None
    """Start from the encoder of this run (RUN_DIR) or bundle."""
    beside: tuple[_Folder, ...] = Field(default=(), max_length=MOST_BESIDE)
    """Tiles of the same recordings made by another front end; only abx_choice uses them."""
    pairs: _Folder | None = None
    """CSV of recordings that say the same (a, b, a_times, b_times): each is a view of the other."""
    pair_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the tiles with a pair that are compared with it, and not with their own views."""
    crop_frames: Annotated[int, Field(ge=1)] | None = None
    """Learn from this many consecutive frames of each tile, at a new place in each step."""
    warp_spread: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Multiply the frequencies of other views by 1 minus to 1 plus this, anew in each step."""
    tilt_db: Annotated[float, Field(ge=0, le=24)] = 0.0
    """Tilt the spectrum of other views by up to this many dB per octave, anew in each step."""
    silence_weight: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Weight of silent tokens in codebook updates. Most of a field recording is silence."""
    validation_fraction: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    """Share of the recordings (not of the tiles) held out."""
    patience: Annotated[int, Field(ge=1)] = 5
    """Stop after this many epochs without a better reconstruction or denoising."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0
    """Minutes between checkpoints within an epoch; each epoch ends with one, too."""
    mixed_precision: bool = False
    """Compute in bfloat16; weights and codebook stay float32."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of the split, the order of the tiles, the initial weights and the revived codes."""
    devices: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs that share the tiles of each step; without a GPU, parts of the CPU."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads; 0 uses all cores. With 1, the same seed and data give the same weights."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.beside and not any(one.wants == "frontends" for one in self.traits):
            users = [name for name, one in OBJECTIVE_TRAITS.items() if one.wants == "frontends"]
            raise ValueError(f"only {' and '.join(users)} uses beside: leave it out")
        changes = {"pairs": self.pairs, "warp_spread": self.warp_spread, "tilt_db": self.tilt_db}
        if not any(one.wants == "views" for one in self.traits):
            for name in filter(changes.get, changes):
                users = [name for name, one in OBJECTIVE_TRAITS.items() if one.wants == "views"]
                raise ValueError(f"only {' and '.join(users)} use {name}: leave it out")
        return self

    def frames_of(self, model: ModelSettings) -> int:
        """Frames of what a step learns from: a tile, or a crop of it."""
        return min(self.crop_frames or model.tile_size, model.tile_size)

    def columns_of(self, model: ModelSettings) -> int:
        """Columns of tokens in what a step learns from."""
        return -(-self.frames_of(model) // model.time_stride)

    @property
    def autoencodes(self) -> bool:
        """Whether every objective trains the decoder.

        If so, held-out reconstruction shows the best epoch. The losses of other tasks do not show
        how good the tokens are: that of `byol` is lowest if all latents are equal.
        """
        return all(one.teaches_decoder for one in self.traits)

    @property
    def objectives(self) -> dict[str, float]:
        """Weights of the objectives by name."""
        return parse_objectives(self.objective)

    @property
    def traits(self) -> list[ObjectiveTraits]:
        """What the objectives need, in their order."""
        return [OBJECTIVE_TRAITS[name] for name in self.objectives]
