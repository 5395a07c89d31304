"""What comes next: from the past columns, the latents and the frames of those to come.

Latents contrastively, as in CPC (van den Oord, Li and Vinyals 2018, arXiv:1807.03748, equations 3
and 4), and the spectrogram by its absolute error, as in APC (Chung et al. 2019, arXiv:1904.03240,
equation 1).
"""

from typing import Any, NamedTuple

import tensorflow as tf
from keras import ops

from ulmo.config import OBJECTIVE_TRAITS, ModelSettings, UserError
from ulmo.models.draws import Draws
from ulmo.models.objectives.base import EncodedBatch, Objective, TaskResult
from ulmo.models.objectives.cells import cell_weights, cells_of
from ulmo.models.objectives.columns import ColumnNetwork, dense, joined, layers_for
from ulmo.models.objectives.info_nce import choose
from ulmo.models.vqvae import VQVAE

MEMORY = 50  # frames, half a second, that the context looks back at least


class Drawn(NamedTuple):
    """The columns of a batch that are predicted from, A of each tile, and K to predict for each."""

    anchors: Any  # (B, A) int32
    targets: Any  # (B, A, K) int32; within the grid, so that they can be looked up
    inside: Any  # (B, A, K) float32: 0 where the target would lie beyond the grid, else 1


class NextFrame(Objective):
    """Predicts from a causal context, by a linear map for each step ahead.

    Strictly causal: a column of latents sees `time_context[1]` frames beyond its own, so the
    first column that is predicted begins after the last frame that the context can have seen:
    `lead` columns are left out, 0.14 s of the 56 x 4 grid. What the context has seen holds no
    frame of a target. A target's latents look back, as any column's do, at frames that the
    context has seen too, as the overlapping windows of CPC do: it is the part of a target that is
    easy. That every candidate has such a part, and that candidates of the same tile may be its
    neighbours, leaves what is particular to be predicted.

    Latents: a token's own prediction against the tokens of the same band, as far ahead, of all
    anchors of the batch, of the same tile and of others. Negatives take no part if they are
    padding. `anchors` = 256 a batch: as many negatives; more cost time with their square, and
    tell little of a batch of some tiles. They are drawn by the weights of the first column ahead,
    so that silence is rarely one.
    Frames: the mean absolute error of the cells of the same columns, times `spectrogram` = 0.1:
    the maps learn, and the latents decide. (ABX error of the latents of spoken digits, within and
    across speakers, after 150 steps of 16 tiles: at 0 8.9 and 20.0 %, at 1 9.7 and 20.8, at 4
    11.3 and 23.8.)
    `steps` = 4 over `horizon` = 16 frames, evenly: 0.16 s beyond the lead, so that a phone's
    length is looked over, and no more can be foretold of most sounds. CPC takes 12 steps of 10 ms.
    Where a column is longer than a step, steps fall together: 16 x 16 has the one.

    Its score is that of the latents' choice. `report` tells of the frames: `spectrogram`, the
    share of the error of one who repeats the last frame seen that is overcome; 0 is chance.
    """

    traits = OBJECTIVE_TRAITS["next_frame"]

    def __init__(
        self,
        settings: ModelSettings,
        seed: int = 0,
        *,
        steps: int = 4,
        horizon: int = 16,
        anchors: int = 256,
        spectrogram: float = 0.1,
        width: int = 128,
        **kwargs: Any,
    ) -> None:
        super().__init__(settings, seed, **kwargs)
        stride = settings.time_stride
        self.lead = -(-settings.time_context[1] // stride)
        reached = {-(-horizon * (step + 1) // (steps * stride)) for step in range(steps)}
        self.ahead = tuple(self.lead + column for column in sorted(reached))
        if self.ahead[0] >= settings.columns:
            raise UserError(
                f"next_frame has nothing to predict: its first target is {self.ahead[0]} columns "
                f"ahead, and a tile has {settings.columns}: set a smaller time_stride"
            )
        self.anchors = anchors
        self.spectrogram = spectrogram
        self.width = width

    def begin(self, model: VQVAE) -> None:
        """The context network and the two maps, each for all steps."""
        settings, steps = self.settings, len(self.ahead)
        column = settings.bands * settings.embedding_dim
        self.network = ColumnNetwork(
            layers=layers_for(-(-MEMORY // settings.time_stride), causal=True),
            causal=True,
            width=self.width,
            seed=self.seed,
        )
        self.network.build((None, None, column))
        self.to_latents = dense(steps * column, self.seed + 101)
        self.to_frames = dense(steps * settings.time_stride * settings.tile_size, self.seed + 102)
        for head in (self.to_latents, self.to_frames):
            head.build((None, None, self.width))

    def context(self, latents: Any) -> Any:
        """(B, columns, width): all that each column of latents and those before it tell."""
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

    def draw(self, weights: Any, draws: Draws) -> Drawn:
        """Columns to predict from, without replacement, by the weights of their first target.

        `weights` (B, columns, bands). As the quantizer's draws (Efraimidis and Spirakis 2006); a
        column whose target lies beyond the grid or weighs 0 comes last.
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
        return Drawn(anchors, ops.minimum(targets, columns - 1), inside)

    def _frames(self, encoded: EncodedBatch, drawn: Drawn, past: Any) -> Any:
        """(3,): absolute errors, those of the last frame seen, and the weights; sums over cells."""
        stride, batch = self.settings.time_stride, encoded.batch
        cells = cells_of(batch.tiles, stride)  # (B, columns, stride, M)
        wanted = tf.gather(cells, drawn.targets, batch_dims=1)  # (B, A, K, stride, M)
        weights = tf.gather(cell_weights(batch, self.settings), drawn.targets, batch_dims=1)
        weights = weights * drawn.inside[..., None, None]
        guess = ops.reshape(self.to_frames(past), ops.shape(wanted))
        frames = ops.transpose(batch.tiles[..., 0], (0, 2, 1))
        last = (drawn.anchors + 1) * stride + self.settings.time_context[1] - 1
        last = ops.minimum(last, ops.shape(frames)[1] - 1)
        heard = tf.gather(frames, last, batch_dims=1)[:, :, None, None]
        errors = (ops.abs(wanted - other) * weights for other in (guess, heard))
        return ops.stack([ops.sum(error) for error in errors] + [ops.sum(weights)])

    def report(self, tally: Any) -> dict[str, float]:
        """`spectrogram`: share of the error of repeating the last frame that is overcome."""
        error, naive, _ = (float(value) for value in tally)
        return {"spectrogram": 1.0 - error / naive if naive else 0.0}


def choose_tokens(guess: Any, wanted: Any, weights: Any) -> Any:
    """The Choice of tokens (B, A, K, bands, EMB), among those of the same step and band.

    `weights` (B, A, K, bands): 0 for what is neither to be predicted nor to be chosen.
    """
    _, _, steps, bands, dimensions = ops.shape(wanted)

    def listed(tokens: Any) -> Any:
        turned = ops.transpose(tokens, (2, 3, 0, 1, 4))
        return ops.reshape(turned, (steps, bands, -1, dimensions))

    weights = ops.reshape(ops.transpose(weights, (2, 3, 0, 1)), (steps, bands, -1))
    return choose(listed(guess), listed(wanted), weights[..., None, :] > 0, weights)
