"""k-means without a network: on patches of the tiles, and on MFCCs. What everyone starts from."""

import math
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans

from benchmarks.material import write_tokenizer
from ulmo.config import ModelSettings, UserError
from ulmo.dataset import ModelOutput, TileModel
from ulmo.pipelines.evaluate.encoders import AudioEncoder
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.reading.audio import read_mono
from ulmo.preprocessing.spectrogram import normalized_levels
from ulmo.preprocessing.store import TileStore
from ulmo.tokenizer import load_tokenizer

Array = NDArray[np.float32]
CODES = 512
BATCH = 4096
"""Vectors of a step of scikit-learn's MiniBatchKMeans."""
RATE, HOP = 16_000, 160
SEED = 0


def fit(vectors: Array, seconds: float = math.inf, epochs: int | None = None) -> MiniBatchKMeans:
    """k-means++, then steps on shuffled vectors (n, d) until the time or the epochs are over."""
    begun, rng = time.monotonic(), np.random.default_rng(SEED)
    kmeans = MiniBatchKMeans(CODES, batch_size=BATCH, n_init=1, random_state=SEED)
    for _ in count() if epochs is None else range(epochs):
        order = rng.permutation(len(vectors))
        for start in range(0, max(len(order) - BATCH, 0) + 1, BATCH):
            kmeans.partial_fit(vectors[np.sort(order[start : start + BATCH])])
            if time.monotonic() - begun > seconds:
                return kmeans
    return kmeans


