"""What is missing: masked spans of frames and bands of bins, from what surrounds them.

Masked autoencoders (He et al. 2021, arXiv:2111.06377), on spectrograms (Huang et al. 2022,
arXiv:2207.06405, whose decoder too sees what is near in time and frequency).
"""

from typing import Any

from keras import ops

from ulmo.config import OBJECTIVE_TRAITS, ModelSettings
from ulmo.models.draws import Draws
from ulmo.models.objectives.base import Encoded, Objective, Outcome
from ulmo.models.objectives.cells import cell_weights, cells_of, valid_cells
from ulmo.models.objectives.columns import ColumnNetwork, dense, joined, layers_for
from ulmo.models.objectives.spans import spans
from ulmo.models.vqvae import VQVAE


class Infill(Objective):
    """Predicts hidden cells by a light head on the latents of what is left of a tile.

    Hidden are spans of `frames` = 16 (0.16 s; at most a quarter of the tile), about
    `frames_share` = 0.3 of all frames, and bands of an eighth of the bins, about `bins_share` =
    0.2 of them: 44 % of the cells. Masked autoencoders hide 75 to 80 %, but they leave what is
    hidden out of their encoder; a convolution sees it as 0, the mean, and is to work on whole
    tiles in the end. The loss is the mean squared error of the hidden cells, each by its token's
    weight.

    The head: columns joined, two-sided convolutions that reach over a span, one linear map to the
    cells of a column. Its score is the share of the naive guess's error that is overcome. The
    naive guess is the mean of what is seen of the same bin in the tile; of the same frame, where
    the bin is hidden all through; 0 where both are.
    """

    traits = OBJECTIVE_TRAITS["infill"]

    def __init__(
        self,
        settings: ModelSettings,
        seed: int = 0,
        *,
        frames: int = 16,
        frames_share: float = 0.3,
        bins_share: float = 0.2,
        width: int = 128,
        **kwargs: Any,
    ) -> None:
        super().__init__(settings, seed, **kwargs)
        self.frames = max(1, min(frames, settings.tile_size // 4))
        self.bins = max(1, settings.tile_size // 8)
        self.frames_share = frames_share
        self.bins_share = bins_share
        self.width = width

    def begin(self, model: VQVAE) -> None:
        """The head."""
        settings = self.settings
        reached = -(-self.frames // settings.time_stride)
        self.network = ColumnNetwork(
            layers=layers_for(reached, causal=False),
            causal=False,
            width=self.width,
            seed=self.seed,
        )
        self.network.build((None, None, settings.bands * settings.embedding_dim))
        self.to_cells = dense(settings.time_stride * settings.tile_size, self.seed + 101)
        self.to_cells.build((None, None, self.width))

    def hide(self, tiles: Any, draws: Draws) -> Any:
        """(B, M, frames, 1) bool: the cells of tiles that are hidden."""
        batch, bins, frames, _ = ops.shape(tiles)
        hidden_bins = spans(draws, batch, bins, self.bins, self.bins_share)
        hidden_frames = spans(draws, batch, frames, self.frames, self.frames_share)
        return ops.logical_or(hidden_bins[:, :, None, None], hidden_frames[:, None, :, None])

    def measure(self, encoded: Encoded) -> Outcome:
        """The mean squared error of hidden cells, and its share of the naive guess's."""
        batch, stride = encoded.batch, self.settings.time_stride
        hidden = self.hide(batch.tiles, Draws(self.seed, encoded.step))
        cells, missing = (
            cells_of(ops.cast(part, "float32"), stride) for part in (batch.tiles, hidden)
        )
        naive = naive_guess(cells, (1.0 - missing) * valid_cells(batch, stride))
        weights = missing * cell_weights(batch, self.settings)
        error = squared_error(self.guess(encoded, hidden), cells, weights)
        share = ops.divide_no_nan(error, squared_error(naive, cells, weights))
        return Outcome(loss=error, score=1.0 - share, chance=ops.zeros(()))

    def guess(self, encoded: Encoded, hidden: Any) -> Any:
        """Cells (B, columns, time_stride, M) from tiles whose `hidden` ones none can see."""
        batch, settings = encoded.batch, self.settings
        shown = ops.where(hidden, 0.0, batch.tiles)
        latents = encoded.model.encode(shown, batch.valid_frames)
        cells = self.to_cells(self.network(joined(latents)))
        return ops.reshape(cells, (*ops.shape(cells)[:2], settings.time_stride, settings.tile_size))


def squared_error(guess: Any, cells: Any, weights: Any) -> Any:
    """Weighted mean over cells, scalar; 0 where none weighs anything."""
    return ops.divide_no_nan(ops.sum(ops.square(guess - cells) * weights), ops.sum(weights))


def naive_guess(cells: Any, seen: Any) -> Any:
    """What one who knows no sounds puts in cells (B, columns, stride, M); `seen` is 1 or 0."""
    by_bin, any_of_bin = _mean_seen(cells, seen, (1, 2))
    by_frame, _ = _mean_seen(cells, seen, (3,))
    return ops.where(any_of_bin, by_bin, by_frame)


def _mean_seen(cells: Any, seen: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    """Means of what is seen along axes, 0 where that is nothing; and where it is something."""
    count = ops.sum(seen, axis=axes, keepdims=True)
    total = ops.sum(cells * seen, axis=axes, keepdims=True)
    return ops.divide_no_nan(total, count), count > 0
