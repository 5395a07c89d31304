"""Kinds of files by their first bytes, and what their headers promise."""

import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from tests.oracles import wav_bytes
from ulmo.preprocessing.audio import open_recording
from ulmo.preprocessing.containers import (
    HEADERS,
    declared_frames,
    kind_of,
    mpeg_frame_bytes,
    ogg_has_end,
)

TONE = 0.3 * np.sin(np.arange(8000) / 4).astype(np.float32)
KINDS = {
    "wav": ("WAV", "PCM_16"),
    "w64": ("W64", "PCM_24"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "aiff": ("AIFF", "PCM_16"),
    "caf": ("CAF", "FLOAT"),
    "au": ("AU", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def written(kind, coding, channels=1):
    memory = io.BytesIO()
    samples = np.stack([TONE] * channels, axis=1)
    soundfile.write(memory, samples, 8000, format=kind, subtype=coding)
    return memory.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_told(kind):
    content = written(*KINDS[kind])
    assert kind_of(io.BytesIO(content)) == kind
    if kind != "mp3":
        assert kind_of(io.BytesIO(b"\0" + content)) is None


@pytest.mark.parametrize("kind", ["mp3", "flac"])
def test_sound_behind_a_tag(kind, tmp_path):
    tag = b"ID3\x04\0\0" + bytes([0, 0, 2, 1]) + bytes(257)
    content = tag + written(*KINDS[kind])
    assert kind_of(io.BytesIO(content)) == kind
    assert kind_of(io.BytesIO(tag + b"no sound")) is None
    (tmp_path / "x").write_bytes(content)
    with open_recording(tmp_path / "x") as recording:
        assert sum(map(len, recording.blocks())) == recording.frames_declared >= 8000
        assert recording.verdict == ("ok", None)


@pytest.mark.parametrize(
    ("header", "length"),
    [
        ("fffb9064", 417),  # version 1, layer III, 128 kbit/s at 44.1 kHz: 144 * 128000 / 44100
        ("fffb9264", 418),  # padded
        ("fff38064", 208),  # version 2, layer III, 64 kbit/s at 22.05 kHz: 72 * 64000 / 22050
        ("fffd8464", 384),  # layer II, 128 kbit/s at 48 kHz
        ("ffff4464", 4 * (12 * 128_000 // 48_000)),  # layer I
        ("fffbf064", 0),  # no such bit rate
        ("fffb0064", 0),
        ("fffb9c64", 0),  # no such sample rate
        ("ffeb9064", 0),  # no such version
        ("fff99064", 0),  # no such layer
        ("7ffb9064", 0),
        ("fffb90", 0),
    ],
)
def test_the_length_of_an_mpeg_frame(header, length):
    assert mpeg_frame_bytes(bytes.fromhex(header)) == length


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("kind", "coding"),
    [
        *(("W64", coding) for coding in ("PCM_16", "PCM_24", "FLOAT", "ULAW")),
        *(("AIFF", coding) for coding in ("PCM_16", "PCM_24", "FLOAT", "ULAW")),
        *(("CAF", coding) for coding in ("PCM_16", "DOUBLE", "ALAW")),
        *(("AU", coding) for coding in ("PCM_16", "FLOAT", "DOUBLE", "ULAW")),
    ],
)
def test_what_headers_declare(kind, coding, channels):
    content = written(kind, coding, channels)
    for part in (content, content[: len(content) // 2]):
        assert declared_frames(io.BytesIO(part), kind.lower()) == 8000


def test_apples_adpcm_counts_packets():
    assert declared_frames(io.BytesIO(written("AIFF", "IMA_ADPCM")), "aiff") == 8000


def test_sizes_that_stand_for_none():
    au = bytearray(written("AU", "PCM_16"))
    au[8:12] = b"\xff" * 4
    assert declared_frames(io.BytesIO(bytes(au)), "au") is None
    caf = written("CAF", "PCM_16")
    at = caf.index(b"data") + 4
    for size in (-1, 1 << 62, 4, 0):
        unknown = caf[:at] + struct.pack(">q", size) + caf[at + 8 :]
        assert declared_frames(io.BytesIO(unknown), "caf") is None
    assert declared_frames(io.BytesIO(written("FLAC", "PCM_16")), "flac") is None


def test_the_end_of_an_ogg_stream():
    content = written("OGG", "VORBIS")
    assert ogg_has_end(io.BytesIO(content), len(content))
    for size in (0, 10, len(content) // 2, len(content) - 1):
        assert not ogg_has_end(io.BytesIO(content[:size]), size)
    before_the_last_page = content[: content.rindex(b"OggS")]
    assert not ogg_has_end(io.BytesIO(before_the_last_page), len(before_the_last_page))


@given(
    kind=st.sampled_from(sorted(HEADERS)),
    head=st.sampled_from([written(*KINDS[kind])[:200] for kind in ("w64", "aiff", "caf", "au")]),
    changes=st.lists(st.tuples(st.integers(0, 199), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 200),
)
@example("aiff", wav_bytes(b"", sample_rate=8000), [], 200)
@example("au", written(*KINDS["au"]), [(20, 1)], 24)  # a frame of more bytes than the data
@example("w64", written(*KINDS["w64"]), [(77, 255)], 200)
def test_no_header_raises(kind, head, changes, cut):
    content = bytearray(head)
    for place, value in changes:
        content[min(place, len(content) - 1)] = value
    file = io.BytesIO(bytes(content[:cut]))
    frames = declared_frames(file, kind)
    assert frames is None or 0 < frames < 1 << 80
    assert isinstance(ogg_has_end(file, cut), bool)
    assert kind_of(file) in {*KINDS, None}
