"""BYOL: from one view of a moment, predict what a slow copy of the encoder makes of another.

Grill et al. 2020 (arXiv:2006.07733). There are no negatives. Latents stay apart because the copy
(the target) is not trained: after each step it moves a little towards the trained network.
"""

import math
from typing import Any

from keras import ops

from ulmo.config import OBJECTIVE_TRAITS
from ulmo.models.encoder import Encoder
from ulmo.models.objectives.base import EncodedBatch, TaskResult
from ulmo.models.objectives.info_nce import directions
from ulmo.models.objectives.moments import far_apart, mean_of
from ulmo.models.objectives.projector import OUTPUTS, projector
from ulmo.models.objectives.two_views import TwoViews, among_others
from ulmo.models.vqvae import VQVAE


class BYOL(TwoViews):
    """Online: encoder, projector, predictor. Target: copies of encoder and projector.

    The loss is the paper's equation 2, halved (1 - cosine), summed over both directions as in
    equation 3. `apart` affects the score alone.
    """

    traits = OBJECTIVE_TRAITS["byol"]
    # At the start. The paper's tau (section 3.3) is 0.996 for 300 000 steps; a run has thousands.
    momentum = 0.99

    def begin(self, model: VQVAE) -> None:
        """Create the heads, and the target as a copy of the online network."""
        self.projector = projector(self.settings.column_length, self.seed)
        self.predictor = projector(OUTPUTS, self.seed + 2)
        self.target_encoder = Encoder.from_config(model.encoder.get_config())
        self.target_encoder.build((None, self.settings.tile_size, None, 1))
        self.target_encoder.devices = model.encoder.devices
        self.target_projector = projector(self.settings.column_length, self.seed)
        for target, online in self._copies(model):
            target.trainable = False
            target.set_weights(online.get_weights())

    def measure(self, encoded: EncodedBatch) -> TaskResult:
        """Score: how often a prediction is nearest to its own moment among the target's."""
        model, batch, seen = encoded.model, encoded.batch, self.seen(encoded)
        online = [seen.here(encoded.latents), seen.there(seen.latents)]
        target = [
            seen.there(model.encode(seen.tiles, seen.valid_frames, self.target_encoder)),
            seen.here(model.encode(batch.tiles, batch.valid_frames, self.target_encoder)),
        ]
        predicted = [self.predictor(self.projector(vectors)) for vectors in online]
        aimed = [ops.stop_gradient(self.target_projector(vectors)) for vectors in target]
        found = among_others(predicted[0], aimed[0], far_apart(seen.moments, self.apart))
        loss = sum(map(regression, predicted, aimed))
        return TaskResult(loss, found.score, found.chance)

    def after_step(self, model: VQVAE, progress: Any) -> None:
        """Move the target: tau target + (1 - tau) online (equation 1).

        tau = 1 - (1 - momentum) (cos(pi progress) + 1) / 2: at the end the target stands still.
        """
        moved = (1.0 - self.momentum) * (ops.cos(math.pi * progress) + 1.0) / 2.0
        for target, online in self._copies(model):
            for old, new in zip(target.variables, online.variables, strict=True):
                old.assign(old + moved * (ops.cast(new, old.dtype) - old))

    def _copies(self, model: VQVAE) -> list[tuple[Any, Any]]:
        """Pairs of (target, online) parts."""
        return [(self.target_encoder, model.encoder), (self.target_projector, self.projector)]


def regression(predicted: Any, aimed: Any) -> Any:
    """Scalar: mean of 1 - cosine (half of equation 2) over vectors (A, D); 0 if there are none."""
    return mean_of(1.0 - ops.sum(directions(predicted) * directions(aimed), axis=-1))
