"""Small sound files of every kind that soundfile writes, and how each is read."""

import io
import os
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from ulmo.preprocessing.reading.audio import RefusedError, open_recording

# Linux and macOS have the call; on Windows, ulmo would read a terabyte of NUL bytes for hours.
knows_holes = pytest.mark.skipif(
    not hasattr(os, "SEEK_DATA"), reason="Windows has no call that finds the holes of a file"
)
KINDS = {
    "wav": ("WAV", "PCM_16"),
    "wav of 24 bits": ("WAV", "PCM_24"),
    "wav of floats": ("WAV", "FLOAT"),
    "wav of bytes": ("WAV", "PCM_U8"),
    "wav, mu-law": ("WAV", "ULAW"),
    "wav, IMA ADPCM": ("WAV", "IMA_ADPCM"),
    "wav, MS ADPCM": ("WAV", "MS_ADPCM"),
    "wav, GSM": ("WAV", "GSM610"),
    "wavex": ("WAVEX", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "w64 of bytes": ("W64", "PCM_U8"),
    "w64, IMA ADPCM": ("W64", "IMA_ADPCM"),
    "flac": ("FLAC", "PCM_16"),
    "flac of 24 bits": ("FLAC", "PCM_24"),
    "ogg, vorbis": ("OGG", "VORBIS"),
    "ogg, opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "aiff of bytes": ("AIFF", "PCM_S8"),
    "aiff of floats": ("AIFF", "FLOAT"),
    "aiff, mu-law": ("AIFF", "ULAW"),
    "aiff, IMA ADPCM": ("AIFF", "IMA_ADPCM"),
    "aiff, GSM": ("AIFF", "GSM610"),
    "caf": ("CAF", "PCM_16"),
    "caf of bytes": ("CAF", "PCM_S8"),
    "caf, A-law": ("CAF", "ALAW"),
    "au": ("AU", "PCM_16"),
    "au of floats": ("AU", "FLOAT"),
}
MONO = {kind for kind, (form, coding) in KINDS.items() if coding == "GSM610"} | {"aiff, IMA ADPCM"}


class Read(NamedTuple):
    """What became of a file."""

    samples: np.ndarray  # (n, channels)
    missing: int
    verdict: tuple[str, str | None]
    detail: str | None
    declared: int | None


@cache
def written(kind, frames, rate=8000, channels=1, seed=0):
    """A file of some kind: two tones and noise."""
    n = np.arange(frames)
    noise = np.random.default_rng(seed).normal(0, 0.05, (frames, channels))
    samples = (0.3 * np.sin(n / 7) + 0.2 * np.sin(n / 2.3))[:, None] + noise
    memory = io.BytesIO()
    form, coding = KINDS[kind]
    soundfile.write(memory, samples.astype(np.float32), rate, format=form, subtype=coding)
    return memory.getvalue()


def read(folder, content):
    """Read the bytes of a file to the end."""
    path = folder / "recording"
    path.write_bytes(content)
    with open_recording(path) as recording:
        blocks = list(recording.blocks())
    samples = np.concatenate(blocks)
    assert len(samples) == recording.frames_read
    facts = recording.verdict, recording.detail, recording.frames_declared
    return Read(samples, recording.frames_missing, *facts)


def frames_in(folder, content):
    """Frames read, frames missing, and the verdict; nothing is read of what is refused."""
    try:
        found = read(folder, content)
    except RefusedError as refusal:
        return 0, refusal.missing, ("refused", refusal.reason)
    return len(found.samples), found.missing, found.verdict
