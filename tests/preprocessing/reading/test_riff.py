import io
import struct

import pytest

from tests.oracles import chunk, fmt_chunk, wav_bytes
from ulmo.preprocessing.reading import riff
from ulmo.preprocessing.reading.riff import WavLayout, read_chunks

RATE = 16000
DATA = bytes(range(200))
JUNK = chunk(b"LIST", b"any")  # odd: a byte of padding follows


def layout_of(tmp_path, content):
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with path.open("rb") as file:
        return riff.layout_of(file, len(content))


def layout(**changes):
    """The layout of DATA as 16-bit mono, but for the changes."""
    sizes = (44, len(DATA), len(DATA))  # before the data, declared, physical
    return WavLayout(1, 1, RATE, 2, 16, 0, *sizes, chunk_follows=False)._replace(**changes)


def rf64_bytes(data, declared, rate=RATE):
    """An RF64 file (EBU Tech 3306): the data's size is in ds64."""
    sizes = chunk(b"ds64", struct.pack("<QQQI", 72 + len(data), declared, 0, 0))
    fmt = fmt_chunk(sample_rate=rate)
    return b"RF64\xff\xff\xff\xffWAVE" + sizes + fmt + chunk(b"data", data, size=0xFFFFFFFF)


def wav(data=DATA, **options):
    return wav_bytes(data, **{"sample_rate": RATE, **options})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (wav(), {}),
        (
            wav(sample_rate=48000, channels=2, bits=24),
            {"sample_rate": 48000, "channels": 2, "bits": 24, "block_align": 6},
        ),
        (wav(bits=32, tag=3), {"format_tag": 3, "bits": 32, "block_align": 4}),
        (wav(extensible=True), {"data_offset": 68}),
        (
            wav(bits=32, tag=3, extensible=True),
            {"format_tag": 3, "bits": 32, "block_align": 4, "data_offset": 68},
        ),
        (wav(before=JUNK + chunk(b"bext", b"1234")), {"data_offset": 44 + 12 + 12}),
        (wav(after=JUNK), {"physical_bytes": len(DATA) + 12, "chunk_follows": True}),
        (
            wav(DATA[:99], bits=8, after=JUNK),
            {"bits": 8, "block_align": 1, "declared_bytes": 99}
            | {"physical_bytes": 112, "chunk_follows": True},
        ),
        (rf64_bytes(DATA, len(DATA)), {"data_offset": 80}),
        (rf64_bytes(DATA, 1 << 62), {"data_offset": 80, "declared_bytes": 1 << 62}),
    ],
)
def test_layout(tmp_path, content, expected):
    found = layout_of(tmp_path, content)
    assert found._replace(end=0) == layout(**expected)
    assert found.end == len(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        b"RIFF\0\0\0\0AVI " + fmt_chunk(sample_rate=RATE) + chunk(b"data", DATA),
        b"FORM\0\0\0\0AIFF",
        wav()[:20],
        wav()[:43],
        b"RIFF\0\0\0\0WAVE" + chunk(b"data", DATA) + fmt_chunk(sample_rate=RATE),
        b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", b"short") + chunk(b"data", DATA),
        b"RIFF\0\0\0\0WAVE" + fmt_chunk(sample_rate=RATE) + chunk(b"LIST", DATA, size=1 << 31),
        wav(before=1000 * chunk(b"JUNK", b"")),
    ],
)
def test_what_has_no_layout(tmp_path, content):
    assert layout_of(tmp_path, content) is None


def names_of(content):
    return [chunk.name for chunk in read_chunks(io.BytesIO(content), len(content))]


@pytest.mark.parametrize(
    "content",
    [
        wav(after=JUNK + chunk(b"guan", b"x")),
        wav(DATA[:99], bits=8, after=JUNK + chunk(b"guan", b"x")),
        # odd, and not padded
        wav(b"")[:-8] + b"data\x03\0\0\x00123" + JUNK + chunk(b"guan", b""),
        # odd, and padded with what could be a name
        wav(b"")[:-8] + b"data\x03\0\0\x00123A" + JUNK + chunk(b"guan", b""),
    ],
)
def test_chunks_behind_the_sound(content):
    assert names_of(content) == [b"fmt ", b"data", b"LIST", b"guan"]


def test_chunks_behind_the_sound_of_rf64():
    content = rf64_bytes(DATA, len(DATA)) + JUNK
    assert names_of(content) == [b"ds64", b"fmt ", b"data", b"LIST"]
    assert names_of(rf64_bytes(DATA, 1 << 62) + JUNK) == [b"ds64", b"fmt ", b"data"]
    assert names_of(b"RIFF\0\0\0\0AVI " + JUNK) == []


@pytest.mark.parametrize(
    ("declared", "physical", "missing", "oversized", "unfinished"),
    [
        (1000, 1000, 0, False, False),
        (1000, 600, 400, False, False),
        (1000, 0, 1000, False, False),
        (1044, 1000, 0, True, False),  # the header counted among the data
        (1045, 1000, 45, False, False),
        (0x7FFFF000, 1000, 0, True, False),  # SoX, writing to a pipe
        (0x7FFFFFFF, 1000, 0, True, False),
        (0x80000000, 1000, 0, True, False),
        (0xFFFFFFFF, 1000, 0, True, False),
        (1 << 62, 1000, 0, True, False),
        (0x7FFFEFFF, 1000, 0x7FFFEFFF - 1000, False, False),
        (3_000_000_000, 1000, 3_000_000_000 - 1000, False, False),  # a true size, cut short
        (0xFFFFFFFF, 0xFFFFFFFF, 0, False, False),
        (0, 1000, 0, False, True),
        (44, 1000, 0, False, True),
        (46, 1000, 0, False, False),
        (0, 0, 0, False, False),
        (44, 45, 0, False, False),  # half a sample is none
        (700_000_000, 700_000_000 + (1 << 32), 0, False, True),  # a size that wrapped at 4 GiB
    ],
)
def test_what_the_sizes_say(declared, physical, missing, oversized, unfinished):
    of = layout(declared_bytes=declared, physical_bytes=physical)
    assert of.bytes_missing == missing
    assert of.oversized == oversized
    assert of.unfinished == unfinished
    assert not of._replace(chunk_follows=True).unfinished


@pytest.mark.parametrize(
    ("tag", "bits", "subtype"),
    [
        *((1, 8, "PCM_U8"), (1, 16, "PCM_16"), (1, 24, "PCM_24"), (1, 32, "PCM_32")),
        *((3, 32, "FLOAT"), (3, 64, "DOUBLE"), (6, 8, "ALAW"), (7, 8, "ULAW")),
        *((1, 12, "PCM_16"), (1, 40, None), (3, 16, None), (0x31, 0, None)),  # 0x31: GSM 6.10
    ],
)
def test_subtype(tag, bits, subtype):
    assert layout(format_tag=tag, bits=bits).subtype == subtype


@pytest.mark.parametrize("declared", [0, 20])
def test_samples_that_look_like_a_chunk_are_no_chunk(tmp_path, declared):
    """After a crash; chunks up to the end of the file are chunks."""
    data = bytes(declared) + b"cue " + struct.pack("<I", 28) + bytes(range(1, 201))
    content = wav(data)
    content = content[:40] + struct.pack("<I", declared) + content[44:]
    assert layout_of(tmp_path, content).unfinished
    true = wav(bytes(declared), after=chunk(b"cue ", bytes(range(28))) + JUNK)
    assert not layout_of(tmp_path, true).unfinished
