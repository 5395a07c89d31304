"""Codebooks of Vorbis that would end the decoder's process, or take gigabytes, never reach it."""

import io
from itertools import product

import numpy as np
import pytest
import soundfile

from tests.preprocessing.reading import edited
from tests.preprocessing.reading.sounds import written
from ulmo.preprocessing.reading import vorbis
from ulmo.preprocessing.reading.audio import RefusedError
from ulmo.preprocessing.reading.plan import contents_of

LARGEST = vorbis.MOST_ENTRIES


def fields(*numbers):
    """Numbers and their widths in bits, as bits: the lowest first."""
    return "".join(f"{number:0{width}b}"[::-1] for number, width in numbers)


def book(entries, dimensions=1, kind=0):
    """A codebook of entries in order: one short code, and the others one bit longer each."""
    head = fields((0x564342, 24), (dimensions, 16), (entries, 24), (1, 1), (0, 5))
    left = entries
    while left > 0:
        head += fields((max(left // 2, 1), left.bit_length()))
        left -= max(left // 2, 1)
    return head + fields((kind, 4), *[(0, 32), (0, 32), (0, 5), (0, 99)] * (kind > 0))


def with_books(books):
    """A file of Ogg Vorbis with further codebooks before its own."""
    first, second, *others = edited.ogg_pages(written("ogg, vorbis", 9000))
    comments, _, setup = second[27 + second[26] :].partition(vorbis.MARK)
    bits = "".join(f"{byte:08b}"[::-1] for byte in setup)
    bits = fields((int(bits[7::-1], 2) + len(books), 8)) + "".join(books) + bits[8:]
    bits += "0" * (-len(bits) % 8)
    packet = bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))
    setup = edited.ogg_page(vorbis.MARK + packet, int.from_bytes(first[14:18], "little"), 2, 0, 0)
    comments = edited.ogg_page(comments, int.from_bytes(first[14:18], "little"), 1, 0, 0)
    return first + comments + setup + b"".join(others)


@pytest.mark.parametrize(
    ("books", "words"),
    [
        ([book(1 << 22)], "4194304 entries"),
        ([book(LARGEST + 1)], f"{LARGEST + 1} entries"),
        ([book(LARGEST, 16)] * 5, "more than 1048576 values"),
        ([book(8, 0)], "no dimensions"),
        ([book(8, 1, 3)], "an unknown kind"),
        (["1" * 24], "another mark"),
    ],
)
def test_what_no_encoder_writes_never_reaches_the_decoder(tmp_path, books, words):
    (tmp_path / "x").write_bytes(with_books(books))
    (refused,) = contents_of(tmp_path / "x").parts
    assert isinstance(refused, RefusedError)
    assert (refused.reason, refused.missing) == ("bad_header", None)
    assert words in refused.detail


def test_a_packet_that_is_damaged_or_cut_never_reaches_the_decoder():
    content = written("ogg, vorbis", 9000)
    setup = content[content.index(vorbis.MARK) :]
    for size in range(len(vorbis.MARK), 1500, 97):
        with pytest.raises(vorbis.SetupError):
            vorbis.check_setup(setup[:size])
    with pytest.raises(vorbis.SetupError, match="missing"):
        vorbis.check_setup(b"x")
    with pytest.raises(vorbis.SetupError, match="longer"):
        vorbis.check_setup(vorbis.MARK + bytes(vorbis.MOST_BYTES))


def test_pages_that_others_join_otherwise_are_refused(tmp_path):
    """A decoder might find another third packet in them than is checked here."""
    first, second, *others = edited.ogg_pages(written("ogg, vorbis", 9000))
    second = edited.with_crc(second[:5] + b"\1" + second[6:])
    (tmp_path / "x").write_bytes(first + second + b"".join(others))
    (refused,) = contents_of(tmp_path / "x").parts
    assert isinstance(refused, RefusedError)


def test_what_an_encoder_writes_is_read():
    noise = np.random.default_rng(0).normal(0, 0.1, (2000, 2)).astype(np.float32)
    written_ones = 0
    rates = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, 192000)
    for rate, channels, level in product(rates, (1, 2), (0, 0.3, 0.6, 1)):
        memory = io.BytesIO()
        options = {"format": "OGG", "subtype": "VORBIS", "compression_level": level}
        soundfile.write(memory, noise[:, :channels], rate, **options)
        content = memory.getvalue()
        pages = edited.ogg_pages(content)
        headers = b"".join(page[27 + page[26] :] for page in pages[:3])
        vorbis.check_setup(headers[headers.index(vorbis.MARK) :][: vorbis.MOST_BYTES])
        written_ones += 1
    assert written_ones == 72
