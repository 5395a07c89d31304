"""What a file holds is found out in time that grows with its size, however its headers lead."""

import struct
import sys
from contextlib import suppress

import pytest

from tests.preprocessing.reading.edited import with_crc
from tests.preprocessing.reading.sounds import read, written
from ulmo.preprocessing.reading import bounded, plan
from ulmo.preprocessing.reading.audio import RefusedError
from ulmo.preprocessing.reading.bounded import BYTES_A_READ, FREE_READS, TooManyReadsError
from ulmo.preprocessing.reading.parts import MAX_PARTS
from ulmo.preprocessing.reading.plan import contents_of
from ulmo.storage import plain_file

PARTS = 60
SOUND = bytes(range(1, 65))  # 32 frames
GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")
RIFF_64 = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
FORMAT = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
AIFF_RATE = bytes.fromhex("400bfa00000000000000")


def chunk(kind, name, length, content=b""):
    """A chunk with some length in its header."""
    match kind:
        case "wav":
            return name + struct.pack("<I", length) + content
        case "aiff":
            return name + struct.pack(">I", length) + content
        case "caf":
            return name + struct.pack(">Q", length) + content
        case _:
            return name + GUID + struct.pack("<Q", length + 24) + content


HEADS = {
    "wav": b"RIFF\x24\0\0\0WAVE" + chunk("wav", b"fmt ", 16, FORMAT),
    "aiff": b"FORM\0\0\0\x24AIFF"
    + chunk("aiff", b"COMM", 18, struct.pack(">HIH", 1, 32, 16) + AIFF_RATE),
    "caf": b"caff\0\1\0\0"
    + chunk("caf", b"desc", 32, struct.pack(">d4s5I", 8000, b"lpcm", 0, 2, 1, 1, 16)),
    "w64": RIFF_64 + struct.pack("<Q", 100) + b"wave" + GUID + chunk("w64", b"fmt ", 16, FORMAT),
}
DATA = {
    "wav": chunk("wav", b"data", 64, SOUND),
    "aiff": chunk("aiff", b"SSND", 72, bytes(8) + SOUND),
    "caf": chunk("caf", b"data", 68, bytes(4) + SOUND),
    "w64": chunk("w64", b"data", 64, SOUND),
}
PADDED = {"wav": b"q", "aiff": b"q\0", "caf": b"", "w64": b"q" + bytes(7)}


def leading(kind, *, sound=True, odd=True, parts=PARTS):
    """Small files, each with a chunk that leads over the others to the same thousand chunks."""
    filling = PADDED[kind] if odd else b""
    head = HEADS[kind] + DATA[kind] * sound
    size = len(head + chunk(kind, b"JUNK", 0))
    jumps = (chunk(kind, b"JUNK", number * size) for number in reversed(range(parts)))
    run = chunk(kind, b"JUNK", bool(filling), filling) * 1000
    return b"".join(head + jump for jump in jumps) + run + b"xyzw" * 20


def reads_of(path):
    """Reads of a file in which it is found out what it holds."""
    count = 0
    real = plain_file._Unbuffered._read

    def counted(file, size):
        nonlocal count
        count += 1
        return real(file, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_file._Unbuffered, "_read", counted)
        contents_of(path)
    return count


def steps_of(path):
    """Calls of functions in the same time."""
    count = 0

    def counted(frame, event, function):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        with suppress(RefusedError):
            contents_of(path)
    finally:
        sys.setprofile(before)
    return count


class TestChunks:
    @pytest.mark.parametrize("sound", [True, False])
    @pytest.mark.parametrize("odd", [True, False])
    @pytest.mark.parametrize("kind", HEADS)
    def test_that_all_lead_to_the_same_ones(self, tmp_path, monkeypatch, kind, odd, sound):
        monkeypatch.setattr(bounded, "FREE_READS", 8000)
        path = tmp_path / "x"
        path.write_bytes(leading(kind, sound=sound, odd=odd))
        assert reads_of(path) < 8000 + path.stat().st_size // BYTES_A_READ + 10
        if sound:
            found = read(tmp_path, path.read_bytes())
            assert found.verdict == ("partial", "more_data")
            assert "over the same bytes too often: the rest is not read" in found.detail
            assert len(found.samples) >= 32

    @pytest.mark.parametrize("kind", HEADS)
    def test_of_one_file_are_all_followed(self, tmp_path, kind):
        path = tmp_path / "x"
        path.write_bytes(leading(kind, parts=1)[:-80])
        assert reads_of(path) < FREE_READS // 2
        assert read(tmp_path, path.read_bytes()).verdict[1] != "more_data"


