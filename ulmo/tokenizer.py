"""Recordings to tokens, and tokens to tiles and sound, on ONNX Runtime without TensorFlow.

    samples -> normalised levels -> windows of columns -> encoder -> ids
    ids -> decoder -> tiles -> sound

A recording always gets the same ids: whole or in blocks, from a file or live, with any batch size
and any number of threads. Each window is computed by one thread, in the same order
(ulmo.encoding). Memory does not grow with the length of the recording.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Ids
from ulmo.bundle.bundle import DEFAULT, Bundle, read_bundle
from ulmo.bundle.per_process import PerProcess
from ulmo.bundle.session import Device, Session
from ulmo.bundle.unk import level_of, mark_unknown
from ulmo.bundle.weights import codebook_of
from ulmo.config import JobError, UserError
from ulmo.encoding import Columns, decode_columns, encode_columns, ready_frames
from ulmo.preprocessing.audio import (
    open_recording,
    open_stream,
    read_blocks,
    read_channel,
)
from ulmo.preprocessing.clock import Clock
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.normalize import Normalization
from ulmo.preprocessing.spectrogram import SampleSource, normalized_levels
from ulmo.preprocessing.tiles import cut_tiles
from ulmo.tokens import Tokens, band_edges
from ulmo.vocabulary import Vocabulary

_MAX_BATCH = 1024
T = TypeVar("T")
R = TypeVar("R")


class TokenizerRef(NamedTuple):
    """All that another process needs to open the same tokenizer."""

    folder: Path  # absolute
    fingerprint: str
    threads: int  # as requested: 0 means one for each core of the machine that opens it
    device: Device
    unk_quantile: float | None

    def open(self) -> "Tokenizer":
        """The tokenizer; JobError if the bundle in the folder was replaced."""
        bundle = read_bundle(self.folder)
        if bundle.manifest.fingerprint != self.fingerprint:
            raise JobError(f"{self.folder} was replaced meanwhile: load or run the same again")
        return Tokenizer(
            bundle, threads=self.threads, device=self.device, unk_quantile=self.unk_quantile
        )


class Tokenizer:
    """Turns recordings into tokens, and tokens into tiles and sound; see `load_tokenizer`.

    bundle, manifest: what it was made from, and the contents of tokenizer.json.
    vocabulary: the meaning of each id.
    unk_quantile: level of `<unk>`; None means that no id is `<unk>`.
    ref: what another process needs to open the same tokenizer.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int = 0,
        device: Device = "cpu",
        unk_quantile: float | None = None,
    ) -> None:
        manifest = bundle.manifest
        self.bundle, self.manifest, self.unk_quantile = bundle, manifest, unk_quantile
        self.vocabulary = Vocabulary(manifest.model.codebook_size)
        folder = bundle.folder.absolute()
        self.ref = TokenizerRef(folder, manifest.fingerprint, threads, device, unk_quantile)
        self._thresholds: Array | None = None
        if unk_quantile is not None:
            self._thresholds = bundle.thresholds()[:, level_of(unk_quantile)]
        self._threads = threads or os.cpu_count() or 1
        self._executors = PerProcess(partial(ThreadPoolExecutor, self._threads, "ulmo"))
        self._session = Session(bundle.encoder, device=device)
        self._frontend = build_frontend(manifest.prep)
        self._rate = manifest.prep.sample_rate

    def __reduce__(self) -> tuple[Callable[[TokenizerRef], "Tokenizer"], tuple[TokenizerRef]]:
        """Pickle the bundle's place and fingerprint; whoever loads that opens the bundle."""
        return TokenizerRef.open, (self.ref,)

    @property
    def codebook(self) -> Array:
        """Vectors of the codes, (CB, EMB), float32."""
        return codebook_of(self.manifest.model, self.bundle.weights())

    @property
    def edges_hz(self) -> NDArray[np.float64]:
        """Hertz, (bands + 1,): band b lies between edges b and b + 1."""
        return band_edges(self._frontend.frequencies, self.manifest.model.frequency_stride)

    @property
    def needs_two_passes(self) -> bool:
        """Whether a recording is read to its end before its first token is made."""
        return self.manifest.prep.normalization == "recording"

    @property
    def latency_seconds(self) -> float:
        """Sound that `stream` needs, from the start of a column's first frame, to emit the column.

        It covers the column's own frames, the frames after them that the encoder sees, and what the
        front end sees after the centre of the last frame. A front end that computes frames in
        groups adds a group, and normalisation by tiles adds a tile.
        """
        prep, model = self.manifest.prep, self.manifest.model
        frames = model.time_stride + model.time_context[1] - 1
        return (frames * prep.hop_length + self._frontend.right) / prep.sample_rate

    def encode(
        self,
        source: str | Path | BinaryIO | Array,
        *,
        sample_rate: int | None = None,
        channel: int | None = None,
        batch_size: int = 1,
    ) -> Tokens:
        """Tokens of a file, an open binary file, or an array of samples.

        source: path; open binary file; or samples (n,), floats with full scale 1 or integers with
            the full scale of their type.
        sample_rate: hertz; required for samples, ignored for files.
        channel: counts from 0; None means the mean of all channels. Only for files.
        batch_size: windows that are encoded at once, 1 to 1024. It does not change the ids.

        RefusedError for a file that cannot be read; UserError for samples without a valid rate.

        >>> tokens = load_tokenizer().encode("data_samples/harmonic_calls.wav")
        >>> tokens.ids.shape, tokens.ids.dtype  # (time, band)
        ((200, 4), dtype('int32'))
        """
        if isinstance(source, np.ndarray | list | tuple | np.generic):
            samples = np.asarray(source)
            return self._tokens(lambda: read_blocks([samples], sample_rate, self._rate), batch_size)
        with ExitStack() as stack:
            start = None
            if isinstance(source, str | Path):
                recording = stack.enter_context(open_recording(Path(source)))
                start = Clock().start(Path(source))
            else:
                recording = stack.enter_context(open_stream(source))
            return self._tokens(
                lambda: read_channel(recording, channel, self._rate),
                batch_size,
                start_utc=start.utc if start else None,
            )

    def stream(
        self,
        blocks: Iterable[Array],
        *,
        sample_rate: int,
        start_utc: datetime | None = None,
    ) -> Iterator[Tokens]:
        """Tokens of sound that arrives in blocks, each column as soon as it can no longer change.

        blocks: samples (n,) each, of any length; floats with full scale 1, or integers.
        sample_rate: hertz.
        start_utc: time of the first sample.

        The parts, joined, are the Tokens that `encode` returns for all of the sound. Columns come
        `latency_seconds` behind the sound. UserError if normalisation needs the whole recording,
        or for a rate that is not valid.

        >>> blocks = [np.zeros(8000, np.float32)] * 4
        >>> parts = list(load_tokenizer().stream(blocks, sample_rate=16000))
        >>> sum(len(part.ids) for part in parts)
        50
        """
        if self.needs_two_passes:
            raise UserError(
                "this tokenizer normalises by the whole recording, and a stream has no end yet: "
                "use encode, or a tokenizer trained with normalization corpus"
            )
        return self._parts(
            lambda: read_blocks(blocks, sample_rate, self._rate), eager=True, start_utc=start_utc
        )

    def columns(
        self, source: SampleSource, *, batch_size: int = 1, eager: bool = False
    ) -> Iterator[Columns]:
        """Columns of tokens of a source, which yields blocks of samples (n,) at the bundle's rate.

        `eager`: each column as soon as it is certain, rather than with its whole window.
        """
        check_batch_size(batch_size)
        model = self.manifest.model
        levels = normalized_levels(
            source,
            self._frontend,
            self.manifest.prep,
            self.manifest.normalization,
            ready=ready_frames(model) if eager else None,
        )
        alone = eager or self._threads == 1
        return encode_columns(
            levels,
            self._run,
            model,
            batch_size=batch_size,
            eager=eager,
            executor=None if alone else self._executor,
            ahead=0 if alone else self._threads + 1,
        )

    def encode_tiles(self, tiles: Array, valid_frames: NDArray[np.int32]) -> Columns:
        """Ids and distances (n, columns, bands) of normalised tiles (n, M, M, 1), each on its own.

        Frames from `valid_frames` (n,) on are set to zero, as behind the end of a recording.
        """
        frames = np.arange(tiles.shape[2])
        sound = np.where((frames < valid_frames[:, None])[:, None, :, None], tiles, np.float32(0))
        padding = -tiles.shape[2] % self.manifest.model.time_stride
        padded = np.pad(sound, ((0, 0), (0, 0), (0, padding), (0, 0)))
        batches = np.array_split(padded, min(self._threads, len(tiles)))
        return Columns.joined(self._map(self._run, batches))

    def decode(self, tokens: Tokens) -> Array:
        """Tiles (n, M, M, 1) that the ids stand for, float32, in normalised levels.

        A tile is [bin, frame, 1], bin 0 the lowest frequency. The last tile is filled with zeros.
        UserError for ids that are neither codes nor `<unk>`.

        >>> tokenizer = load_tokenizer()
        >>> tokenizer.decode(tokenizer.encode("data_samples/harmonic_calls.wav")).shape
        (4, 224, 224, 1)
        """
        size = self.manifest.prep.tile_size
        tiles = [tile.values for tile in cut_tiles([self._plane(tokens)], tile_size=size, fill=0)]
        return np.array(tiles, np.float32).reshape(-1, size, size, 1)

    def decode_ids(self, ids: Ids) -> Array:
        """Normalised tiles (n, M, columns * time_stride, 1) of ids (n, columns, bands).

        An `<unk>` has no code: it is decoded as a latent of zeros. UserError for other ids.
        """
        unk = self.vocabulary.unk
        if ids.size and not (ids.min() >= 0 and ids.max() <= unk):
            raise UserError(f"only ids 0 to {unk - 1} and <unk> ({unk}) can be decoded")
        decoded: Array = self._decoder.run(["tiles"], {"ids": ids.astype(np.int32)})[0]
        return decoded

    def resynthesize(
        self, tokens: Tokens, *, normalization: Normalization | None = None, iterations: int = 32
    ) -> Array:
        """Sound (frames * hop_length,) whose spectrogram is the decoded one, float32, full scale 1.

        tokens: of a tokenizer with front end `stft` or `mel`.
        normalization: constants of the recording or tile, if the bundle has none of its own.
        iterations: of the Griffin-Lim algorithm, which estimates the phases; tokens have none.

        The rate is `tokens.sample_rate`. Normalisation `level` removes the slow changes of the
        level, so the sound has a constant level. UserError for a front end or normalisation that
        cannot be inverted. Needs librosa.

        >>> tokenizer = load_tokenizer()
        >>> tokens = tokenizer.encode("data_samples/harmonic_calls.wav")
        >>> tokenizer.resynthesize(tokens, iterations=1).shape
        (128000,)
        """
        from ulmo.preprocessing.inverse import invert

        constants = normalization or self.manifest.normalization
        return invert(self._plane(tokens), self.manifest.prep, constants, iterations=iterations)

    @property
    def _executor(self) -> ThreadPoolExecutor:
        return self._executors.get()

    def _map(self, function: Callable[[T], R], arguments: Iterable[T]) -> Iterator[R]:
        if self._threads == 1:
            return map(function, arguments)
        return self._executor.map(function, arguments)

    def _run(self, tiles: Array) -> Columns:
        ids, distances = self._session.run(["ids", "distances"], {"tiles": tiles})
        if self._thresholds is not None:
            ids = mark_unknown(ids, distances, self._thresholds, self.vocabulary.unk)
        return Columns(ids, distances)

    def _parts(
        self,
        source: SampleSource,
        *,
        batch_size: int = 1,
        eager: bool = False,
        start_utc: datetime | None = None,
    ) -> Iterator[Tokens]:
        """Tokens, a few columns at a time."""
        prep, model = self.manifest.prep, self.manifest.model
        samples = 0

        def counted() -> Iterator[Array]:
            nonlocal samples
            samples = 0  # a source may be run twice
            for block in source():
                samples += len(block)
                yield block

        first = 0  # column
        for part in self.columns(counted, batch_size=batch_size, eager=eager):
            left = -(-samples // prep.hop_length) - first * model.time_stride
            frames = min(len(part.ids) * model.time_stride, left)
            yield self._placed(part, first, frames, start_utc)
            first += len(part.ids)

    def _tokens(
        self, source: SampleSource, batch_size: int, *, start_utc: datetime | None = None
    ) -> Tokens:
        parts = list(self._parts(source, batch_size=batch_size, start_utc=start_utc))
        shape = (0, self.manifest.model.bands)
        none = Columns(np.empty(shape, np.int32), np.empty(shape, np.float32))
        whole = Columns.joined([none, *(Columns(part.ids, part.distances) for part in parts)])
        return self._placed(whole, 0, sum(part.frames for part in parts), start_utc)

    def _placed(
        self, columns: Columns, first: int, frames: int, start_utc: datetime | None
    ) -> Tokens:
        prep, model = self.manifest.prep, self.manifest.model
        hop = prep.hop_length * model.time_stride
        return Tokens(
            ids=columns.ids,
            distances=columns.distances,
            sample_rate=prep.sample_rate,
            hop=hop,
            edges_hz=self.edges_hz,
            frames=frames,
            start=first * hop,
            start_utc=start_utc,
            fingerprint=self.manifest.fingerprint,
            unk_quantile=self.unk_quantile,
        )

    def _plane(self, tokens: Tokens) -> Array:
        """The normalised spectrogram (M, frames) that the ids stand for."""
        blocks = [np.empty((self.manifest.prep.tile_size, 0), np.float32)]
        blocks += decode_columns(tokens.ids, self.decode_ids, self.manifest.model, self._map)
        return np.concatenate(blocks, axis=1)[:, : tokens.frames]

    @cached_property
    def _decoder(self) -> Session:
        from ulmo.bundle.graph import decoder_graph

        graph = decoder_graph(self.manifest.model, self.bundle.weights())
        return Session(graph.to_bytes(), device=self.ref.device)


def check_batch_size(batch_size: int) -> None:
    """Raise UserError unless a batch has 1 to 1024 windows."""
    if not 1 <= batch_size <= _MAX_BATCH:
        raise UserError(f"batch_size must be from 1 to {_MAX_BATCH}, not {batch_size}")


def load_tokenizer(
    path: str | Path | None = None,
    *,
    threads: int = 0,
    device: Device = "cpu",
    unk_quantile: float | None = None,
) -> Tokenizer:
    """The tokenizer in a bundle folder.

    path: the bundle; None means the one that ships with ulmo.
    threads: 0 means one for each core. The ids do not depend on it.
    device: `cpu`, or `cuda` with onnxruntime-gpu, whose ids may differ where two codes are equally
        near.
    unk_quantile: 0.9, 0.95, 0.99 or 0.999. A vector farther from its code than this share of the
        code's training vectors becomes `<unk>`. None means never.

    UserError if the bundle is missing, damaged or not trustworthy, or an option is not valid.

    >>> tokenizer = load_tokenizer()
    >>> tokenizer.manifest.prep.sample_rate
    16000
    """
    bundle = read_bundle(DEFAULT if path is None else Path(path))
    return Tokenizer(bundle, threads=threads, device=device, unk_quantile=unk_quantile)
