"""Kinds of files by their first bytes, and what their headers promise."""

import io
from functools import partial

import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from tests.oracles import wav_bytes
from ulmo.preprocessing.reading import flac, headers, mp3, ogg, wav
from ulmo.preprocessing.reading.audio import open_recording
from ulmo.preprocessing.reading.containers import find_sound, kind_at, kind_of
from ulmo.preprocessing.reading.mpeg import frame_bytes

TONE = 0.3 * np.sin(np.arange(8000) / 4).astype(np.float32)
ID3 = b"ID3\x04\0\0" + bytes([0, 0, 2, 1]) + bytes(257)
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
    for front in (b"", bytes(999), ID3):
        assert kind_of(io.BytesIO(front + content), len(front + content)) == kind
    assert kind_of(io.BytesIO(b"x" + content), len(content) + 1) is None


@pytest.mark.parametrize("kind", KINDS)
def test_sound_behind_a_tag(kind, tmp_path):
    content = ID3 + written(*KINDS[kind])
    assert kind_of(io.BytesIO(ID3 + b"no sound"), len(ID3) + 8) is None
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
    assert frame_bytes(bytes.fromhex(header)) == length


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
        (found,), end = headers.split(io.BytesIO(part), kind.lower(), len(part))
        assert found.declared == 8000
        assert end == len(part)


def test_apples_adpcm_counts_packets():
    content = written("AIFF", "IMA_ADPCM")
    (part,), _ = headers.split(io.BytesIO(content), "aiff", len(content))
    assert part.declared == 8000


@given(
    kind=st.sampled_from(sorted(headers.LAYOUTS)),
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
    size = len(file.getvalue())
    for split in (partial(headers.split, kind=kind), flac.split, ogg.split, mp3.split, wav.split):
        _, end = split(file, size=size)
        assert 0 <= end <= size
    assert kind_of(file, size) in {*KINDS, None}


@given(
    front=st.binary(max_size=100),
    kind=st.sampled_from(sorted(KINDS)),
    behind=st.binary(max_size=100),
)
def test_a_file_is_found_between_others_bytes(front, kind, behind):
    content = written(*KINDS[kind])
    file = io.BytesIO(front + content + behind)
    place = find_sound(file, 0, len(file.getvalue()))
    assert place == len(front)
    assert find_sound(file, 0, len(file.getvalue()), before=place) is None
    assert kind_at(file, place, len(file.getvalue())) == kind
