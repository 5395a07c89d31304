"""How to read a recording: what its header declares, and what the file holds."""

from typing import NamedTuple

from ulmo.preprocessing.refusal import RefusedError
from ulmo.preprocessing.riff import WavLayout
from ulmo.storage.plain_file import Signature

MAX_CHANNELS = 1024
RATES = range(100, 4_000_001)  # hertz


class RawSamples(NamedTuple):
    """Where the samples lie in a file that is read without its header."""

    offset: int
    size: int  # bytes, a multiple of a frame's
    layout: WavLayout
    gain: int = 1  # 256 if the highest 8 of 32 bits hold only the sign


class Shape(NamedTuple):
    """Rate in hertz, channels and frames of the samples that are read."""

    sample_rate: int
    channels: int
    frames: int


class ReadPlan(NamedTuple):
    """How to read a file, and what its header declares."""

    signature: Signature
    kind: str  # wav, flac, ogg, ...: see containers.MAGIC
    raw: RawSamples | None = None  # None: libsndfile reads the header
    declared: int | None = None  # frames by the header; None if it does not say
    missing: int = 0  # frames that the file declares or holds, and that are not read
    frames: int | None = None  # frames in whole blocks of coded samples; None for other samples
    shape: Shape | None = None  # for samples of fixed width; None: libsndfile finds it
    cause: str | None = None  # reason code of what is wrong with the header
    detail: str | None = None


def check_shape(
    sample_rate: int, channels: int, *, declared: int | None = None, missing: int = 0
) -> None:
    """Raise RefusedError for an unsupported sample rate or number of channels."""
    if sample_rate not in RATES:
        detail = f"a sample rate of {sample_rate} Hz is not supported"
        raise RefusedError("bad_rate", detail, declared=declared, missing=missing)
    if not channels:  # then the number of frames is unknown, too
        raise RefusedError("bad_channels", "the header declares no channels")
    if channels > MAX_CHANNELS:
        detail = f"{channels} channels are not supported"
        raise RefusedError("bad_channels", detail, declared=declared, missing=missing)
