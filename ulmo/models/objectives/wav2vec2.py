"""wav2vec 2.0: from the context, choose the codes of masked latents.

Baevski et al. 2020 (arXiv:2006.11477), equations 2 to 4.
"""

import math
from typing import Any

import keras
from keras import ops

from ulmo.config import OBJECTIVE_TRAITS, ModelSettings
from ulmo.models.draws import Draws
from ulmo.models.objectives.base import EncodedBatch, Objective, TaskResult
from ulmo.models.objectives.columns import ColumnNetwork, dense, joined
from ulmo.models.objectives.info_nce import choose
from ulmo.models.vqvae import VQVAE


class Wav2Vec2(Objective):
    """Hides columns of latents; learns to choose their codes among those of other hidden columns.

    The codebook is the tokenizer's own quantizer, with straight-through gradients in place of the
    paper's Gumbel softmax. Its commitment loss, and its codebook loss if it learns by gradient, are
    added as in the VQ-VAE.
    Masks: spans of `frames` = 20 (0.2 s; in the paper 10 latents of 20 ms), about `share` = 0.5 of
    the columns, as in the paper's section 4.2 (49 %). A learned vector, initially as long as a
    latent, replaces all bands of a hidden column. As in the paper, the encoder gets whole tiles, so
    it sees some frames of a span from its sides. The context network is convolutional and
    two-sided, and reaches over a span.
    Distractors: the codes in the same band of all other hidden columns of the tile. The paper draws
    100 from some seconds; a tile has about 28 on the 56 x 4 grid. A code equal to the target's is
    no distractor, as in the authors' fairseq.
    Diversity (equation 4), times `diversity` = 0.1 as in the paper: 1 - H / log CB, where H is the
    entropy of the mean soft assignment, softmax(-|latent - code|^2 / (EMB x `softness`)), over
    `assigned` = 2048 tokens of the batch, drawn evenly and weighted: a few for each code. With
    `softness` = 0.1, a distance greater by a tenth of a latent's squared norm makes a share e times
    smaller.
    """

    traits = OBJECTIVE_TRAITS["wav2vec2"]
    frames = 20  # of a span
    share = 0.5  # of the columns that are hidden, about
    diversity = 0.1  # weight of equation 4
    softness = 0.1
    assigned = 2048  # tokens
    width = 128

    def __init__(self, settings: ModelSettings, seed: int = 0) -> None:
        super().__init__(settings, seed)
        self.span = -(-self.frames // settings.time_stride)

    def begin(self, model: VQVAE) -> None:
        """Create the mask vector, the context network and the map to codes."""
        settings = self.settings
        token = (settings.bands, settings.embedding_dim)
        normal = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed + 102)
        self.unseen = self.add_weight(name="unseen", shape=token, initializer=normal)
        column = settings.column_length
        self.network = ColumnNetwork(
            column, self.span, causal=False, width=self.width, seed=self.seed
        )
        self.to_codes = dense(self.width, column, self.seed + 101)

    def measure(self, encoded: EncodedBatch) -> TaskResult:
        """Loss: InfoNCE of the codes, their diversity, and the losses of the quantizer."""
        model, latents, weights = encoded.model, encoded.latents, encoded.weights
        draws = Draws(self.seed, encoded.step)
        hidden = self.hide(latents, draws)
        codes = model.quantizer(latents, weights=weights, training=encoded.teach_codebook())
        guess = self.predict(latents, hidden)
        choice = choose_codes(guess, codes.quantized, codes.ids, hidden, weights)
        spread = self.concentration(latents, weights, model.quantizer.codebook, draws)
        loss = choice.loss + self.diversity * spread
        loss = loss + model.commitment_cost * codes.commitment
        if model.quantizer.learns_by_gradient:
            loss = loss + codes.codebook
        return TaskResult(loss=loss, score=choice.score, chance=choice.chance)

    def hide(self, latents: Any, draws: Draws) -> Any:
        """(B, columns) bool: which columns of latents to hide."""
        batch, columns = ops.shape(latents)[:2]
        return draws.spans(batch, columns, self.span, self.share)

    def predict(self, latents: Any, hidden: Any) -> Any:
        """Predict codes (B, columns, bands, EMB) from latents with `hidden` (B, columns) masked."""
        shown = ops.where(hidden[:, :, None, None], self.unseen, latents)
        return ops.reshape(self.to_codes(self.network(joined(shown))), ops.shape(latents))

    def concentration(self, latents: Any, weights: Any, codebook: Any, draws: Draws) -> Any:
        """Scalar: 0 if all codes (CB, EMB) are used evenly, 1 if only one is used."""
        size, dimensions = ops.shape(codebook)
        vectors = ops.reshape(latents, (-1, dimensions))
        weights = ops.reshape(weights, (-1,))
        tokens = ops.shape(weights)[0]
        drawn = draws.uniform((self.assigned,), 0, ops.cast(tokens, "float32"))
        drawn = ops.minimum(ops.cast(drawn, "int32"), tokens - 1)
        vectors, weights = ops.take(vectors, drawn, axis=0), ops.take(weights, drawn)[:, None]
        near = 2.0 * ops.matmul(vectors, ops.transpose(codebook))
        near = near - ops.sum(ops.square(codebook), axis=-1)
        shares = ops.softmax(near / (dimensions * self.softness), axis=-1)
        mean = ops.divide_no_nan(ops.sum(shares * weights, axis=0), ops.sum(weights))
        entropy = -ops.sum(mean * ops.log(mean + 1e-9))
        return 1.0 - entropy / math.log(size)


def choose_codes(guess: Any, codes: Any, ids: Any, hidden: Any, weights: Any) -> Any:
    """Choose the codes of hidden columns among those of the same tile and band: a `Choice`.

    `guess` and `codes` (B, columns, bands, EMB), `ids` and `weights` (B, columns, bands),
    `hidden` (B, columns).
    """
    ids = ops.transpose(ids, (0, 2, 1))  # (B, bands, columns)
    weights = ops.transpose(weights * ops.cast(hidden, "float32")[..., None], (0, 2, 1))
    distractor = ops.logical_and(weights[..., None, :] > 0, ids[..., None, :] != ids[..., :, None])
    guess, codes = (ops.transpose(tokens, (0, 2, 1, 3)) for tokens in (guess, codes))
    return choose(guess, codes, distractor, weights)
