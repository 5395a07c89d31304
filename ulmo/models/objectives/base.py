"""What every objective is: a batch of tiles in, a loss and the score of its own task out."""

from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import keras
from keras import ops

from ulmo.config import ModelSettings, ObjectiveTraits
from ulmo.models.vqvae import VQVAE


class Side(NamedTuple):
    """Tiles that show the moments of a batch in another way."""

    tiles: Any
    """(B, M, frames, 1) float32."""
    valid_frames: Any
    """(B,) int32: what follows is padding."""
    pace: Any
    """(B,) float32: frames of the tile itself (view 0) that one frame lasts; 1 in view 0."""
    frontend: Any
    """(B,) int32: 0 for the front end of TILES_DIR, then those of --beside in their order."""


class Batch(NamedTuple):
    """What a step learns from."""

    tiles: Any
    """(B, M, frames, 1) float32."""
    valid_frames: Any
    """(B,) int32."""
    token_weights: Any
    """(B, columns, bands) float32: 1, or `silence_weight` where a token is silent."""
    pace: Any
    """(B,) float32, as in Side: `tiles` may be views."""
    other: Side | None = None
    """Another view of each tile, where an objective wants `views`."""
    pair: tuple[Side, Side] | None = None
    """Each tile through two different front ends, drawn anew each time, where one wants
    `frontends`. Both begin at the same moment and have the same pace."""


class Outcome(NamedTuple):
    """What an objective makes of a batch; scalars, float32."""

    loss: Any
    score: Any
    """How well its own task is done: the higher, the better."""
    chance: Any
    """What the score is of one who knows nothing."""
    tally: Any = None
    """An array that is summed over the held-out batches, for `Objective.report`."""
    figures: Any = None
    """Of an autoencoder: reconstruction, commitment, codebook, perplexity and usage."""


class Encoded:
    """A batch, and what the encoder makes of it: made once, when it is first asked for."""

    def __init__(self, model: VQVAE, batch: Batch, step: Any, training: bool) -> None:
        self.model = model
        self.batch = batch
        self.step = step
        """Scalar int: with an objective's seed, it rules what is drawn (`ulmo.models.draws`)."""
        self.training = training
        self._taught = not training

    def teach_codebook(self) -> bool:
        """Whether the quantizer is to learn now: in training, from the first that asks alone."""
        taught, self._taught = self._taught, True
        return not taught

    @cached_property
    def latents(self) -> Any:
        """(B, columns, bands, EMB) of the tiles as they are."""
        return self.model.encode(self.batch.tiles, self.batch.valid_frames)

    @property
    def has_latents(self) -> bool:
        """Whether they were asked for."""
        return "latents" in self.__dict__

    @cached_property
    def weights(self) -> Any:
        """(B, columns, bands): `token_weights`, by the share of a token that is no padding."""
        batch = self.batch
        inside = self.model.inside(self.latents, batch.valid_frames)
        return inside * ops.cast(batch.token_weights, "float32")


class Objective(keras.layers.Layer):
    """A task that the encoder learns from, with the heads that it needs beside the encoder.

    A subclass says in `measure` what its task is. The model is the tokenizer's own: an objective
    reaches its encoder by `encoded.latents` or `encoded.model.encode(tiles, valid_frames)`. Heads
    are float32 and are made in `begin`; they stay behind when the tokenizer is exported. All that
    is drawn is a function of the seed and of `encoded.step`.
    """

    traits: ClassVar[ObjectiveTraits]  # its entry in `ulmo.config.OBJECTIVE_TRAITS`
    draws: ClassVar[bool] = True  # whether its loss depends on random draws of the step

    def __init__(self, settings: ModelSettings, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.settings = settings
        self.seed = seed

    def begin(self, model: VQVAE) -> None:
        """Make the heads, and what else has weights; the encoder has those that it starts from."""

    def measure(self, encoded: Encoded) -> Outcome:
        """The loss and the score of a batch; in training as out of it, unless told."""
        raise NotImplementedError

    def after_step(self, model: VQVAE, progress: Any) -> None:
        """Move what no gradient moves, after a step; `progress` from 0 to 1, of all training."""

    def report(self, tally: Any) -> dict[str, float]:
        """Figures by name of the sum of all tallies (NumPy)."""
        return {}
