"""Next frame: predict latents and frames of later columns from earlier columns.

Latents are predicted contrastively, as in CPC (van den Oord, Li and Vinyals 2018,
arXiv:1807.03748, equations 3 and 4); the spectrogram by its absolute error, as in APC (Chung et al.
2019, arXiv:1904.03240, equation 1).
"""

from typing import Any, NamedTuple

import tensorflow as tf
from keras import ops

from ulmo.config import OBJECTIVE_TRAITS, ModelSettings
from ulmo.models.draws import Draws
from ulmo.models.objectives.base import EncodedBatch, Objective, TaskResult
from ulmo.models.objectives.cells import cell_weights, cells_of
from ulmo.models.objectives.columns import ColumnNetwork, dense, joined
from ulmo.models.objectives.info_nce import choose
from ulmo.models.vqvae import VQVAE

_MEMORY = 50  # frames that the context looks back, at least: half a second


class _Drawn(NamedTuple):
    """Columns to predict from, A per tile, and the K columns to predict from each."""

    anchors: Any  # (B, A) int32
    targets: Any  # (B, A, K) int32, clipped to the grid
    inside: Any  # (B, A, K) float32: 0 if the target lies beyond the grid, else 1


class NextFrame(Objective):
    """Predicts from a causal context, with a linear map for each step ahead.

    The prediction is strictly causal. A column of latents depends on `time_context[1]` frames
    beyond its own, so the first `lead` columns after it are skipped (0.14 s of the 56 x 4 grid):
    the context has seen no frame of a target. A target's latents do depend on earlier frames that
    the context has seen, as with the overlapping windows of CPC. This part of a target is easy to
    predict; but every candidate has such a part, and candidates of the same tile may be neighbours
    of the target, so the difference must be predicted.

    Latents: each prediction is compared with the tokens of the same band and step of all anchors of
    the batch, from the same tile and from other tiles. Padding is no candidate. `anchors` = 256 per
    batch, which gives as many negatives; time grows with the square, and more gain little in a
    batch of some tiles. Anchors are drawn by the weights of their first target, so few are silent.
    Frames: mean absolute error of the cells of the same columns, times `spectrogram` = 0.1: enough
    to train the maps while the latents decide. (ABX error of the latents of spoken digits, within
    and across speakers, after 150 steps of 16 tiles: at 0, 8.9 and 20.0 %; at 1, 9.7 and 20.8; at
    4, 11.3 and 23.8.)
    `steps` = 4 over `horizon` = 16 frames, evenly: 0.16 s beyond the lead, about a phone; most
    sounds cannot be predicted further. CPC takes 12 steps of 10 ms. If a column is longer than a
    step, steps coincide: the 16 x 16 grid has one.

    The score is that of the latents' choice. `report` covers the frames: `spectrogram` is the share
    removed of the error of repeating the last frame seen; 0 is chance.
    """

    traits = OBJECTIVE_TRAITS["next_frame"]
    steps = 4
    horizon = 16  # frames
    anchors = 256  # per batch
    spectrogram = 0.1  # weight of the frames' error
    width = 128

    def __init__(self, settings: ModelSettings, seed: int = 0) -> None:
        super().__init__(settings, seed)
        stride = settings.time_stride
        self.lead = -(-settings.time_context[1] // stride)
        reached = {
            -(-self.horizon * (step + 1) // (self.steps * stride)) for step in range(self.steps)
        }
        self.ahead = tuple(self.lead + column for column in sorted(reached))
        self.fewest_columns = self.ahead[0] + 1  # else there is nothing to predict

    def begin(self, model: VQVAE) -> None:
        """Create the context network and the two maps, each for all steps."""
        settings, steps = self.settings, len(self.ahead)
        column, memory = settings.column_length, -(-_MEMORY // settings.time_stride)
        self.network = ColumnNetwork(column, memory, causal=True, width=self.width, seed=self.seed)
        cells = settings.time_stride * settings.tile_size
        self.to_latents = dense(self.width, steps * column, self.seed + 101)
        self.to_frames = dense(self.width, steps * cells, self.seed + 102)

    def context(self, latents: Any) -> Any:
        """(B, columns, width): features of each column of latents and those before it."""
        return self.network(joined(latents))

    def measure(self, encoded: EncodedBatch) -> TaskResult:
        """InfoNCE of the latents plus the absolute error of the frames."""
        latents, weights = encoded.latents, encoded.weights
        drawn = self.draw(weights, Draws(self.seed, encoded.step))
        past = tf.gather(self.context(latents), drawn.anchors, batch_dims=1)  # (B, A, width)
        wanted = tf.gather(latents, drawn.targets, batch_dims=1)  # (B, A, K, bands, EMB)
        guess = ops.reshape(self.to_latents(past), ops.shape(wanted))
        counted = tf.gather(weights, drawn.targets, batch_dims=1) * drawn.inside[..., None]
        choice = choose_tokens(guess, wanted, counted)
        tally = self._frames(encoded, drawn, past)
        error = ops.divide_no_nan(tally[0], tally[2])
        return TaskResult(
            loss=choice.loss + self.spectrogram * error,
            score=choice.score,
            chance=choice.chance,
            tally=tally,
        )

    def draw(self, weights: Any, draws: Draws) -> _Drawn:
        """Draw columns to predict from, without replacement, by the weights of their first target.

        `weights` (B, columns, bands). The draw is as in the quantizer (Efraimidis and Spirakis
        2006). A column whose target lies beyond the grid or weighs 0 comes last.
        """
        batch, columns, _ = ops.shape(weights)
        places = ops.maximum(columns - self.ahead[0], 1)
        count = ops.minimum(ops.maximum(self.anchors // batch, 1), places)
        loud = ops.max(weights, axis=-1)[:, self.ahead[0] :]
        loud = ops.pad(loud, ((0, 0), (0, 1)))[:, :places]
        keys = ops.log(1.0 - draws.uniform((batch, places))) / ops.maximum(loud, 1e-9)
        anchors = tf.math.top_k(keys, count).indices
        targets = anchors[..., None] + ops.convert_to_tensor(self.ahead, "int32")
        inside = ops.cast(targets < columns, "float32")
        return _Drawn(anchors, ops.minimum(targets, columns - 1), inside)

    def _frames(self, encoded: EncodedBatch, drawn: _Drawn, past: Any) -> Any:
        """(3,): sums over cells of absolute errors, errors of the last frame seen, and weights."""
        stride, batch = self.settings.time_stride, encoded.batch
        cells = cells_of(batch.tiles, stride)  # (B, columns, stride, M)
        wanted = tf.gather(cells, drawn.targets, batch_dims=1)  # (B, A, K, stride, M)
        weights = tf.gather(cell_weights(batch, self.settings), drawn.targets, batch_dims=1)
        weights = weights * drawn.inside[..., None, None]
        guess = ops.reshape(self.to_frames(past), ops.shape(wanted))
        frames = ops.transpose(batch.tiles[..., 0], (0, 2, 1))
        last = (drawn.anchors + 1) * stride + self.settings.time_context[1] - 1
        last = ops.minimum(last, ops.shape(frames)[1] - 1)
        repeated = tf.gather(frames, last, batch_dims=1)[:, :, None, None]
        errors = (ops.abs(wanted - other) * weights for other in (guess, repeated))
        return ops.stack([ops.sum(error) for error in errors] + [ops.sum(weights)])

    def report(self, tally: Any) -> dict[str, float]:
        """`spectrogram`: share removed of the error of repeating the last frame."""
        error, naive, _ = (float(value) for value in tally)
        return {"spectrogram": 1.0 - error / naive if naive else 0.0}


def choose_tokens(guess: Any, wanted: Any, weights: Any) -> Any:
    """Choose tokens (B, A, K, bands, EMB) among those of the same step and band: a `Choice`.

    `weights` (B, A, K, bands): tokens of weight 0 are neither predicted nor candidates.
    """
    _, _, steps, bands, dimensions = ops.shape(wanted)

    def listed(tokens: Any) -> Any:
        turned = ops.transpose(tokens, (2, 3, 0, 1, 4))
        return ops.reshape(turned, (steps, bands, -1, dimensions))

    weights = ops.reshape(ops.transpose(weights, (2, 3, 0, 1)), (steps, bands, -1))
    return choose(listed(guess), listed(wanted), weights[..., None, :] > 0, weights)
