"""Samples that a caller has in memory, as NumPy, PyTorch, soundfile and Hugging Face hold them.

Whatever could be sound in two ways is refused, in one line that says what to pass instead.
"""

import array
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from ulmo.arrays import Array
from ulmo.config import PrepSettings, UserError
from ulmo.config.arguments import whole_number_or_none
from ulmo.config.errors import clipped, one_line
from ulmo.preprocessing.hearing import Hearing
from ulmo.preprocessing.reading.audio import (
    MAX_AMPLITUDE,
    pick_channel,
    repair,
    resample,
)
from ulmo.preprocessing.reading.parts import MAX_CHANNELS, RATES
from ulmo.preprocessing.reading.quality import FAR_BEYOND
from ulmo.storage.remote_path import source_argument

Samples = NDArray[Any]
SCALED = (np.int8, np.int16, np.int32)  # integers whose full scale is that of their type
MANY = 16  # more columns than this, and more than rows: those are samples, not channels
WHAT = (
    "a path, an open binary file, the bytes of a file, or samples (n,) or (n, channels) with "
    "sample_rate="
)


class Given(NamedTuple):
    """What a caller passed, in one of the forms that are read."""

    source: Path | BinaryIO | Samples
    sample_rate: int | None = None  # of samples


def read_source(source: Any, sample_rate: int | None = None) -> Given:
    """A caller's source of sound as a path, an open binary file, or samples.

    source: any of these; bytes of a file; a list, tensor or other array of samples; a dictionary
        with the keys `array` and `sampling_rate`, `bytes` or `path`, as Hugging Face datasets hold
        audio; a decoder with `get_all_samples`, as torchcodec has.
    sample_rate: in hertz, of samples that do not bring theirs.

    UserError, with what to pass, for anything else.
    """
    if isinstance(source, Mapping):
        return _of_mapping(source, sample_rate)
    if isinstance(source, str | os.PathLike):
        return Given(source_argument("source", source))
    if isinstance(source, bytes | bytearray) or _is_bytes(source):
        return Given(io.BytesIO(source))
    if hasattr(source, "get_all_samples"):
        decoded = source.get_all_samples()
        return Given(_as_array(decoded.data).T, _one_rate(decoded.sample_rate, sample_rate))
    if isinstance(source, soundfile.SoundFile):
        raise UserError(
            "a SoundFile is not read: pass its path, sound.name, or its samples, "
            "sound.read(), with sample_rate=sound.samplerate"
        )
    if isinstance(source, io.TextIOBase):
        raise UserError('the file is open as text: open it with "rb"')
    if hasattr(source, "read"):
        return Given(source)
    if isinstance(source, list | tuple | np.generic | array.array | memoryview) or hasattr(
        source, "__array__"
    ):
        return Given(_as_array(source), sample_rate)
    raise UserError(f"{type(source).__name__} is no sound: pass {WHAT}")


def read_blocks(
    blocks: Iterable[Any],
    rate: int | None,
    settings: PrepSettings,
    *,
    channel: int | None = None,
    hearing: Hearing | None = None,
) -> Iterator[Array]:
    """A caller's blocks of samples as one channel, as the settings take it: blocks (n,), finite.

    blocks: (n,), or (n, channels) with as many channels in each. The first that is not empty has
        MANY channels at most, or as many samples as channels: it might be (channels, n). Floats
        have full scale 1, and integers that of their type: int8, int16, int32, and uint8 around
        128 as in WAV.
    rate: of the blocks, in hertz.
    channel: counts from 0; None means the mean of all channels.
    settings: their `true_rate` is the rate of the result, and their `full_scale` divides floats.
    hearing: measures what is read.

    NaN, Inf and what is far beyond full scale here and there become 0, as in a file. UserError for
    samples whose scale or shape is not certain, and for a rate that is not valid.
    """
    one = isinstance(blocks, str | bytes | Mapping) or hasattr(blocks, "__array__")
    if one or not isinstance(blocks, Iterable):
        raise UserError(
            "stream takes blocks one after the other, as a list or a generator gives them: "
            "encode takes whole arrays and files"
        )
    if rate is None:
        raise UserError("samples need their rate in hertz: pass sample_rate=")
    if rate not in RATES:
        whole = f"a whole number of hertz, from {RATES[0]} to {RATES[-1]}"
        raise UserError(f"sample_rate must be {whole}, not {clipped(rate)}")
    channel = whole_number_or_none("channel", channel, least=0, most=MAX_CHANNELS - 1)
    columns = _columns(blocks, channel, settings.full_scale)
    pick, convert = (hearing.pick, hearing.resample) if hearing else (pick_channel, resample)
    return convert(pick(columns, channel), int(rate), settings.true_rate)


