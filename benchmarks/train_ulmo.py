"""ulmo's training as ulmo-train does it: `python -m benchmarks.train_ulmo TILES_DIR DATA`.

DATA is a folder that benchmarks.train writes; it lists the validation tiles in TILES_DIR.
"""

import argparse
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.learners import BATCH, LEARNING_RATE, THREADS, serve
from benchmarks.report import Silent
from ulmo.config import ModelSettings, TrainSettings
from ulmo.pipelines.loading import loading_tensorflow
from ulmo.preprocessing.store import TileStore


class Ulmo:
    """The trainer's model, its step and its tiles."""

    def __init__(self, tiles: Path, data: Path, folder: Path, *, bf16: bool) -> None:
        with loading_tensorflow():
            from ulmo.pipelines.train.trainer import Trainer

        self._store = TileStore(tiles)
        settings = TrainSettings(
            batch_size=BATCH, learning_rate=LEARNING_RATE, threads=THREADS, mixed_precision=bf16
        )
        self._trainer = Trainer(self._store, folder, ModelSettings(), settings, Silent())
        self._rows = np.load(data / "rows.npy")
        self.tiles = len(self._trainer.split.train)

    def start(self) -> None:
        """Begin training, with k-means."""
        self._trainer.begin()

    def step(self, rows: NDArray[np.int64]) -> None:
        """Train on a batch as the trainer does, without logs and at a constant learning rate."""
        rows = self._trainer.split.train[rows]
        self._trainer.take_step(self._trainer.feed.batch(rows, number=0))

    def error(self) -> float:
        """The mean squared error on the validation tiles."""
        forward, frames = self._trainer.forward(), np.arange(self._store.tile_size)
        squares = cells = 0.0
        for start in range(0, len(self._rows), BATCH):
            rows = self._rows[start : start + BATCH]
            x, valid = self._store.read(rows), self._store.valid_frames[rows]
            mask = (frames < valid[:, None])[:, None, :, None]
            squares += float(np.square((forward(x, valid).reconstructions - x) * mask).sum())
            cells += float(mask.sum()) * x.shape[1]
        return squares / cells


def main() -> None:
    """Train as benchmarks.learners asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tiles", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ulmo = Ulmo(options.tiles, options.data, Path(folder), bf16=options.bf16)
        serve(ulmo, {name: version(name) for name in ("ulmo", "tensorflow", "keras")})


if __name__ == "__main__":
    main()
