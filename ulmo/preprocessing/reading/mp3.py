"""The streams of an MPEG audio file, frame by frame.

libsndfile estimates the length of MPEG audio from its first frame unless an Info or Xing frame
gives it, and it reads no more than that. So the frames are counted here.
"""

from typing import BinaryIO, NamedTuple

from ulmo.preprocessing.reading.containers import find_sound, kind_at
from ulmo.preprocessing.reading.mpeg import HEAD, LOOK, MARKS, Format, format_of, frame_bytes
from ulmo.preprocessing.reading.parts import MAX_PARTS, MAX_PIECES, Part
from ulmo.preprocessing.reading.pieces import READ_BYTES, Blocks, Hole, Piece, Stretch, replaced
from ulmo.preprocessing.reading.refusal import RefusedError
from ulmo.preprocessing.reading.tags import ID3V1, skip_filling

VBRI = 36  # where another such mark stands in a frame
# mpg123 divides the bytes of a file by those of its first frame, and frames are at most 60 times
# as long as others: a file that seems this many times longer is never taken for too short.
STRETCHED = 64


class Stream(NamedTuple):
    """Frames of one format that belong together."""

    format: Format
    stretches: list[Stretch]  # of the file; more than one if bytes between are no frames
    frames: int  # with sound
    declared: int | None = None  # frames by the Info frame at its beginning; None without one
    mark: int = 0  # bytes of that frame, or of one that gives no number
    lost: int = 0  # bytes between the stretches that are in no tag
    cut: bool = False  # whether it ends within another frame

    @property
    def left(self) -> int | None:
        """Frames that are declared and have not been found; None if none are declared."""
        return None if self.declared is None else self.declared - self.frames


def split(file: BinaryIO, size: int) -> tuple[list[Part | RefusedError], int]:
    """The streams of a file that begins with a frame, and where the last of them ends.

    A stream ends at an Info frame, at another format, and after the frames that it declares. There
    are at most MAX_PARTS streams, of at most MAX_PIECES: others follow.
    """
    walk = _Walk(file, size)
    streams: list[Stream] = []
    position = end = pieces = 0
    while position < size and pieces < MAX_PIECES and len(streams) < MAX_PARTS:
        form = walk.format(position)
        place = None if form else _next(file, end, size)
        lost = 0
        if place is not None:
            lost = place - skip_filling(file, end, size)
            position, form = place, walk.format(place)
        if form is None:
            break
        mark, declared = walk.mark(position)
        last = streams[-1] if streams and not mark else None
        if last and (last.format != form or last.left == 0 or last.cut):
            last = None
        most = last.left if last else declared
        frames, end, cut = walk.run(position + mark, form, most)
        if end == position:  # a read was short
            break
        stretch, pieces = Stretch(position, end - position), pieces + 1
        if last:
            last.stretches.append(stretch)
            streams[-1] = last._replace(frames=last.frames + frames, lost=last.lost + lost, cut=cut)
        else:
            streams.append(Stream(form, [stretch], frames, declared, mark, 0, cut))
        position = end
    return [_part(stream) for stream in streams if stream.frames], end


def _next(file: BinaryIO, position: int, size: int) -> int | None:
    """Where the next frame begins, after tags or damage; None if no frames follow."""
    position = skip_filling(file, position, size)
    kind = kind_at(file, position, size)
    if kind is None:
        found = find_sound(file, position, size)
        position, kind = (size, None) if found is None else (found, kind_at(file, found, size))
    return position if kind == "mp3" else None


def _part(stream: Stream) -> Part:
    """How to read a stream. Without a true length in it, the decoder gets a longer one."""
    pieces: tuple[Piece, ...] = tuple(stream.stretches)
    first, samples = stream.stretches[0], stream.format.samples
    part = Part("mp3", pieces)
    if stream.left == 1 and not stream.cut and not stream.lost:  # the Info frame counts itself
        count = first.start + stream.format.mark + 8
        changed = replaced(
            first.start + first.size, {count: _number(stream.frames)}, start=first.start
        )
        part = part._replace(pieces=changed)
    elif stream.declared is None:
        bytes_ = sum(stretch.size for stretch in stream.stretches)
        pieces = (first._replace(start=first.start + stream.mark, size=first.size - stream.mark),)
        pieces += (*stream.stretches[1:], Hole(STRETCHED * (bytes_ + READ_BYTES)), bytes(ID3V1))
        frames = stream.frames * samples
        part = part._replace(pieces=pieces, frames=frames, declared=frames)
        if stream.cut:
            detail = "the file ends within a frame of MPEG audio"
            declared = frames + samples
            part = part._replace(
                declared=declared, missing=samples, cause="truncated", detail=detail
            )
        if stream.lost:
            detail = f"{stream.lost} bytes between frames are damaged: an unknown length is missing"
            part = part._replace(cause="truncated", detail=detail)
    return part


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")


class _Walk:
    """Goes from frame to frame, in large blocks."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._blocks = Blocks(file, size)

    def peek(self, position: int) -> bytes:
        """LOOK bytes at a position, fewer at the end."""
        return self._blocks.at(position, LOOK)

    def format(self, position: int) -> Format | None:
        """The format of the whole frame at a position; None without one."""
        head = self.peek(position)
        length = frame_bytes(head)
        return format_of(head) if length and position + length <= self._size else None

    def mark(self, position: int) -> tuple[int, int | None]:
        """Length of the frame at a position if it is an Info frame, else 0; the number it gives."""
        head = self.peek(position)
        form = format_of(head)
        if form is None or form.layer != 3:
            return 0, None
        fields = head[form.mark :]
        if fields[:4] in MARKS:
            given = int.from_bytes(fields[8:12], "big") if fields[7] & 1 else 0
            return frame_bytes(head), given or None
        return (frame_bytes(head) if head[VBRI : VBRI + 4] == b"VBRI" else 0), None

    def run(self, position: int, form: Format, most: int | None) -> tuple[int, int, bool]:
        """Frames up to another format, an Info frame, no whole frame, or `most`; where they end.

        And whether the file, or the part of it before another file, ends within a further frame.
        """
        frames, last, end = self._run(position, form, most)
        head = self.peek(end)
        length = frame_bytes(head)
        if length and format_of(head) == form and end + length > self._size:
            return frames, self._size, True
        if length or not frames or skip_filling(self._file, end, self._size) > end:
            return frames, end, False
        inside = find_sound(self._file, last + HEAD, self._size, before=end)
        return (frames, end, False) if inside is None else (frames - 1, inside, True)

    def _run(self, position: int, form: Format, most: int | None) -> tuple[int, int, int]:
        """Frames, where the last of them begins, and where it ends."""
        lengths: dict[bytes, int] = {}  # of frames of this format, by the header's first bytes
        frames, mark, last = 0, form.mark, position
        while position + HEAD <= self._size and frames != most:
            self.peek(position)
            block, base = self._blocks.block, self._blocks.base
            at = position - base
            stop = len(block) - LOOK if base + len(block) < self._size else len(block) - HEAD
            while at <= stop and frames != most:
                length = lengths.get(block[at : at + 3], 0)
                if not length or (block[at + 3] >= 0xC0) != form.mono:
                    header = block[at : at + HEAD]
                    length = frame_bytes(header) if format_of(header) == form else 0
                    lengths[header[:3]] = length
                if not length or base + at + length > self._size:
                    return frames, last, base + at
                if block[at + mark : at + mark + 4] in MARKS and form.layer == 3:
                    return frames, last, base + at
                last = base + at
                at += length
                frames += 1
            if base + at == position:  # a read was short
                break
            position = base + at
        return frames, last, position