def _columns(blocks: Iterable[Any], channel: int | None, full_scale: float) -> Iterator[Array]:
    """Blocks (n, channels) of float32 samples, full scale 1, all finite."""
    channels = None
    for block in blocks:
        values = _as_array(block)
        if values.ndim not in (1, 2):
            raise UserError(
                f"samples must have the shape (n,) or (n, channels), not {values.shape}"
            )
        values = values[:, None] if values.ndim == 1 else values
        if not len(values):
            continue
        if channels is None:
            _check_shape(values.shape, channel)
            channels = values.shape[1]
        if values.shape[1] != channels:
            raise UserError(
                f"a block has {values.shape[1]} channels after blocks of {channels}: "
                "all blocks of a stream must have as many"
            )
        yield _scaled(values, full_scale)


def _check_shape(shape: tuple[int, ...], channel: int | None) -> None:
    rows, columns = shape
    if columns > max(rows, MANY):
        raise UserError(
            f"samples of the shape {shape} are {columns} channels: if they are (channels, n), "
            f"pass samples.T; if not, begin with at least {columns} samples of each channel"
        )
    if not 1 <= columns <= MAX_CHANNELS:
        raise UserError(f"samples must have 1 to {MAX_CHANNELS} channels, not {columns}")
    if channel is not None and channel >= columns:
        raise UserError(f"there is no channel {channel}: {columns} channels, counted from 0")


def _scaled(values: Samples, full_scale: float) -> Array:
    """Samples as float32 of full scale 1, all finite."""
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - np.float32(128)) / np.float32(128)
    if values.dtype.type in SCALED:
        return (values / -float(np.iinfo(values.dtype).min)).astype(np.float32)
    if np.issubdtype(values.dtype, np.integer):
        raise UserError(
            f"{values.dtype} has no known full scale: pass int16 or int32, "
            "or floats with full scale 1"
        )
    if not np.issubdtype(values.dtype, np.floating):
        raise UserError(
            f"samples must be integers or floats with full scale 1, not {values.dtype}: pass {WHAT}"
        )
    if full_scale != 1:
        values = values / full_scale
    _check_scale(values)
    with np.errstate(over="ignore"):
        return repair(values.astype(np.float32, copy=False))[0]


def _check_scale(values: Samples) -> None:
    """Raise UserError for floats that must have another full scale than 1.

    A few samples over MAX_AMPLITUDE are damage, as in a file; between the two lies neither sound
    nor damage.
    """
    sizes = np.abs(values)
    if not sizes.max() >= FAR_BEYOND and not np.isnan(sizes.max()):
        return
    sizes = sizes[np.isfinite(sizes)]
    beyond = int((sizes > MAX_AMPLITUDE).sum())
    if int((sizes >= FAR_BEYOND).sum()) > beyond or 2 * beyond > len(sizes):
        raise UserError(
            f"floats must have full scale 1, and these reach {sizes.max():.4g}: pass integers "
            "(such as int16), scale them to +-1, or give full_scale="
        )


def _of_mapping(source: Mapping[Any, Any], sample_rate: int | None) -> Given:
    """Audio of a Hugging Face dataset, decoded or not. Its arrays are (n,) or (channels, n)."""
    if source.get("array") is not None:
        samples = _as_array(source["array"])
        return Given(samples.T, _one_rate(source.get("sampling_rate"), sample_rate))
    if source.get("bytes") is not None:
        return Given(io.BytesIO(source["bytes"]))
    if source.get("path") is not None:
        return Given(Path(os.fsdecode(source["path"])))
    raise UserError(
        "a dictionary must have an array with its sampling_rate, bytes or a path, and this one has "
        f"{clipped(sorted(map(str, source)))}: pass {WHAT}"
    )


def _one_rate(own: Any, given: int | None) -> int | None:
    """The rate that samples bring; UserError if another one is given."""
    if own is not None and given is not None and own != given:
        raise UserError(f"the samples are at {own} Hz: leave out sample_rate={given}")
    return given if own is None else own


def _as_array(values: Any) -> Samples:
    """Any array as NumPy's."""
    try:
        found = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{type(values).__name__} is no array of numbers ({one_line(error)}): pass a NumPy "
            "array, such as tensor.detach().cpu().numpy()"
        ) from None
    masked = int(np.sum(values.mask)) if isinstance(values, np.ma.MaskedArray) else 0
    if masked:
        raise UserError(
            f"{masked} samples are masked, and sound has no holes: pass "
            "samples.filled(0), or only what is not masked"
        )
    if isinstance(values, list | tuple) and found.dtype in (np.int64, np.uint64):
        raise UserError(
            "a list of integers has no known full scale: pass np.array(x, dtype=np.int16)"
        )
    return found


def _is_bytes(source: Any) -> bool:
    """Whether it is a view of bytes, and not of numbers."""
    return isinstance(source, memoryview) and source.format in ("B", "b", "c")
