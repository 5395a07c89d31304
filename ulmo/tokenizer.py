"""Recordings to tokens, and tokens to tiles and sound, on ONNX Runtime without TensorFlow.

    samples -> normalised levels -> windows of columns -> encoder -> ids
    ids -> decoder -> tiles -> sound

A recording always gets the same ids: whole or in blocks, from a file or live, with any batch size
and any number of threads. Each window is computed by one thread, in the same order
(ulmo.encoding). Memory does not grow with the length of the recording.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from fractions import Fraction
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array
from ulmo.bundle.bundle import DEFAULT, Bundle, read_bundle
from ulmo.bundle.cost import check_tokenizer, most_tiles, tokenizer_cost
from ulmo.bundle.session import Device, Session
from ulmo.bundle.unk import level_of, mark_unknown
from ulmo.config import LIMITS, JobError, Limits, PrepSettings, UserError
from ulmo.config.arguments import instance_of, place_argument, whole_number
from ulmo.decoding import Decoder
from ulmo.encoding import Columns, EncodedStretch, encode_columns, is_any_width, ready_frames
from ulmo.preprocessing.arrays import read_blocks
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.hearing import Hearing
from ulmo.preprocessing.sources import Sound, open_sound_of
from ulmo.preprocessing.spectrogram import find_constants, normalized_levels
from ulmo.preprocessing.stretches import SampleSource, check_gaps, whole
from ulmo.tokens import Tokens, band_edges, nearest_column

_MAX_BATCH = 1024


class TokenizerRef(NamedTuple):
    """All that another process needs to open the same tokenizer."""

    # Of the bundle: an absolute path, or hf://owner/name@commit; None: the one that ships.
    place: Path | str | None
    fingerprint: str
    threads: int  # as requested: 0 means one for each core of the machine that opens it
    device: Device
    unk_quantile: float | None
    prep: PrepSettings  # with the time expansion and full scale that are wanted
    limits: Limits

    def open(self) -> "Tokenizer":
        """The tokenizer; JobError if the bundle was replaced."""
        place = DEFAULT if self.place is None else self.place
        bundle = read_bundle(place, self.limits)
        if bundle.manifest.fingerprint != self.fingerprint:
            raise JobError(f"{place} was replaced meanwhile: load or run the same again")
        opened = Tokenizer(
            bundle,
            threads=self.threads,
            device=self.device,
            unk_quantile=self.unk_quantile,
            limits=self.limits,
        )
        return opened.with_sound(self.prep.time_expansion, self.prep.full_scale)


class Tokenizer(Decoder):
    """Turns recordings into tokens, and tokens into tiles and sound; see `load_tokenizer`.

    bundle, manifest: what it was made from, and the contents of tokenizer.json.
    prep: the bundle's settings, with the time expansion and full scale of `with_sound`.
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
        limits: Limits = LIMITS,
    ) -> None:
        super().__init__(bundle, threads=threads, device=device, limits=limits)
        manifest = bundle.manifest
        self.unk_quantile, self.prep = unk_quantile, manifest.prep
        place = bundle.place if isinstance(bundle.place, str) else bundle.place.absolute()
        own = None if place == DEFAULT.absolute() else place
        self.ref = TokenizerRef(
            *(own, manifest.fingerprint, threads, device, unk_quantile, self.prep, limits)
        )
        self._thresholds: Array | None = None
        if unk_quantile is not None:
            self._thresholds = bundle.thresholds()[:, level_of(unk_quantile)]
        self._session = Session(bundle.encoder, device=device)
        self._frontend = build_frontend(manifest.prep)

    def with_sound(
        self, time_expansion: float | None = None, full_scale: float | None = None
    ) -> "Tokenizer":
        """This tokenizer for recordings of another time expansion or full scale; None: as it is.

        time_expansion: K, from 0.001 to 1000. Recordings are taken as if made at their rate / K;
            all times and hertz are the true ones. The bundle's rate x K must be a whole number.
        full_scale: samples of floating-point files and arrays are divided by it.
        """
        prep = self.prep.with_sound(time_expansion, full_scale)
        if prep == self.prep:
            return self
        check_tokenizer(prep, self.manifest.model, self.limits)
        other = object.__new__(Tokenizer)
        other.__dict__.update(self.__dict__, prep=prep, ref=self.ref._replace(prep=prep))
        other._frontend = build_frontend(prep)
        return other

    def hearing(self) -> Hearing:
        """A new measure of what is heard of a recording, for `stretches`."""
        return Hearing(self._frontend, self.prep)

    @property
    def _hop(self) -> Fraction:
        """Seconds from one column to the next."""
        return Fraction(self.prep.hop_length * self.manifest.model.time_stride, self.prep.true_rate)

    def __reduce__(self) -> tuple[Callable[[TokenizerRef], "Tokenizer"], tuple[TokenizerRef]]:
        """Pickle the bundle's place and fingerprint; whoever loads that opens the bundle."""
        return TokenizerRef.open, (self.ref,)

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
        prep, model = self.prep, self.manifest.model
        frames = model.time_stride + model.time_context[1] - 1
        return (frames * prep.hop_length + self._frontend.right) / prep.true_rate

    def encode(
        self,
        source: str | Path | BinaryIO | Array,
        *,
        sample_rate: int | None = None,
        channel: int | None = None,
        batch_size: int = 1,
        time_expansion: float | None = None,
        full_scale: float | None = None,
    ) -> Tokens:
        """Tokens of a file or of samples.

        source: path, address, open binary file or its bytes; or samples (n,) or (n, channels),
            full scale 1 or, of integers, that of their type; or audio of a Hugging Face dataset.
        sample_rate: hertz; required for samples, ignored for files.
        channel: counts from 0; None means the mean of all channels.
        batch_size: windows that are encoded at once, 1 to 1024. It does not change the ids.
        time_expansion, full_scale: see `with_sound`; None means those of the bundle.

        Where time was left out in a file, the columns are `<gap>`, with distances of 0: each token
        stands at its true time. RefusedError for a file that cannot be read, or whose gaps are too
        long for so little sound (docs/clock.md); UserError for samples without a valid rate, or
        with an uncertain scale. Warns (UserWarning) of what tokens lose, as the command does:
        channels that cancel, sound fainter than the floor, much power above the highest band.
        Warns, too, if a file shows that its times are not true.

        >>> tokens = load_tokenizer().encode("data_samples/harmonic_calls.wav")
        >>> tokens.ids.shape, tokens.ids.dtype  # (time, band)
        ((200, 4), dtype('int32'))
        """
        listener = self.with_sound(time_expansion, full_scale)
        hearing = listener.hearing()
        with open_sound_of(
            *(source, listener.prep),
            hop=listener._hop,
            sample_rate=sample_rate,
            channel=channel,
            hearing=hearing,
        ) as sound:
            tokens = listener._tokens(sound, batch_size, hearing)
        if sound.obstacle:
            warnings.warn(f"{sound.obstacle}: times of its tokens are not true", stacklevel=2)
        for words in hearing.losses(slowed=sound.slowed).values():
            warnings.warn(words, stacklevel=2)
        return tokens

    def stream(
        self,
        blocks: Iterable[Array],
        *,
        sample_rate: int,
        channel: int | None = None,
        start_utc: datetime | None = None,
        time_expansion: float | None = None,
        full_scale: float | None = None,
    ) -> Iterator[Tokens]:
        """Tokens of sound that arrives in blocks, each column as soon as it can no longer change.

        blocks: samples (n,) or (n, channels) each, of any length, as in `encode`; with more than 16
            channels, the first has as many samples or more, as it might be (channels, n).
        start_utc: time of the first sample.
        sample_rate, channel, time_expansion, full_scale: as in `encode`.

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
        if start_utc is not None:
            instance_of("start_utc", start_utc, datetime, "a datetime")
        listener = self.with_sound(time_expansion, full_scale)
        read = read_blocks(blocks, sample_rate, listener.prep, channel=channel)
        return listener._parts(lambda: whole(read), start_utc)

    def stretches(
        self,
        source: SampleSource,
        *,
        batch_size: int = 1,
        eager: bool = False,
        hearing: Hearing | None = None,
    ) -> Iterator[EncodedStretch]:
        """Columns of tokens of each stretch of a source; each is to be read before the next.

        eager: each column as soon as it is certain, not with its window. hearing: measures it.
        """
        self.check_batch(batch_size)
        prep, model = self.manifest.prep, self.manifest.model
        ready = ready_frames(model) if eager else None
        ahead = min(self._threads + 1, self._most // batch_size - 1)
        executor = None if eager or self._threads == 1 or ahead < 1 else self._executor
        constants = find_constants(source, self._frontend, prep, self.manifest.normalization)
        total = 0  # columns
        for stretch in source():
            column = max(nearest_column(stretch.start, self._hop), total)
            encoded = EncodedStretch(stretch.start, column, column - total)
            levels = normalized_levels(
                *(encoded.count(stretch.blocks), self._frontend, prep, constants),
                ready=ready,
                hearing=hearing,
            )
            parts = encode_columns(
                levels,
                self._run,
                model,
                any_width=self.is_any_width,
                batch_size=batch_size,
                eager=eager,
                executor=executor,
                ahead=ahead if executor else 0,
            )
            if (first := next(parts, None)) is not None:  # a few samples may vanish at a lower rate
                encoded.parts = chain([first], parts)
                yield encoded
                total = column + encoded.columns

    @cached_property
    def is_any_width(self) -> bool:
        """Whether windows of any width give the same bits on this machine."""
        return is_any_width(self._run, self.manifest.model)

    def check_batch(self, batch_size: int) -> None:
        """Raise UserError unless a batch has 1 to 1024 windows, and they fit into the memory."""
        whole_number("batch_size", batch_size, least=1, most=_MAX_BATCH)
        cost = tokenizer_cost(self.prep, self.manifest.model, batch=batch_size)
        cost.check(self.limits, f"set a batch_size of at most {self._most}")

    def encode_tiles(self, tiles: Array, valid_frames: NDArray[np.int32]) -> Columns:
        """Ids and distances (n, columns, bands) of normalised tiles, each on its own.

        tiles: (n, M, frames, 1), with at most M frames: whole tiles, or parts of them.

        Frames from `valid_frames` (n,) on are set to zero, as behind the end of a recording.
        """
        size = self.manifest.model.tile_size
        tiles, valid_frames = np.asarray(tiles, np.float32), np.asarray(valid_frames)
        frames = tiles.shape[2] if tiles.ndim == 4 else 0
        fits = tiles.shape[1:] == (size, frames, 1) and 1 <= frames <= size
        if not fits or valid_frames.shape != tiles.shape[:1]:
            shapes = f"{tiles.shape} and {valid_frames.shape}"
            raise UserError(
                f"tiles must be (n, {size}, 1 to {size}, 1) and valid_frames (n,): {shapes}"
            )
        inside = np.arange(frames) < valid_frames[:, None]
        sound = np.where(inside[:, None, :, None], tiles, np.float32(0))
        padding = -frames % self.manifest.model.time_stride
        padded = np.pad(sound, ((0, 0), (0, 0), (0, padding), (0, 0)))
        at_once = most_tiles(self.manifest.model, self.limits)
        parts = max(self._threads, -(-len(tiles) * self._threads // at_once))
        batches = np.array_split(padded, min(parts, len(tiles)))
        return Columns.joined(self._map(self._run, batches))

    def _run(self, tiles: Array) -> Columns:
        ids, distances = self._session.run(["ids", "distances"], {"tiles": tiles})
        if self._thresholds is not None:
            ids = mark_unknown(ids, distances, self._thresholds, self.vocabulary.unk)
        return Columns(ids, distances)

    def _parts(self, source: SampleSource, start_utc: datetime | None) -> Iterator[Tokens]:
        """Tokens of sound without gaps, a few columns at a time."""
        prep, model = self.manifest.prep, self.manifest.model
        for stretch in self.stretches(source, eager=True):
            for part in stretch:
                first = stretch.columns - len(part.ids)
                left = -(-stretch.samples // prep.hop_length) - first * model.time_stride
                frames = min(len(part.ids) * model.time_stride, left)
                yield self._placed(part, first, frames, start_utc)

    def _tokens(self, sound: Sound, batch_size: int, hearing: Hearing) -> Tokens:
        prep, model = self.manifest.prep, self.manifest.model
        found: list[tuple[int, list[Columns]]] = []  # of each stretch: the gap before, its columns
        frames = 0
        for stretch in self.stretches(sound.read, batch_size=batch_size, hearing=hearing):
            found.append((stretch.gap, [*stretch]))
            frames = stretch.column * model.time_stride - (-stretch.samples // prep.hop_length)
        check_gaps(sum(gap for gap, _ in found) * self._hop, sound.frames_read)
        silence = partial(Columns.silent, self.vocabulary.special("<gap>"), model.bands)
        parts = [silence(0)]
        for gap, columns in found:
            parts += [silence(gap), *columns]
        return self._placed(Columns.joined(parts), 0, frames, sound.start_utc)

    def _placed(
        self, columns: Columns, first: int, frames: int, start_utc: datetime | None
    ) -> Tokens:
        hop = self.prep.hop_length * self.manifest.model.time_stride
        return Tokens(
            ids=columns.ids,
            distances=columns.distances,
            sample_rate=self.prep.true_rate,
            hop=hop,
            edges_hz=self.edges_hz,
            frames=frames,
            start=first * hop,
            start_utc=start_utc,
            fingerprint=self.manifest.fingerprint,
            unk_quantile=self.unk_quantile,
            colours=self.colours,
        )


def load_tokenizer(
    path: str | Path | None = None,
    *,
    threads: int = 0,
    device: Device = "cpu",
    unk_quantile: float | None = None,
    max_gigabytes: float | None = None,
    max_gigaops: float | None = None,
) -> Tokenizer:
    """The tokenizer in a bundle.

    path: a folder or a zip file; hf://owner/name or hf://owner/name@revision, a repository of the
        Hugging Face hub (needs ulmo[hub]); None means the one that ships with ulmo. Only a text
        that begins with hf:// opens a connection.
    threads: at most, up to 1024; 0 means one for each core. Fewer compute where more would pass
        the limit of memory. The ids do not depend on it.
    device: `cpu`, or `cuda` with onnxruntime-gpu, whose ids may differ where two codes are equally
        near.
    unk_quantile: 0.9, 0.95, 0.99 or 0.999. A vector farther from its code than this share of the
        code's training vectors becomes `<unk>`. None means never.
    max_gigabytes, max_gigaops: a bundle that needs more memory at once, in GB, or more billions of
        operations for a second of sound, is refused. None: 8 and 500 (ulmo.config.Limits).

    UserError if the bundle is missing, damaged or not trustworthy, or an option is not valid.

    >>> tokenizer = load_tokenizer()
    >>> tokenizer.manifest.prep.sample_rate
    16000
    """
    limits = Limits.of(max_gigabytes=max_gigabytes, max_gigaops=max_gigaops)
    bundle = read_bundle(DEFAULT if path is None else place_argument("path", path), limits)
    return Tokenizer(
        bundle, threads=threads, device=device, unk_quantile=unk_quantile, limits=limits
    )
