"""How to read a recording: the sound files in a file, one behind the other, and their headers.

libsndfile reads the first of them as far as its header says, and ignores what follows.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ulmo.preprocessing.reading import flac, headers, mp3, ogg, wav
from ulmo.preprocessing.reading.bounded import TooManyReadsError, bounded_file
from ulmo.preprocessing.reading.containers import find_sound, kind_at, unread_kind
from ulmo.preprocessing.reading.decoder import Decoder
from ulmo.preprocessing.reading.mpeg import find_mpeg, is_free_format
from ulmo.preprocessing.reading.opening import Opener, complete, refusing, unchanged
from ulmo.preprocessing.reading.parts import MAX_PARTS, MAX_PIECES, Part, with_hidden
from ulmo.preprocessing.reading.parts import RATES as RATES
from ulmo.preprocessing.reading.pieces import Stretch, piece_file, within
from ulmo.preprocessing.reading.refusal import MAY_PASS, RefusedError, in_words
from ulmo.preprocessing.reading.tags import hidden_bytes, skip_filling
from ulmo.storage.plain_file import Signature, open_file, signature_of

SEARCH_BYTES = 1 << 20  # searched for MPEG audio at the beginning of a file
PARTIAL = frozenset({"truncated", "more_data"})  # faults of a header that lose sound


class Contents(NamedTuple):
    """The sound files in a file, by their headers."""

    signature: Signature
    parts: tuple[Part | RefusedError, ...]  # a RefusedError stands for one that cannot be read
    skipped: int  # bytes before the first that are in no tag


class ReadPlan(NamedTuple):
    """How to read a file: parts of one shape, and what is known of the file before it is read."""

    signature: Signature
    parts: tuple[Part, ...]  # read in this order
    declared: int | None  # frames of these parts by their headers; None if one does not say
    missing: int  # frames that the file declares or holds, and that are not read
    cause: str | None = None  # reason code of what is wrong with the file
    detail: str | None = None

    @property
    def frames(self) -> int:
        """Frames of all parts; 0 if unknown."""
        frames = [part.frames for part in self.parts]
        return sum(frames) if all(frames) else 0


def contents_of(path: Path, *, every_byte: bool = False) -> Contents:
    """Find the sound files in a file, and read their headers; `every_byte`: see flac.split.

    Raises RefusedError if there are none, or if the file was changed meanwhile; OSError if the file
    cannot be opened or read.
    """
    with open_file(path) as file:
        signature = signature_of(file)
        with unchanged(file, signature):
            return _contents(file, signature, every_byte=every_byte)


def _contents(opened: BinaryIO, signature: Signature, *, every_byte: bool) -> Contents:
    size = signature.size
    if size == 0:
        raise RefusedError("empty_file", "the file has no bytes")
    file = bounded_file(opened, size)
    parts: list[Part | RefusedError] = []
    skipped = 0
    try:
        first = skip_filling(file, 0, size)
        begin = _first(file, first, size)
        skipped = begin - first
        for found in _parts(file, begin, size, every_byte=every_byte):
            parts += found
    except TooManyReadsError as error:
        detail = f"{error}: the rest is not read"
        parts.append(RefusedError("bad_header", detail, missing=None))
    if not parts:
        raise RefusedError("no_samples", "the file has a header but no samples")
    return Contents(signature, tuple(parts), skipped)


def _parts(
    file: BinaryIO, begin: int, size: int, *, every_byte: bool
) -> Iterator[list[Part | RefusedError]]:
    """The parts from a position on at which a sound file begins, those of one file at a time."""
    position: int | None = begin
    number = pieces = 0
    while position is not None:
        if number >= MAX_PARTS or pieces >= MAX_PIECES:
            most = f"{MAX_PARTS} sound files" if pieces < MAX_PIECES else f"{pieces} pieces"
            detail = f"the file holds more than {most}: the rest is not read"
            yield [RefusedError("bad_header", detail, missing=None)]
            return
        found, length = _split(file, position, size, every_byte=every_byte, follows=number > 0)
        number += len(found)
        pieces += sum(len(part.pieces) for part in found if isinstance(part, Part))
        end = position + max(length, 1)
        position = _next(file, end, size)
        if found and isinstance(part := found[-1], Part) and part.packet_bytes:
            hidden = hidden_bytes(file, end, size if position is None else position)
            found[-1] = with_hidden(part, hidden) if hidden else part
        yield found


def _first(file: BinaryIO, position: int, size: int) -> int:
    """Where the sound begins; RefusedError if the file holds none."""
    if kind_at(file, position, size):
        return position
    if name := unread_kind(file, 0) or unread_kind(file, position):
        detail = f"{name} is not read: convert it to WAV or FLAC"
        raise RefusedError("unsupported_coding", detail, missing=None)
    if is_free_format(file, position):
        detail = "MPEG audio of free format (no bit rate in its frames) is not read"
        raise RefusedError("unsupported_coding", detail, missing=None)
    # A piece of a stream may begin within a frame; other kinds cannot be read without their header.
    place = find_mpeg(file, position, size, min(position + SEARCH_BYTES, size))
    if place is None:
        raise RefusedError("not_audio", "the file is in no supported sound format")
    return place


def _next(file: BinaryIO, position: int, size: int) -> int | None:
    """Where a further sound file begins, behind tags or other bytes; None if nowhere."""
    start = skip_filling(file, position, size)
    if start < size and kind_at(file, start, size) is None:
        return find_sound(file, start, size)
    return start if start < size else None


def _split(
    file: BinaryIO, position: int, size: int, *, every_byte: bool, follows: bool
) -> tuple[list[Part | RefusedError], int]:
    """The parts of the sound file at a position, and how long they are together.

    `follows`: whether another one stands before it.
    """
    kind = kind_at(file, position, size)
    around = (Stretch(position, size - position),)
    inside = piece_file(file, around) if position else file
    size -= position
    match kind:
        case "wav":
            found, end = wav.split(inside, size)
        case "flac":
            found, end = flac.split(inside, size, every_byte=every_byte, follows=follows)
        case "ogg":
            found, end = ogg.split(inside, size)
        case "mp3":
            found, end = mp3.split(inside, size)
        case None:
            return [], size
        case _:
            found, end = headers.split(inside, kind, size)
    if position:
        found = [
            part._replace(pieces=within(around, part.pieces)) if isinstance(part, Part) else part
            for part in found
        ]
    return found, end


def plan_reading(contents: Contents, opener: Opener) -> tuple[ReadPlan, Decoder | None]:
    """Open each part that a decoder can read, and decide which parts are read.

    Returns the decoder too, if there is but one part. Raises RefusedError if none can be read.
    """
    parts: list[Part] = []
    refusals: list[RefusedError] = []
    opened: Decoder | None = None
    for part in contents.parts:
        try:
            if isinstance(part, RefusedError):
                raise part
            if not part.sample_rate:
                with refusing():
                    opened = opener.open(part)
                    part = complete(part, opened.sound)
            parts.append(part)
        except RefusedError as refusal:
            if refusal.reason in MAY_PASS:
                raise
            refusals.append(refusal)
    if not parts:
        raise _one(refusals)
    plan = _joined(contents, parts, refusals)
    return plan, opened if len(contents.parts) == 1 else None


def _one(refusals: list[RefusedError]) -> RefusedError:
    """The first refusal, with the frames of all."""
    first = refusals[0]
    if len(refusals) > 1:
        first.missing = sum(refusal.missing or 0 for refusal in refusals)
    return first


def _joined(contents: Contents, parts: list[Part], refusals: list[RefusedError]) -> ReadPlan:
    """What is read, and what is not."""
    first = parts[0]
    shape = first.sample_rate, first.channels
    read: list[Part] = []
    others: list[Part] = []
    for part in parts:
        same = (part.sample_rate, part.channels) == shape and not part.aside
        (read if same or part is first else others).append(part)
    missing = sum(part.missing for part in read)
    declared = sum(part.declared or 0 for part in read)
    true = all(part.declared is not None for part in read)
    if len(parts) > 1:  # a sum of sizes of which some are wrong says nothing
        true = true and declared == sum(part.frames for part in read) + missing
    counted = sum(part.frames + part.missing for part in others)
    counted += sum(refusal.missing or 0 for refusal in refusals)
    plan = ReadPlan(contents.signature, tuple(read), declared if true else None, missing + counted)
    fault = _fault(contents, read)
    plan = plan._replace(cause=fault.cause, detail=fault.detail)
    unknown = any(refusal.missing is None for refusal in refusals)
    if counted or unknown:
        words = [f"{counted} frames of further sound in the file are not read"] if counted else []
        words += [refusal.detail for refusal in refusals if refusal.missing is None]
        detail = in_words(fault.detail, *words)
        # No header speaks of the whole file.
        plan = plan._replace(declared=None, cause="more_data", detail=detail)
    return plan


class _Fault(NamedTuple):
    cause: str | None = None
    detail: str | None = None


def _fault(contents: Contents, read: list[Part]) -> _Fault:
    """What is wrong with the parts that are read: lost sound first, then wrong sizes."""
    faults = [_Fault(part.cause, part.detail) for part in read if part.cause]
    if faults:
        return min(faults, key=lambda one: (one.cause not in PARTIAL, one.cause != "header_sizes"))
    if len(read) > 1:
        detail = f"{len(read)} sound files in one were read one after the other"
        return _Fault(cause="joined", detail=detail)
    if contents.skipped:
        detail = f"{contents.skipped} bytes before the first frame were skipped"
        return _Fault(cause="leading_bytes", detail=detail)
    return _Fault()
