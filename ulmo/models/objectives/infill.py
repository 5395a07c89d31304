"""Infill: predict masked spans of frames and bins from their surroundings.

Masked autoencoders (He et al. 2021, arXiv:2111.06377), on spectrograms (Huang et al. 2022,
arXiv:2207.06405, whose decoder also attends to what is near in time and frequency).
"""

from typing import Any

from keras import ops

from ulmo.config import OBJECTIVE_TRAITS, ModelSettings
from ulmo.models.draws import Draws
from ulmo.models.objectives.base import EncodedBatch, Objective, TaskResult, share_removed
from ulmo.models.objectives.cells import cell_weights, cells_of, valid_cells
from ulmo.models.objectives.columns import ColumnNetwork, dense, joined
from ulmo.models.vqvae import VQVAE


class Infill(Objective):
    """Predicts hidden cells with a light head on the latents of the masked tile.

    Hidden are spans of frames (at most a quarter of the tile), and bands of an eighth of the bins:
    44 % of the cells in all. Masked autoencoders hide 75 to 80 %, but their encoder
    skips hidden cells; a convolution sees them as 0, the mean, and must later work on whole tiles.
    The loss is the mean squared error of the hidden cells, weighted by their tokens.

    The head joins the bands of a column, applies two-sided convolutions that reach over a span, and
    maps each column linearly to its cells. The score is the share of a naive guess's error that the
    prediction removes. The naive guess is the mean of the visible cells of the same bin; if the
    whole bin is hidden, of the same frame; if both are, 0.
    """

    traits = OBJECTIVE_TRAITS["infill"]
    span = 16  # frames: 0.16 s
    frames_share = 0.3  # of all frames, about
    bins_share = 0.2  # of all bins, about
    width = 128

    def __init__(self, settings: ModelSettings, seed: int = 0) -> None:
        super().__init__(settings, seed)
        self.frames = max(1, min(self.span, settings.tile_size // 4))
        self.bins = max(1, settings.tile_size // 8)

    def begin(self, model: VQVAE) -> None:
        """Create the head."""
        settings = self.settings
        reached = -(-self.frames // settings.time_stride)
        self.network = ColumnNetwork(
            settings.column_length, reached, causal=False, width=self.width, seed=self.seed
        )
        cells = settings.time_stride * settings.tile_size
        self.to_cells = dense(self.width, cells, self.seed + 101)

    def hide(self, tiles: Any, draws: Draws) -> Any:
        """(B, M, frames, 1) bool: which cells to hide."""
        batch, bins, frames, _ = ops.shape(tiles)
        hidden_bins = draws.spans(batch, bins, self.bins, self.bins_share)
        hidden_frames = draws.spans(batch, frames, self.frames, self.frames_share)
        return ops.logical_or(hidden_bins[:, :, None, None], hidden_frames[:, None, :, None])

    def measure(self, encoded: EncodedBatch) -> TaskResult:
        """Mean squared error of the hidden cells, and the share of the naive error removed."""
        batch, stride = encoded.batch, self.settings.time_stride
        hidden = self.hide(batch.tiles, Draws(self.seed, encoded.step))
        cells, missing = (
            cells_of(ops.cast(part, "float32"), stride) for part in (batch.tiles, hidden)
        )
        naive = naive_guess(cells, (1.0 - missing) * valid_cells(batch, stride))
        weights = missing * cell_weights(batch, self.settings)
        error = _squared_error(self.guess(encoded, hidden), cells, weights)
        score = share_removed(error, _squared_error(naive, cells, weights))
        return TaskResult(loss=error, score=score, chance=ops.zeros(()))

    def guess(self, encoded: EncodedBatch, hidden: Any) -> Any:
        """Predict cells (B, columns, time_stride, M) of tiles whose `hidden` cells are 0."""
        batch, settings = encoded.batch, self.settings
        shown = ops.where(hidden, 0.0, batch.tiles)
        latents = encoded.model.encode(shown, batch.valid_frames)
        cells = self.to_cells(self.network(joined(latents)))
        return ops.reshape(cells, (*ops.shape(cells)[:2], settings.time_stride, settings.tile_size))


def _squared_error(guess: Any, cells: Any, weights: Any) -> Any:
    """Weighted mean over cells, a scalar; 0 if all weights are 0."""
    return ops.divide_no_nan(ops.sum(ops.square(guess - cells) * weights), ops.sum(weights))


def naive_guess(cells: Any, seen: Any) -> Any:
    """Guess cells (B, columns, stride, M) by means of visible ones; `seen` is 1 or 0."""
    by_bin, any_of_bin = _mean_seen(cells, seen, (1, 2))
    by_frame, _ = _mean_seen(cells, seen, (3,))
    return ops.where(any_of_bin, by_bin, by_frame)


def _mean_seen(cells: Any, seen: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    """Means of the visible cells along axes (0 if there are none), and whether there are any."""
    count = ops.sum(seen, axis=axes, keepdims=True)
    total = ops.sum(cells * seen, axis=axes, keepdims=True)
    return ops.divide_no_nan(total, count), count > 0
