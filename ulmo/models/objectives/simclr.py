"""SimCLR: two views of a moment are alike, and unlike all other moments.

Chen et al. 2020 (arXiv:2002.05709). The positive pair there is an image; here it is a moment, as
a token lasts tens of milliseconds and a tile two seconds: all bands of the column at it.
"""

from typing import Any

from keras import ops

from ulmo.config import ModelSettings
from ulmo.models.draws import Draws
from ulmo.models.objectives.base import Encoded, Objective, Outcome, Side
from ulmo.models.objectives.info_nce import TEMPERATURE, Choice, choose
from ulmo.models.objectives.moments import columns_of, far_apart, shared_moments
from ulmo.models.objectives.projector import projector
from ulmo.models.objectives.views import BACKGROUND, Background
from ulmo.models.vqvae import VQVAE


class SimCLR(Objective):
    """NT-Xent over moments in two views, `Batch.tiles` and `Batch.other`.

    The other view gets a background besides; the tiles themselves are encoded as they are, once
    for all objectives. Negatives are all other moments of the batch, those of the same tile too
    where they are `apart` frames away (of the tile itself) or more.

    `anchors` = 256 moments a batch: as many as SimCLR's smallest batch; 8 a tile in batches of 32;
    beside the encoder's, their cost cannot be measured, and with more of them come more pairs
    that sound alike and yet count as different. `temperature` = 0.1:
    table 5 there. `apart` = 20: 200 ms, longer than most phones. `hidden`, `outputs`: the head.
    """

    wants = "views"

    def __init__(
        self,
        settings: ModelSettings,
        seed: int = 0,
        *,
        anchors: int = 256,
        temperature: float = TEMPERATURE,
        apart: float = 20.0,
        hidden: int = 256,
        outputs: int = 64,
        background: Background = BACKGROUND,
        **kwargs: Any,
    ) -> None:
        super().__init__(settings, seed, **kwargs)
        self.anchors = anchors
        self.temperature = temperature
        self.apart = apart
        self.hidden = hidden
        self.outputs = outputs
        self.background = background

    def begin(self, model: VQVAE) -> None:
        """Make the head."""
        inputs = self.settings.bands * self.settings.embedding_dim
        self.head = projector(inputs, self.hidden, self.outputs, self.seed)

    def measure(self, encoded: Encoded) -> Outcome:
        """The score is that of choosing a moment's other view among the moments' other views."""
        draws = Draws(self.seed, encoded.step)
        other = other_view(encoded)
        latents = encoded.model.encode(self.background(other.tiles, draws), other.valid_frames)
        moments = shared_moments(encoded, other, latents, self.anchors, draws)
        first = self._projected(encoded.latents, moments.tile, moments.column)
        second = self._projected(latents, moments.tile, moments.other_column)
        negative = far_apart(moments, self.apart)
        found = among_others(first, second, negative)
        loss = nt_xent(first, second, negative, self.temperature)
        return Outcome(loss, found.score, found.chance)

    def _projected(self, latents: Any, tile: Any, column: Any) -> Any:
        """(A, outputs)."""
        return self.head(columns_of(latents, tile, column))


def nt_xent(first: Any, second: Any, negative: Any, temperature: float) -> Any:
    """Scalar loss: equation 1 there, over both directions.

    `first` and `second` (A, D): those of one row belong together. `negative` (A, A) bool says which
    moments differ, symmetric and False on its diagonal: a vector's candidates are its partner and,
    of such moments, the vectors of both views.
    """
    queries = ops.concatenate([first, second], axis=0)
    partners = ops.concatenate([second, first], axis=0)
    allowed = ops.tile(negative, (2, 2))
    return choose(queries, partners, allowed, ops.ones_like(queries[:, 0]), temperature).loss


def among_others(first: Any, second: Any, negative: Any) -> Choice:
    """For each vector of `first` (A, D) its partner is sought among the vectors of `second`."""
    return choose(first, second, negative, ops.ones_like(first[:, 0]))


def other_view(encoded: Encoded) -> Side:
    """The other view of a batch; ValueError where there is none."""
    if encoded.batch.other is None:
        raise ValueError("the batch has no other view: the objective wants views")
    return encoded.batch.other
