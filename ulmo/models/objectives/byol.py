"""BYOL: one view of a moment predicts what a slower copy of the encoder makes of the other.

Grill et al. 2020 (arXiv:2006.07733). There are no negatives: what keeps latents apart is that the
copy, the target, is never trained, only moved a little towards what is trained, after each step.
"""

import math
from typing import Any

from keras import ops

from ulmo.config import OBJECTIVE_TRAITS, ModelSettings
from ulmo.models.encoder import Encoder
from ulmo.models.objectives.base import Encoded, Outcome
from ulmo.models.objectives.info_nce import directions
from ulmo.models.objectives.moments import far_apart, mean_of
from ulmo.models.objectives.projector import projector
from ulmo.models.objectives.two_views import TwoViews, among_others
from ulmo.models.vqvae import VQVAE


class BYOL(TwoViews):
    """Online: encoder, projector, predictor. Target: copies of encoder and projector.

    The loss is equation 2 there, made symmetric as in equation 3, and halved: 1 - cosine, each way.
    `anchors` moments; `apart` rules the score alone. `momentum` = 0.99 at first: tau of section 3.3
    there is 0.996 for 300 000 steps; ours are some thousands.
    """

    traits = OBJECTIVE_TRAITS["byol"]

    def __init__(
        self, settings: ModelSettings, seed: int = 0, *, momentum: float = 0.99, **kwargs: Any
    ) -> None:
        super().__init__(settings, seed, **kwargs)
        self.momentum = momentum

    def begin(self, model: VQVAE) -> None:
        """Make the heads, and the target: what the online network is now."""
        self.projector = self.new_projector()
        self.predictor = projector(self.outputs, self.hidden, self.outputs, self.seed + 2)
        self.target_encoder = Encoder.from_config(model.encoder.get_config())
        self.target_encoder.build((None, self.settings.tile_size, None, 1))
        self.target_projector = self.new_projector()
        for target, online in self._copies(model):
            target.trainable = False
            target.set_weights(online.get_weights())

    def measure(self, encoded: Encoded) -> Outcome:
        """The score is that of choosing a moment among the target's by what was predicted."""
        model, batch, seen = encoded.model, encoded.batch, self.seen(encoded)
        online = [seen.here(encoded.latents), seen.there(seen.latents)]
        target = [
            seen.there(model.encode(seen.tiles, seen.valid_frames, self.target_encoder)),
            seen.here(model.encode(batch.tiles, batch.valid_frames, self.target_encoder)),
        ]
        predicted = [self.predictor(self.projector(vectors)) for vectors in online]
        aimed = [ops.stop_gradient(self.target_projector(vectors)) for vectors in target]
        ways = list(zip(predicted, aimed, strict=True))
        found = among_others(*ways[0], far_apart(seen.moments, self.apart))
        return Outcome(sum(regression(*way) for way in ways), found.score, found.chance)

    def after_step(self, model: VQVAE, progress: Any) -> None:
        """Move the target: tau target + (1 - tau) online, equation 1 there.

        tau = 1 - (1 - momentum) (cos(pi progress) + 1) / 2: at the end the target stands still.
        """
        moved = (1.0 - self.momentum) * (ops.cos(math.pi * progress) + 1.0) / 2.0
        for target, online in self._copies(model):
            for old, new in zip(target.variables, online.variables, strict=True):
                old.assign(old + moved * (ops.cast(new, old.dtype) - old))

    def _copies(self, model: VQVAE) -> list[tuple[Any, Any]]:
        """What is copied: (target, online)."""
        return [(self.target_encoder, model.encoder), (self.target_projector, self.projector)]


def regression(predicted: Any, aimed: Any) -> Any:
    """Scalar: half of equation 2 there, 1 - cosine, of vectors (A, D); 0 of none."""
    return mean_of(1.0 - ops.sum(directions(predicted) * directions(aimed), axis=-1))
