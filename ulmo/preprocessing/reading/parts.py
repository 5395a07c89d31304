"""The parts of a file: sound files, each whole in itself, that follow each other in it."""

from typing import NamedTuple

from ulmo.config import HIGHEST_RATE
from ulmo.preprocessing.reading.pieces import Piece
from ulmo.preprocessing.reading.refusal import RefusedError, in_words
from ulmo.preprocessing.reading.riff import WavLayout

MAX_CHANNELS = 1024
MAX_PARTS = 1024  # sound files in one: what more of them would take is a hostile file's choice
MAX_PIECES = 1 << 17  # of the parts of a file, between which there are other bytes
RATES = range(100, HIGHEST_RATE + 1)  # hertz


class Part(NamedTuple):
    """How to read one sound file within a file, and what its header declares."""

    kind: str  # as containers.kind_of names it
    pieces: tuple[Piece, ...]  # of the file, that the decoder is given
    declared: int | None = None  # frames by the header; None if it does not say
    missing: int = 0  # frames that the file declares or holds, and that are not read
    sample_rate: int = 0  # hertz; 0 until libsndfile finds it
    channels: int = 0
    frames: int = 0  # that are read; 0 if unknown
    raw: WavLayout | None = None  # of a file read without its header; None: libsndfile reads it
    gain: int = 1  # 256 if the highest 8 of 32 bits hold only the sign
    cause: str | None = None  # reason code of what is wrong with the header
    detail: str | None = None
    searched: int = 0  # bytes at its end in which no other file begins; 0: everywhere
    packet_bytes: int = 0  # of a frame, or of a block of coded frames; 0 if that is not known
    packet_frames: int = 1  # in as many bytes
    aside: bool = False  # whether it sounds at the same time as another part: counted, not read


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


def with_hidden(part: Part, size: int) -> Part:
    """A part behind whose end bytes follow that are neither a tag, a chunk nor another file.

    Its header may be too small, so they may be sound: their frames are counted as missing.
    """
    frames = size // part.packet_bytes * part.packet_frames
    if not frames:
        return part
    detail = f"{frames} frames may follow the end that its header gives, and are not read"
    detail = in_words(part.detail, detail)
    return part._replace(missing=part.missing + frames, cause="more_data", detail=detail)


def wrong_sizes(nuls: int) -> str:
    """What is said of a header with wrong sizes, after which frames of NUL bytes were left out."""
    detail = "the sizes in the header are wrong: the file's length was used instead"
    return detail + (f", without {nuls} frames of NUL bytes at the end" if nuls else "")