@pytest.mark.parametrize("kind", ["wav", "rf64", "flac", "ogg, opus", "aiff", "caf", "w64", "au"])
def test_as_many_small_files_as_may_be_in_one_are_found(tmp_path, kind):
    one = written(kind, 50)
    odd = b"LIST\5\0\0\0INFOx\0" * 5 if kind == "wav" else b""
    path = tmp_path / "x"
    path.write_bytes((one + odd) * MAX_PARTS)
    parts = contents_of(path).parts
    assert len(parts) == MAX_PARTS
    assert not any(isinstance(part, RefusedError) for part in parts)


def test_a_file_is_read_as_often_as_its_size_allows(tmp_path):
    (tmp_path / "x").write_bytes(bytes(100_000))
    with (tmp_path / "x").open("rb", buffering=0) as opened:
        file = bounded.bounded_file(opened, 100_000)
        for _ in range((FREE_READS + 100_000 // BYTES_A_READ) // 2):
            file.seek(0)
            assert len(file.read(4096)) == 4096  # counts twice
        assert (file.tell(), file.fileno()) == (4096, opened.fileno())
        with pytest.raises(TooManyReadsError):
            file.read(1)


FRAME = bytes([0xFF, 0xF3, 0x14, 0xC4]) + bytes(20)  # of MPEG audio
AU = written("au", 1)


def flac_head(total):
    fields = 8000 << 44 | 15 << 36 | total
    return b"fLaC\x80\0\0\x22\x10\0\x10\0" + bytes(6) + struct.pack(">Q", fields) + bytes(16)


def page(number, content=b"", lacing=None, serial=1):
    head = b"OggS\0" + bytes([2 * (number == 0)]) + bytes(8)
    lacing = bytes([len(content)]) if lacing is None else lacing
    head += struct.pack("<IIIB", serial, number, 0, len(lacing))
    return with_crc(head + lacing + content)


CROWDED = {
    "flac, and one end with marks of frames": flac_head(1000) * 300 + b"\xff\xf8" * 8192,
    "flac, and one end with headers": flac_head(1000) * 300 + b"\xff\xf8\x19\x08\0\0" * 2700,
    "flac of headers": flac_head(0) + b"\xff\xf8\xc9\x08\x41\0" * 5000,
    "ogg and au in turn": (page(0, b"\x01vorbis" + bytes(23)) + AU) * 300,
    "mp3 and au in turn": (FRAME * 3 + AU) * 300,
    "gaps between frames": (FRAME * 3 + b"x") * 500,
    "gaps between pages": b"".join(page(number, b"a") + b"x" for number in range(1000)),
    "pages within pages": b"".join(page(number, b"", b"\xff" * 3) for number in range(1000)),
    "pages of two streams": page(0) + b"".join(page(1, b"a", serial=n % 2) for n in range(900)),
    "au without sound": AU[:24] * 1000,
    "text between files": (AU + b"text " * 200) * 100,
    "tags between files": (AU + (b"ID3\4" + bytes(6)) * 60) * 100,
}


@pytest.mark.parametrize("content", CROWDED.values(), ids=CROWDED)
def test_steps_grow_with_the_size(tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    assert steps_of(path) < 20 * len(content) + 10_000


def test_a_file_that_grows_while_it_is_searched_is_searched_as_far_as_it_went(tmp_path):
    """Text behind a sound is no sound, to the end of the file; a log may be as long as it likes."""
    path = tmp_path / "x"
    path.write_bytes(written("au", 1000) + b"text " * 1000)
    with path.open("rb", buffering=0) as file:
        size = path.stat().st_size
        with path.open("ab") as other:
            other.write(b"text " * 1_000_000)
        assert plan.hidden_bytes(file, 2024, size) == 0
        assert file.tell() <= size
