"""What every objective is: a batch of tiles in; a loss, and the score of its own task, out.

An objective is a class in a file of its own and a line in `ulmo.models.objectives.OBJECTIVES`. Its
name, words and needs are a line in `ulmo.config.OBJECTIVE_TRAITS`, which is read without Keras.
"""

from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import keras
from keras import ops

from ulmo.config import ModelSettings, ObjectiveTraits, UserError
from ulmo.models.vqvae import VQVAE


class Side(NamedTuple):
    """Another view of the moments in a batch.

    Times are in frames of view 0, on the clock of the batch's own tiles: a moment has the same time
    in both. They rise along a row, or stay: a column that shows no moment of the tile lasts 0.
    """

    tiles: Any  # (B, M, frames, 1) float32
    valid_frames: Any  # (B,) int32; the frames after them are padding
    edges: Any  # (B, columns + 1) float32: when columns begin and the last one ends; see below
    frontend: Any  # (B,) int32: 0 for TILES_DIR, then 1, 2, ... for --beside in its order


class TrainingBatch(NamedTuple):
    """What one step learns from."""

    tiles: Any  # (B, M, frames, 1) float32
    valid_frames: Any  # (B,) int32; the frames after them are padding
    token_weights: Any  # (B, columns, bands) float32: 1, or `silence_weight` for a silent token
    edges: Any  # (B, columns + 1) float32, as in Side: `tiles` may be views, or crops
    other: Side | None = None  # another view of each tile, if an objective wants `views`
    # Each tile through two front ends, drawn anew in each step, if an objective wants `frontends`.
    # Both show the same moments in the same columns.
    pair: tuple[Side, Side] | None = None


class TaskResult(NamedTuple):
    """The result of an objective on a batch: float32 scalars."""

    loss: Any
    score: Any  # how well the task is done; higher is better
    chance: Any  # the score of a guess
    tally: Any = None  # an array, summed over the held-out batches for `Objective.report`
    figures: Any = None  # of an objective that trains the decoder: the figures in AUTOENCODED


class EncodedBatch:
    """A batch and its latents, which are computed once, on first use."""

    def __init__(self, model: VQVAE, batch: TrainingBatch, step: Any, training: bool) -> None:
        self.model = model
        self.batch = batch
        self.step = step  # scalar int; it and an objective's seed decide its random draws
        self.training = training
        self._taught = not training

    def teach_codebook(self) -> bool:
        """Whether the caller should train the quantizer: True for the first caller in training."""
        taught, self._taught = self._taught, True
        return not taught

    @cached_property
    def latents(self) -> Any:
        """Latents (B, columns, bands, EMB) of the unchanged tiles."""
        return self.model.encode(self.batch.tiles, self.batch.valid_frames)

    @property
    def has_latents(self) -> bool:
        """Whether `latents` have been computed."""
        return "latents" in self.__dict__

    @cached_property
    def weights(self) -> Any:
        """(B, columns, bands): `token_weights` times each token's share that is not padding."""
        batch = self.batch
        inside = self.model.inside(self.latents, batch.valid_frames)
        return inside * ops.cast(batch.token_weights, "float32")


def share_removed(error: Any, naive: Any) -> Any:
    """Share of a naive error that is overcome, at most 1; 0 if there was none to overcome."""
    return ops.where(naive > 0, 1.0 - ops.divide_no_nan(error, naive), 0.0)


class Objective(keras.layers.Layer):
    """A task that trains the encoder, and the heads that it needs beside the encoder.

    A subclass implements the task in `measure`. The model is the tokenizer's own: an objective
    uses its encoder through `encoded.latents` or `encoded.model.encode(tiles, valid_frames)`.
    `begin` makes the heads, in float32; the exported tokenizer leaves them out. All random draws
    are a function of the seed and `encoded.step` (`ulmo.models.draws`). A task's own constants are
    class attributes.
    """

    traits: ClassVar[ObjectiveTraits]  # its entry in `ulmo.config.OBJECTIVE_TRAITS`
    draws: ClassVar[bool] = True  # whether its loss depends on random draws

    def __init__(self, settings: ModelSettings, seed: int = 0) -> None:
        super().__init__(dtype="float32")
        self.settings = settings
        self.seed = seed
        self.fewest_columns = 1  # of a tile, or of a crop of it

    def check(self, name: str, columns: int) -> None:
        """Raise UserError if tiles, or crops of them, have too few columns to learn from."""
        if columns < self.fewest_columns:
            raise UserError(
                f"{name} needs {self.fewest_columns} columns to learn from, and a tile has "
                f"{columns}: set a smaller time_stride, or a larger crop_frames"
            )

    def begin(self, model: VQVAE) -> None:
        """Create the heads and other weights; the encoder has its initial weights by then."""

    def measure(self, encoded: EncodedBatch) -> TaskResult:
        """Loss and score of a batch, computed alike in training and in validation."""
        raise NotImplementedError

    def after_step(self, model: VQVAE, progress: Any) -> None:
        """Update what has no gradient, after each step; `progress` of training, from 0 to 1."""

    def report(self, tally: Any) -> dict[str, float]:
        """Figures by name, from the sum of all tallies (a NumPy array)."""
        return {}