def patches_of(tiles: Array, model: ModelSettings) -> Array:
    """(n, bins, frames, 1) to (n, columns, bands, stride * stride); zeros behind the last frame."""
    rows, frames = model.frequency_stride, model.time_stride
    missing = [(0, 0), (0, -tiles.shape[1] % rows), (0, -tiles.shape[2] % frames)]
    plane = np.pad(tiles[..., 0], missing)
    count, bins, length = plane.shape
    cells = plane.reshape(count, bins // rows, rows, length // frames, frames)
    return cells.transpose(0, 3, 1, 2, 4).reshape(count, length // frames, bins // rows, -1)


def tiles_of(patches: Array, model: ModelSettings) -> Array:
    """The way back, (n, columns, bands, stride * stride) to (n, bins, frames, 1)."""
    rows, frames = model.frequency_stride, model.time_stride
    count, columns, bands, _ = patches.shape
    cells = patches.reshape(count, columns, bands, rows, frames).transpose(0, 2, 3, 1, 4)
    return cells.reshape(count, bands * rows, columns * frames, 1)


class Patches:
    """k-means on the patches of the training tiles."""

    def __init__(self, tiles: Path, seconds: float) -> None:
        self.store = TileStore(tiles)
        self.model = ModelSettings()
        kept = [self._valid(index) for index in np.flatnonzero(self.store.views == 0)]
        self._kmeans = fit(np.concatenate(kept), seconds)

    def _valid(self, index: int) -> Array:
        """Patches (n, 256) of a tile that lie before its sound's end."""
        columns = -(-int(self.store.valid_frames[index]) // self.model.time_stride)
        patches = patches_of(self.store.read([index]), self.model)[0, :columns]
        return patches.reshape(-1, patches.shape[-1])

    def nearest(self, patches: Array) -> NDArray[np.int32]:
        """Ids (...) of patches (..., 256)."""
        flat = np.ascontiguousarray(patches.reshape(-1, patches.shape[-1]), np.float32)
        ids: NDArray[np.int32] = self._kmeans.predict(flat).astype(np.int32)
        return ids.reshape(patches.shape[:-1])

    def forward(self) -> TileModel:
        """Tiles to their centroids, and back."""
        centroids = self._kmeans.cluster_centers_.astype(np.float32)

        def forward(tiles: Array, valid_frames: NDArray[np.int32]) -> ModelOutput:
            frames = np.arange(tiles.shape[2])
            masked = np.where((frames < valid_frames[:, None])[:, None, :, None], tiles, 0)
            patches = patches_of(masked, self.model)
            ids = self.nearest(patches)
            distances = np.square(patches - centroids[ids]).sum(axis=-1)
            made = tiles_of(centroids[ids], self.model)
            return ModelOutput(made[:, : tiles.shape[1], : tiles.shape[2]], ids, distances)

        return forward

    def encoder(self, folder: Path) -> AudioEncoder:
        """Samples to ids; `folder` is free, for a tokenizer that tells sound from silence."""
        prep, constants = self.store.manifest.settings, self.store.manifest.normalization
        frontend = build_frontend(prep)

        def encode(samples: Array) -> NDArray[np.int32]:
            blocks = normalized_levels([samples], frontend, prep, constants)
            plane = np.concatenate([np.empty((prep.tile_size, 0), np.float32), *blocks], axis=1)
            return self.nearest(patches_of(plane[None, ..., None], self.model))[0]

        return AudioEncoder.of(load_tokenizer(write_tokenizer(folder)))._replace(encode=encode)


class Mfcc:
    """k-means on z-scored MFCC-39 at 10 ms, or on means of several such frames."""

    def __init__(
        self,
        recordings: Sequence[Path],
        seconds: float = math.inf,
        epochs: int | None = None,
        *,
        frames: int = 1,
    ) -> None:
        self._frames = frames
        vectors = np.concatenate([self._means(samples) for samples in _samples(recordings)])
        self._mean, self._spread = vectors.mean(axis=0), vectors.std(axis=0)
        self._kmeans = fit(self._scaled(vectors), seconds, epochs)

    @property
    def codebook(self) -> Array:
        """The centroids (512, 39)."""
        centroids: Array = self._kmeans.cluster_centers_.astype(np.float32)
        return centroids

    def _means(self, samples: Array) -> Array:
        """Means of `frames` frames each; the last may have fewer."""
        mfcc = _mfcc(samples)
        starts = np.arange(0, len(mfcc), self._frames)
        sums: Array = np.add.reduceat(mfcc, starts)
        return sums / np.diff(starts, append=len(mfcc))[:, None].astype(np.float32)

    def _scaled(self, vectors: Array) -> Array:
        return np.ascontiguousarray((vectors - self._mean) / self._spread, np.float32)

    def vectors(self, samples: Array) -> Array:
        """What is clustered, as latents of one band: (time, 1, 39)."""
        return self._scaled(self._means(samples))[:, None]

    def encoder(self) -> AudioEncoder:
        """Samples to ids (time, 1)."""

        def encode(samples: Array) -> NDArray[np.int32]:
            ids: NDArray[np.int32] = self._kmeans.predict(self.vectors(samples)[:, 0])
            return ids.astype(np.int32)[:, None]

        return AudioEncoder(encode, RATE, HOP * self._frames, CODES, tile_samples=224 * HOP)


def _mfcc(samples: Array) -> Array:
    """13 coefficients, their first and their second differences, (frames, 39)."""
    import librosa

    options = {"n_mfcc": 13, "n_fft": 400, "hop_length": HOP, "n_mels": 40}
    static = librosa.feature.mfcc(y=samples, sr=RATE, **options)
    width = min(9, (static.shape[1] - 1) // 2 * 2 + 1)  # librosa wants odd, and no more than frames
    if width < 3:
        return np.pad(static, ((0, 26), (0, 0))).T.astype(np.float32)
    slopes = [librosa.feature.delta(static, width=width, order=order) for order in (1, 2)]
    return np.concatenate([static, *slopes]).T.astype(np.float32)


def _samples(recordings: Sequence[Path]) -> Iterator[Array]:
    if not recordings:
        raise UserError("there is no recording of a training speaker")
    for path in recordings:
        yield np.concatenate(list(read_mono(path, sample_rate=RATE)))
