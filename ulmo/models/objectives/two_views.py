"""The base of objectives over two views: draws moments, and finds their latents."""

from typing import Any, NamedTuple

from keras import ops

from ulmo.config import ModelSettings
from ulmo.models.draws import Draws
from ulmo.models.objectives.base import EncodedBatch, Objective, Side
from ulmo.models.objectives.info_nce import Choice, choose
from ulmo.models.objectives.moments import SharedMoments, columns_of, shared_moments
from ulmo.models.objectives.projector import projector
from ulmo.models.objectives.views import BACKGROUND, Background


class Seen(NamedTuple):
    """Moments of a batch, in its tiles and in the other view."""

    moments: SharedMoments
    tiles: Any  # (B, M, frames, 1) of the other view, with a background
    valid_frames: Any  # (B,) of the other view
    latents: Any  # (B, columns, bands, EMB) of the other view

    def here(self, latents: Any) -> Any:
        """(A, bands EMB): the moments, from latents of `TrainingBatch.tiles`."""
        return columns_of(latents, self.moments.tile, self.moments.column)

    def there(self, latents: Any) -> Any:
        """(A, bands EMB): the moments, from latents of the other view."""
        return columns_of(latents, self.moments.tile, self.moments.other_column)


class TwoViews(Objective):
    """Moments in two views, `TrainingBatch.tiles` and `TrainingBatch.other`.

    The other view also gets a background. The tiles are encoded unchanged, once for all objectives.

    `anchors` = 256 moments per batch: SimCLR's smallest batch, or 8 per tile in batches of 32.
    Their cost is negligible beside the encoder's; with more, more pairs sound alike yet count as
    different. `apart` = 20 frames of view 0, 200 ms, longer than most phones: nearer moments of a
    tile do not count as different. `hidden` and `outputs` are the sizes of the head.
    """

    def __init__(
        self,
        settings: ModelSettings,
        seed: int = 0,
        *,
        anchors: int = 256,
        apart: float = 20.0,
        hidden: int = 256,
        outputs: int = 64,
        background: Background = BACKGROUND,
        **kwargs: Any,
    ) -> None:
        super().__init__(settings, seed, **kwargs)
        self.anchors = anchors
        self.apart = apart
        self.hidden = hidden
        self.outputs = outputs
        self.background = background

    def new_projector(self) -> Any:
        """Create a head: (A, bands EMB) -> (A, outputs)."""
        inputs = self.settings.bands * self.settings.embedding_dim
        return projector(inputs, self.hidden, self.outputs, self.seed)

    def seen(self, encoded: EncodedBatch) -> Seen:
        """Draw the moments of this step; ValueError if the batch has no other view."""
        draws = Draws(self.seed, encoded.step)
        other = other_view(encoded)
        tiles = self.background(other.tiles, draws)
        latents = encoded.model.encode(tiles, other.valid_frames)
        moments = shared_moments(encoded, other, latents, self.anchors, draws)
        return Seen(moments, tiles, other.valid_frames, latents)


def other_view(encoded: EncodedBatch) -> Side:
    """The other view of a batch; ValueError if there is none."""
    if encoded.batch.other is None:
        raise ValueError("the batch has no other view: the objective wants views")
    return encoded.batch.other


def among_others(first: Any, second: Any, negative: Any) -> Choice:
    """Choose, for each vector of `first` (A, D), its partner among the vectors of `second`."""
    return choose(first, second, negative, ops.ones_like(first[:, 0]))
