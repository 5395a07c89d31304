"""Bundle in, tokens out: ONNX Runtime, no TensorFlow.

    samples -> normalised levels -> windows of columns with a halo -> encoder -> ids

Windows begin at fixed columns of the recording and carry as much of their neighbours as the
encoder can see. The ids are therefore those of the whole recording at once, in memory that does
not grow with its length.
"""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ulmo.bundle import Bundle, BundleManifest, read_bundle
from ulmo.config import UserError
from ulmo.preprocessing.audio import read_array, read_mono
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.spectrogram import Source, normalized_levels
from ulmo.preprocessing.tiles import cut_tiles
from ulmo.tokens import Tokens, band_edges
from ulmo.vocabulary import Vocabulary

Array = NDArray[np.float32]
Ids = NDArray[np.int32]

WINDOW_COLUMNS = 56
"""Token columns that are encoded or decoded at once: four tiles at the defaults."""


DATA_FOLDER = "session.model_external_initializers_file_folder_path"
"""ONNX Runtime's option for the folder of the files that a model names; ours name none."""


class Columns(NamedTuple):
    """Some columns of a recording's tokens."""

    ids: Ids  # (n, band)
    distances: Array  # (n, band)


class Tokenizer:
    """Turns recordings into tokens, and tokens into tiles."""

    def __init__(self, bundle: Bundle, *, threads: int = 0) -> None:
        self._bundle = bundle
        self._threads = threads
        self._session = _session(bundle.encoder, threads)
        self._frontend = build_frontend(self.manifest.prep)

    @property
    def manifest(self) -> BundleManifest:
        """Everything that tokenizer.json says."""
        return self._bundle.manifest

    @property
    def vocabulary(self) -> Vocabulary:
        """What each id means."""
        return Vocabulary(self.manifest.model.codebook_size)

    def encode(
        self,
        source: str | Path | Array,
        *,
        sample_rate: int | None = None,
        channel: int | None = None,
    ) -> Tokens:
        """Tokens of a file, or of samples (n,) with full scale 1 and their rate in hertz.

        `channel` counts from 0; None is the mean of all. Raises RefusedError for a file that
        cannot be read.
        """
        if isinstance(source, str | Path):
            path = Path(source)
            return self._tokens(lambda: read_mono(path, sample_rate=self._rate, channel=channel))
        return self._tokens(lambda: read_array(source, sample_rate, self._rate))

    def columns(self, source: Source) -> Iterator[Columns]:
        """Columns of tokens as they become certain; `source` gives samples at the bundle's rate."""
        stride = self.manifest.model.time_stride
        before, after = (-(-frames // stride) for frames in self.manifest.model.time_context)
        held = np.empty((self.manifest.prep.tile_size, 0), np.float32)
        halo = 0
        levels = normalized_levels(
            source,
            self._frontend,
            self.manifest.prep,
            self.manifest.normalization,
        )
        for block in levels:
            held = np.concatenate([held, block], axis=1)
            while held.shape[1] >= (halo + WINDOW_COLUMNS + after) * stride:
                window = held[:, : (halo + WINDOW_COLUMNS + after) * stride]
                yield self._encode(window, slice(halo, halo + WINDOW_COLUMNS))
                held = held[:, (halo + WINDOW_COLUMNS - before) * stride :]
                halo = before
        if held.shape[1] > halo * stride:
            padding = ((0, 0), (0, -held.shape[1] % stride))
            yield self._encode(np.pad(held, padding), slice(halo, None))

    def encode_tiles(self, tiles: Array, valid_frames: NDArray[np.int32]) -> Columns:
        """Ids and distances (n, columns, bands) of normalised tiles (n, M, M, 1), each by itself.

        Frames from `valid_frames` (n,) on count as behind the end of the recording, as they do
        in training.
        """
        frames = np.arange(tiles.shape[2])
        sound = np.where((frames < valid_frames[:, None])[:, None, :, None], tiles, np.float32(0))
        padding = -tiles.shape[2] % self.manifest.model.time_stride
        padded = np.pad(sound, ((0, 0), (0, 0), (0, padding), (0, 0)))
        return Columns(*self._session.run(["ids", "distances"], {"tiles": padded}))

    def decode(self, tokens: Tokens) -> Array:
        """Normalised tiles (n, M, M, 1) that the ids stand for; the last one is filled with 0."""
        size = self.manifest.prep.tile_size
        blocks = [np.empty((size, 0), np.float32), *self._decoded(tokens.ids)]
        spectrogram = np.concatenate(blocks, axis=1)[:, : tokens.frames]
        tiles = [tile.values for tile in cut_tiles([spectrogram], tile_size=size, fill=0)]
        return np.array(tiles, np.float32).reshape(-1, size, size, 1)

    def decode_ids(self, ids: Ids) -> Array:
        """Normalised tiles (n, M, columns * time_stride, 1) of ids (n, columns, bands)."""
        size = self.manifest.model.codebook_size
        if ids.size and not (ids.min() >= 0 and ids.max() < size):
            raise UserError(f"only the ids 0 to {size - 1} stand for sound")
        decoded: Array = self._decoder.run(["tiles"], {"ids": ids.astype(np.int32)})[0]
        return decoded

    @property
    def _rate(self) -> int:
        return self.manifest.prep.sample_rate

    def _tokens(self, source: Source) -> Tokens:
        prep, model = self.manifest.prep, self.manifest.model
        counted = _Counter(source)
        parts = list(self.columns(counted))
        if parts:
            ids = np.concatenate([part.ids for part in parts])
            distances = np.concatenate([part.distances for part in parts])
        else:
            ids = np.empty((0, model.bands), np.int32)
            distances = np.empty((0, model.bands), np.float32)
        return Tokens(
            ids=ids,
            distances=distances,
            sample_rate=prep.sample_rate,
            hop=prep.hop_length * model.time_stride,
            edges_hz=band_edges(self._frontend.frequencies, model.frequency_stride),
            frames=-(-counted.samples // prep.hop_length),
        )

    def _encode(self, window: Array, keep: slice) -> Columns:
        tiles = np.ascontiguousarray(window)[None, :, :, None]
        ids, distances = self._session.run(["ids", "distances"], {"tiles": tiles})
        return Columns(ids[0, keep], distances[0, keep])

    def _decoded(self, ids: Ids) -> Iterator[Array]:
        stride = self.manifest.model.time_stride
        before, after = self.manifest.model.decoder_time_context
        for start in range(0, len(ids), WINDOW_COLUMNS):
            first = max(start - before, 0)
            window = ids[first : start + WINDOW_COLUMNS + after]
            columns = min(WINDOW_COLUMNS, len(ids) - start)
            skipped = (start - first) * stride
            yield self.decode_ids(window[None])[0, :, skipped : skipped + columns * stride, 0]

    @cached_property
    def _decoder(self) -> Any:
        from ulmo.graph import decoder_graph

        try:
            graph = decoder_graph(self.manifest.model, self._bundle.weights())
        except ValueError as error:
            raise UserError(f"the tokenizer's weights do not fit its settings: {error}") from None
        return _session(graph.SerializeToString(), self._threads)


class _Counter:
    """A source that counts the samples of its last run."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.samples = 0

    def __call__(self) -> Iterator[Array]:
        self.samples = 0
        for block in self._source():
            self.samples += len(block)
            yield block


def load_tokenizer(path: str | Path | None = None, *, threads: int = 0) -> Tokenizer:
    """The tokenizer of a bundle folder. `threads` 0: as many as there are cores.

    Raises UserError where the bundle is missing, damaged or not to be trusted.
    """
    if path is None:
        raise UserError(
            "no tokenizer ships with this version yet: name one, such as RUN_DIR/tokenizer"
        )
    return Tokenizer(read_bundle(Path(path)), threads=threads)


def _session(model: bytes, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry(DATA_FOLDER, os.devnull)
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # each of onnxruntime's is a plain Exception
        raise UserError(f"the bundle's ONNX model does not load: {error}") from None
