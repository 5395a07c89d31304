"""SimCLR: two views of a moment are alike, and unlike all other moments.

Chen et al. 2020 (arXiv:2002.05709). The positive pair there is an image; here it is a moment, as
a token lasts tens of milliseconds and a tile two seconds: all bands of the column at it.
"""

from typing import Any

from keras import ops

from ulmo.config import OBJECTIVE_TRAITS, ModelSettings
from ulmo.models.objectives.base import EncodedBatch, TaskResult
from ulmo.models.objectives.info_nce import TEMPERATURE, choose
from ulmo.models.objectives.moments import far_apart
from ulmo.models.objectives.two_views import TwoViews, among_others
from ulmo.models.vqvae import VQVAE


class SimCLR(TwoViews):
    """NT-Xent over moments in two views.

    Negatives are all other moments of the batch, those of the same tile too where they are
    `apart` frames away or more. `temperature` = 0.1: table 5 there.
    """

    traits = OBJECTIVE_TRAITS["simclr"]

    def __init__(
        self,
        settings: ModelSettings,
        seed: int = 0,
        *,
        temperature: float = TEMPERATURE,
        **kwargs: Any,
    ) -> None:
        super().__init__(settings, seed, **kwargs)
        self.temperature = temperature

    def begin(self, model: VQVAE) -> None:
        """Make the head."""
        self.head = self.new_projector()

    def measure(self, encoded: EncodedBatch) -> TaskResult:
        """The score is that of choosing a moment's other view among the moments' other views."""
        seen = self.seen(encoded)
        first = self.head(seen.here(encoded.latents))
        second = self.head(seen.there(seen.latents))
        negative = far_apart(seen.moments, self.apart)
        found = among_others(first, second, negative)
        loss = nt_xent(first, second, negative, self.temperature)
        return TaskResult(loss, found.score, found.chance)


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
