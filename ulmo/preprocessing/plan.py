"""How a recording is to be read: what its header promises, and what the file holds of it."""

from typing import NamedTuple, TypedDict

from ulmo.preprocessing.refusal import RefusedError
from ulmo.preprocessing.riff import WavLayout
from ulmo.storage.plain_file import Signature

MAX_CHANNELS = 1024
RATES = range(100, 4_000_001)


class Bare(NamedTuple):
    """Samples without a header, in a file."""

    offset: int
    size: int
    """Bytes, a multiple of a frame's."""
    layout: WavLayout
    gain: int = 1
    """256 where samples of 32 bits have nothing but a sign in their highest 8."""


class Shape(NamedTuple):
    """Of the samples that are read."""

    sample_rate: int
    channels: int
    frames: int


class Plan(NamedTuple):
    """How a file is to be read, and what its header promises."""

    signature: Signature
    kind: str
    bare: Bare | None
    """None: as libsndfile reads it."""
    declared: int | None = None
    """Frames by the header; None where it does not say."""
    missing: int = 0
    """Frames that the header promises, or that the file holds, and that are not read."""
    frames: int | None = None
    """Frames in whole blocks of coded samples; None of other samples."""
    shape: Shape | None = None
    """Of samples of a fixed width, which header and length tell; else libsndfile does."""
    cause: str | None = None
    """Reason code of what is wrong with the header; None where nothing is."""
    detail: str | None = None


class Facts(TypedDict, total=False):
    """Of a refused recording, as far as they can be told: see RefusedError."""

    declared: int | None
    missing: int


def check_shape(
    sample_rate: int, channels: int, *, declared: int | None = None, missing: int = 0
) -> None:
    """RefusedError for a rate or a number of channels that no recording has."""
    facts: Facts = {"declared": declared, "missing": missing}
    if sample_rate not in RATES:
        detail = f"a sample rate of {sample_rate} Hz is not supported"
        raise RefusedError("bad_rate", detail, **facts)
    if not 1 <= channels <= MAX_CHANNELS:
        known: Facts = facts if channels else {}
        raise RefusedError("bad_channels", f"{channels} channels are not supported", **known)
