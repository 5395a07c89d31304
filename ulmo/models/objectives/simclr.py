"""SimCLR: two views of a moment are alike, and unlike all other moments.

Chen et al. 2020 (arXiv:2002.05709). Their positive pair is two views of an image. Here it is two
views of a moment (all bands of a column), because a token lasts tens of milliseconds and a tile two
seconds.
"""

from typing import Any

from keras import ops

from ulmo.config import OBJECTIVE_TRAITS
from ulmo.models.objectives.base import EncodedBatch, TaskResult
from ulmo.models.objectives.info_nce import TEMPERATURE, choose
from ulmo.models.objectives.moments import far_apart
from ulmo.models.objectives.projector import projector
from ulmo.models.objectives.two_views import TwoViews, among_others
from ulmo.models.vqvae import VQVAE


class SimCLR(TwoViews):
    """NT-Xent over moments in two views.

    Negatives are all other moments of the batch; those of the same tile only if they are at least
    `apart` frames away. The temperature, 0.1, is that of table 5 of the paper.
    """

    traits = OBJECTIVE_TRAITS["simclr"]

    def begin(self, model: VQVAE) -> None:
        """Create the head."""
        self.head = projector(self.settings.column_length, self.seed)

    def measure(self, encoded: EncodedBatch) -> TaskResult:
        """Score: how often a moment's other view is its nearest among all other views."""
        seen = self.seen(encoded)
        first = self.head(seen.here(encoded.latents))
        second = self.head(seen.there(seen.latents))
        negative = far_apart(seen.moments, self.apart)
        found = among_others(first, second, negative)
        loss = nt_xent(first, second, negative)
        return TaskResult(loss, found.score, found.chance)


def nt_xent(first: Any, second: Any, negative: Any, temperature: float = TEMPERATURE) -> Any:
    """Scalar loss: equation 1 of the paper, over both directions.

    Row i of `first` and of `second` (A, D) are a pair. `negative` (A, A) bool marks the moments
    that differ; it is symmetric, and False on the diagonal. A vector's candidates are its partner,
    and both views of the moments that differ.
    """
    queries = ops.concatenate([first, second], axis=0)
    partners = ops.concatenate([second, first], axis=0)
    allowed = ops.tile(negative, (2, 2))
    return choose(queries, partners, allowed, ops.ones_like(queries[:, 0]), temperature).loss
