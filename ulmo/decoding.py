"""Tokens to tiles and sound: the half of a tokenizer that needs no front end."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Ids
from ulmo.bundle.bundle import Bundle
from ulmo.bundle.cost import most_windows
from ulmo.bundle.per_process import PerProcess
from ulmo.bundle.session import Device, Session
from ulmo.bundle.weights import codebook_of
from ulmo.config import LIMITS, Limits, UserError
from ulmo.config.arguments import instance_of, whole_number
from ulmo.encoding import WINDOW_COLUMNS, decode_stretches
from ulmo.pictures.colours import code_colours
from ulmo.preprocessing.normalize import Normalization
from ulmo.preprocessing.tiles import cut_tiles
from ulmo.tokens import Tokens
from ulmo.vocabulary import Vocabulary

T = TypeVar("T")
R = TypeVar("R")

_MAX_THREADS = 1024
_MAX_ITERATIONS = 10_000
_CODES_AT_ONCE = 64


class Decoder:
    """Turns tokens into tiles and sound; `ulmo.tokenizer.Tokenizer` is one that encodes as well.

    bundle, manifest: what it was made from, and the contents of tokenizer.json.
    vocabulary: the meaning of each id.
    limits: what is computed at once takes no more memory; with many threads, some then wait.
    """

    def __init__(
        self, bundle: Bundle, *, threads: int, device: Device, limits: Limits = LIMITS
    ) -> None:
        self.bundle, self.manifest, self.limits = bundle, bundle.manifest, limits
        threads = whole_number("threads", threads, least=0, most=_MAX_THREADS)
        self.vocabulary = Vocabulary(self.manifest.model.codebook_size)
        self._most = most_windows(self.manifest.prep, self.manifest.model, limits)  # at once
        self._threads = min(threads or os.cpu_count() or 1, self._most)
        self._executors = PerProcess(partial(ThreadPoolExecutor, self._threads, "ulmo"))
        self._device: Device = device

    @property
    def codebook(self) -> Array:
        """Vectors of the codes, (CB, EMB), float32."""
        return codebook_of(self.manifest.model, self.bundle.weights())

    @cached_property
    def colours(self) -> NDArray[np.uint8]:
        """Red, green and blue of each code, (CB, 3): those of pictures and pages."""
        return code_colours(self.codebook)

    def decode(self, tokens: Tokens) -> Array:
        """Tiles (n, M, M, 1) that the ids stand for, float32, in normalised levels.

        A tile is [bin, frame, 1], bin 0 the lowest frequency. Frames of `<gap>`, and those that
        fill the last tile, are zeros. UserError for ids that are neither codes nor `<unk>`.

        >>> tokenizer = ulmo.load_tokenizer()
        >>> tokenizer.decode(tokenizer.encode("data_samples/harmonic_calls.wav")).shape
        (4, 224, 224, 1)
        """
        self._check(tokens)
        size = self.manifest.prep.tile_size
        planes = (
            np.zeros((size, plane), np.float32) if isinstance(plane, int) else plane
            for plane in self._planes(tokens)
        )
        tiles = [tile.values for tile in cut_tiles(planes, tile_size=size, fill=0)]
        return np.array(tiles, np.float32).reshape(-1, size, size, 1)

    def decode_ids(self, ids: Ids) -> Array:
        """Normalised tiles (n, M, columns * time_stride, 1) of ids (n, columns, bands).

        An `<unk>` has no code: it is decoded as a latent of zeros. UserError for other ids.
        """
        unk, bands = self.vocabulary.unk, self.manifest.model.bands
        ids = np.asarray(ids)
        if ids.dtype.kind not in "iu" or ids.ndim != 3 or ids.shape[2] != bands:
            raise UserError(
                f"ids must be whole numbers (n, columns, {bands}), not {ids.dtype} {ids.shape}"
            )
        if ids.size and not (ids.min() >= 0 and ids.max() <= unk):
            raise UserError(f"only ids 0 to {unk - 1} and <unk> ({unk}) can be decoded")
        if not ids.size:
            frames = ids.shape[1] * self.manifest.model.time_stride
            return np.empty((len(ids), self.manifest.prep.tile_size, frames, 1), np.float32)
        ids = ids.astype(np.int32)
        step = max(self._most * WINDOW_COLUMNS // ids.shape[1], 1)
        parts = (ids[start : start + step] for start in range(0, len(ids), step))
        return np.concatenate([self._decoder.run(["tiles"], {"ids": one})[0] for one in parts])

    def decode_codes(self, codes: NDArray[np.integer]) -> Array:
        """What each code sounds like on its own: a column of tiles, (n, M, time_stride), float32.

        codes: ids (n,). Each is decoded from a grid of it alone, in all bands; band b of the
        result lies in bins b * frequency_stride and above. Levels are those of the recordings in
        dB if the tokenizer has constants for that, else normalised ones.

        >>> ulmo.load_tokenizer().decode_codes(np.array([3, 7])).shape
        (2, 224, 4)
        """
        model, constants = self.manifest.model, self.manifest.normalization
        before, after = model.decoder_time_context
        frames = slice(before * model.time_stride, (before + 1) * model.time_stride)
        shape = (before + 1 + after, model.bands)
        columns = [np.empty((0, model.tile_size, model.time_stride), np.float32)]
        for start in range(0, len(codes), _CODES_AT_ONCE):
            ids = np.asarray(codes[start : start + _CODES_AT_ONCE], np.int32)
            grids = np.broadcast_to(ids[:, None, None], (len(ids), *shape))
            columns.append(self.decode_ids(grids)[:, :, frames, 0])
        values: Array = np.concatenate(columns)
        return values if constants is None else constants.undo(values)

    def resynthesize(
        self, tokens: Tokens, *, normalization: Normalization | None = None, iterations: int = 32
    ) -> Array:
        """Sound (frames * hop_length,) whose spectrogram is the decoded one, float32, full scale 1.

        tokens: of a tokenizer with front end `stft` or `mel`.
        normalization: constants of the recording or tile, if the bundle has none of its own.
        iterations: of the Griffin-Lim algorithm, which estimates the phases; tokens have none.

        The rate is `tokens.sample_rate`. `<gap>` is digital silence of its true length.
        Normalisation `level` removes the slow changes of the level, so the sound has a constant
        level. UserError for a front end or normalisation that cannot be inverted. Needs librosa.

        >>> tokenizer = ulmo.load_tokenizer()
        >>> tokens = tokenizer.encode("data_samples/harmonic_calls.wav")
        >>> tokenizer.resynthesize(tokens, iterations=1).shape
        (128000,)
        """
        from ulmo.preprocessing.inverse import invert

        self._check(tokens)
        iterations = whole_number("iterations", iterations, least=0, most=_MAX_ITERATIONS)
        if normalization is not None:
            instance_of("normalization", normalization, Normalization, "a Normalization")
        prep, constants = self.manifest.prep, normalization or self.manifest.normalization
        sounds = [np.empty(0, np.float32)]
        for plane in self._planes(tokens):
            if isinstance(plane, int):
                sounds.append(np.zeros(plane * prep.hop_length, np.float32))
            else:
                sounds.append(invert(plane, prep, constants, iterations=iterations))
        return np.concatenate(sounds)

    def _check(self, tokens: Tokens) -> None:
        """Raise UserError unless these are tokens of as many bands as this tokenizer has."""
        instance_of("tokens", tokens, Tokens, "Tokens, as encode and read_tokens return them")
        bands = self.manifest.model.bands
        if tokens.ids.ndim != 2 or tokens.ids.shape[1] != bands:
            raise UserError(
                f"these tokens have the shape {tokens.ids.shape}, and this tokenizer {bands} "
                "bands: use the tokenizer that made them"
            )

    @property
    def _executor(self) -> ThreadPoolExecutor:
        return self._executors.get()

    def _map(self, function: Callable[[T], R], arguments: Iterable[T]) -> Iterator[R]:
        if self._threads == 1:
            return map(function, arguments)
        return self._executor.map(function, arguments)

    def _planes(self, tokens: Tokens) -> Iterator[Array | int]:
        gap, model = self.vocabulary.special("<gap>"), self.manifest.model
        return decode_stretches(tokens.ids, tokens.frames, gap, self.decode_ids, model, self._map)

    @cached_property
    def _decoder(self) -> Session:
        from ulmo.bundle.graph import decoder_graph

        graph = decoder_graph(self.manifest.model, self.bundle.weights())
        return Session(graph.to_bytes(), device=self._device)
