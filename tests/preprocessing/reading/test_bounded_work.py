"""Files made to take long: the reader's work and memory have a bound that they cannot move."""

import io
import os
import random
import struct

import pytest

from tests.preprocessing.reading.edited import ogg_page
from tests.preprocessing.reading.sounds import knows_holes, read, written
from ulmo.preprocessing.reading import mpeg, ogg, plan, tags
from ulmo.preprocessing.reading.audio import RefusedError, open_recording
from ulmo.preprocessing.reading.parts import MAX_PARTS
from ulmo.preprocessing.reading.plan import contents_of
from ulmo.preprocessing.reading.refusal import MOST_DETAIL, in_words

VORBIS = b"\x01vorbis" + bytes(4) + b"\1" + struct.pack("<I", 16000) + bytes(12) + b"\xb8\1"
OPUS = b"OpusHead\1\1" + bytes(9)
TAG = b"ID3\4" + bytes(6)


def page(serial, content=VORBIS, number=0):
    """A page of Ogg, the first of its stream if its number is 0."""
    return ogg_page(content, serial, number, 0, 2 * (number == 0))


def contents(folder, content):
    (folder / "x").write_bytes(content)
    return contents_of(folder / "x")


class TestParts:
    def test_streams_of_ogg_beyond_a_number_are_not_read(self, tmp_path):
        content = written("ogg, vorbis", 1000) + b"".join(map(page, range(3 * MAX_PARTS)))
        assert len(contents(tmp_path, content).parts) <= 2 * MAX_PARTS
        found = read(tmp_path, content)
        assert (len(found.samples), found.verdict) == (1000, ("partial", "more_data"))
        assert f"more than {MAX_PARTS} sound files: the rest is not read" in found.detail
        assert len(found.detail) <= MOST_DETAIL

    def test_streams_of_mpeg_beyond_a_number_are_not_read(self, tmp_path):
        one, other = (bytes([0xFF, 0xF3, 0x14, mode]) + bytes(20) for mode in (0xC4, 0x04))
        content = (3 * one + 3 * other) * MAX_PARTS
        assert len(contents(tmp_path, content).parts) == MAX_PARTS + 1

    def test_pieces_of_streams_beyond_a_number_are_not_read(self, tmp_path, monkeypatch):
        for module in (ogg, plan):
            monkeypatch.setattr(module, "MAX_PIECES", 10)
        turns = [page(serial, b"x", number) for number in range(1, 50) for serial in (1, 2)]
        parts = contents(tmp_path, page(1, OPUS) + page(2, OPUS) + b"".join(turns)).parts
        assert sum(len(part.pieces) for part in parts if not isinstance(part, RefusedError)) < 20
        assert "more than 10 pieces: the rest is not read" in parts[-1].detail

    def test_pages_without_sound_are_passed_over(self, tmp_path):
        silent = b"".join(page(serial, b"fishead\0") for serial in range(2 * MAX_PARTS))
        assert len(read(tmp_path, silent + written("ogg, vorbis", 1000)).samples) == 1000


class TestMpeg:
    def test_bytes_that_look_like_headers_are_not_looked_at_one_by_one(self, tmp_path, monkeypatch):
        asked = []
        begins = mpeg.begins_mpeg
        monkeypatch.setattr(mpeg, "begins_mpeg", lambda *at: asked.append(at) or begins(*at))
        found = read(tmp_path, written("mp3", 16000) + b"\xff\xfb\x90\x00" * 100_000)
        assert len(found.samples) == 16000
        assert len(asked) < 500

    def test_audio_begins_where_the_frames_say(self):
        chance = random.Random(0)
        found = [self.first_place(chance) for _ in range(500)]
        assert 50 < sum(place is not None for place in found) < 450

    def first_place(self, chance):
        """Where MPEG audio begins in random bytes, by arrays and by looking at each place."""
        content = bytearray(chance.randbytes(chance.randrange(400)))
        for _ in range(chance.randrange(5)):
            second, third = (
                chance.choice([0xFB, 0xF3, 0xE3, 0xFD]),
                chance.choice([0x14, 0x18, 0xE4]),
            )
            header = bytes([0xFF, second, third, chance.choice([0, 0xC0, 0x40])])
            form, length = mpeg.format_of(header), mpeg.frame_bytes(header)
            for _ in range(chance.randrange(1, 4)):
                frame = header + chance.choice([bytes(length), chance.randbytes(length)])[4:]
                if chance.random() < 0.1:
                    frame = frame[: form.mark] + b"Info" + frame[form.mark + 4 :]
                content += frame
            behind = [b"", b"x", TAG, bytes(9), b"TAG" + bytes(125), chance.randbytes(50)]
            content += chance.choice(behind)
        file, size = io.BytesIO(content), len(content)
        begin, before = chance.randrange(size + 1), chance.randrange(size + 1)
        places = (place for place in range(begin, before) if mpeg.begins_mpeg(file, place, size))
        place = mpeg.find_mpeg(file, begin, size, before)
        assert place == next(places, None)
        return place


class TestFilling:
    class Counted(io.BytesIO):
        """A file that counts the bytes that are read."""

        count = 0

        def read(self, size=-1):
            content = super().read(size)
            self.count += len(content)
            return content

    @pytest.mark.parametrize("unit", [TAG, TAG + b"\0", b"\0" + TAG])
    def test_a_chain_of_tags_is_followed_for_a_while(self, unit):
        file = self.Counted(unit * 100_000)
        end = tags.skip_filling(file, 0, len(file.getvalue()))
        assert 0 < end <= tags.MOST_TAGS * len(unit)
        assert file.count < 1 << 18

    def test_tags_and_nul_bytes_are_skipped(self):
        content = TAG + bytes(5000) + b"TAG" + bytes(125) + bytes(1 << 20)
        file = io.BytesIO(content + b"x")
        assert tags.skip_filling(file, 0, len(content) + 1) == len(content)


@knows_holes
@pytest.mark.parametrize("front", [b"", bytes(9), TAG, written("au", 10)])
@pytest.mark.parametrize("kind", ["wav", "flac", "ogg, vorbis", "mp3", "aiff", "w64"])
def test_holes_of_a_sparse_file_are_not_read(tmp_path, kind, front):
    """They are read for hours otherwise."""
    (tmp_path / "x").write_bytes(front + written(kind, 1000))
    os.truncate(tmp_path / "x", 1 << 40)
    with open_recording(tmp_path / "x") as recording:
        assert sum(map(len, recording.blocks())) >= 1000


class TestDetail:
    def test_equal_details_are_said_once_and_no_line_is_long(self):
        assert in_words("a", None, "b", "a", "") == "a; b"
        assert in_words(None) == ""
        assert len(in_words("x" * 10_000)) <= MOST_DETAIL
        many = in_words(*(f"fault number {number}" for number in range(1000)))
        assert len(many) <= MOST_DETAIL
        assert many.startswith("fault number 0; fault number 1; ")
        shown = many.count("fault")
        assert many.endswith(f"; and {1000 - shown} more")

    def test_a_refusal_has_a_short_detail(self):
        assert len(RefusedError("bad_header", "x" * 10_000).detail) <= MOST_DETAIL


def test_chunks_that_end_before_the_header_says(tmp_path):
    content = bytearray(written("aiff", 1000))
    place = content.index(b"SSND")
    content[place + 4 : place + 12] = struct.pack(">II", 8, 60_000)  # where the samples begin
    with pytest.raises(RefusedError):
        read(tmp_path, bytes(content[: place + 16]))
