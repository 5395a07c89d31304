"""The table of faults: files as recorders, disks and people leave them, and what is due to each."""

import io
from typing import NamedTuple

import numpy as np
import soundfile

from tests.oracles import chunk, wav_bytes
from tests.preprocessing.reading.test_riff import rf64_bytes

RATE = 4000
LENGTH = 4000
SOUND = np.random.default_rng(5).normal(0, 0.1, LENGTH).clip(-0.9, 0.9)
PCM = (SOUND * 32767).astype("<i2").tobytes()
HTML = b"<!doctype html><html><head><title>403 Forbidden</title></head></html>\n" * 9


class Fault(NamedTuple):
    """A file, and the row that it must have."""

    content: bytes
    status: str
    reason: str | None = None
    read: int = LENGTH
    missing: int = 0
    declared: int | None = LENGTH
    flags: tuple[str, ...] = ()


def wav(data: bytes = PCM, **options: int | bytes) -> bytes:
    return wav_bytes(data, **{"sample_rate": RATE, **options})


def floats(samples, **options: int) -> bytes:
    return wav(np.asarray(samples, "<f4").tobytes(), bits=32, tag=3, **options)


def written(kind: str, coding: str, samples=SOUND, rate: int = RATE) -> bytes:
    memory = io.BytesIO()
    soundfile.write(memory, samples, rate, format=kind, subtype=coding)
    return memory.getvalue()


def with_riff_size(size: int, content: bytes) -> bytes:
    return content[:4] + size.to_bytes(4, "little") + content[8:]


def with_rate(rate: int) -> bytes:
    return wav()[:24] + rate.to_bytes(4, "little") + wav()[28:]


def spoilt(values: dict[int, float]) -> bytes:
    samples = SOUND.copy()
    samples[list(values)] = list(values.values())
    return floats(samples)


def refused(content: bytes, reason: str, declared: int | None = None, missing: int = 0) -> Fault:
    return Fault(content, "refused", reason, 0, missing, declared)


def wrong(content: bytes, declared: int | None, **changes: int) -> Fault:
    return Fault(content, "repaired", "header_sizes", declared=declared, **changes)


def cut(kind: str, coding: str, *, read: int, declared: int = LENGTH) -> Fault:
    """The first half of a file, and what frames are whole in it."""
    content = written(kind, coding)
    half = content[: len(content) // 2]
    return Fault(half, "partial", "truncated", read, declared - read, declared)


def tone(amplitude: float, mean: float = 0.0):
    return amplitude * np.sin(np.arange(LENGTH) / 3) + mean


SQUARE = np.clip(tone(1.2), -1, 1)
LOUD = {7: 1.5, 8: -1.2}
ALL_NUL = bytes(100_000)
GSM = written("WAV", "GSM610")
IMA = written("WAV", "IMA_ADPCM")
CAF = written("CAF", "PCM_16")
MS = written("WAV", "MS_ADPCM")
OGG = written("OGG", "VORBIS", np.tile(SOUND, 20))

CRASHED = {
    "data size 0, RIFF size 36": wrong(with_riff_size(36, wav(data_size=0)), 0),
    "data size 0, RIFF size 0": wrong(with_riff_size(0, wav(data_size=0)), 0),
    "data size 44": wrong(wav(data_size=44), 22),
    "a tail of NULs": wrong(wav(PCM + bytes(3000), data_size=0), 0, missing=1500),
    "the header and NULs": refused(wav(bytes(8000), data_size=0), "no_samples", 0, 4000),
}
TOO_LARGE = {
    "+44": wrong(wav(data_size=len(PCM) + 44), LENGTH + 22),
    "0x7FFFFFFF": wrong(wav(data_size=0x7FFFFFFF), None),
    "0xFFFFFFFF": wrong(wav(data_size=0xFFFFFFFF), None),
    "RF64": Fault(rf64_bytes(PCM, len(PCM), RATE), "ok"),
    "RF64 of 4 EiB": wrong(rf64_bytes(PCM, 1 << 62, RATE), None),
    "RF64 without ds64": wrong(b"RF64" + wav(data_size=0xFFFFFFFF)[4:], None),
    "another chunk of 4 GiB": Fault(
        wav(before=chunk(b"LIST", b"INFO", size=0xFFFFFFF0)), "repaired", "header_fields"
    ),
}
CUT = {
    "truncated": Fault(wav()[:-2000], "partial", "truncated", 3000, 1000),
    "odd last byte": Fault(wav()[:-1], "partial", "truncated", 3999, 1),
    "truncated AIFF": cut("AIFF", "PCM_16", read=1986),
    "truncated CAF": cut("CAF", "PCM_16", read=976),
    "truncated AU": cut("AU", "PCM_16", read=1994),
    "truncated W64": cut("W64", "PCM_16", read=1974),
    "truncated IMA ADPCM": cut("WAV", "IMA_ADPCM", read=1515, declared=4040),
    "truncated GSM": cut("WAV", "GSM610", read=1920, declared=4160),
    "two chunks of data": Fault(
        wav(after=chunk(b"data", PCM)), "partial", "more_data", LENGTH, LENGTH, LENGTH
    ),
}
NO_SOUND = {
    "stub": refused(wav(b""), "no_samples", 0),
    "half a header": refused(wav()[:30], "bad_header"),
    "zero bytes": refused(b"", "empty_file"),
    "all NUL": refused(ALL_NUL, "not_audio"),
    "noise without a header": refused(PCM, "not_audio"),
    "text": refused(b"this is no sound\n" * 30, "not_audio"),
    "HTML": refused(HTML, "not_audio"),
    "a stub of MP3": refused(b"\xff\xfb\x90\x64" + bytes(500), "not_audio"),
    "FLAC": Fault(written("FLAC", "PCM_16"), "ok"),
}
CODED = {
    "IMA ADPCM": Fault(IMA, "ok", read=4040, declared=4040),
    "MS ADPCM": Fault(MS, "ok", read=4000, declared=4000),
    "GSM 6.10": Fault(GSM, "ok", read=4160, declared=4160),
    "A-law": Fault(written("WAV", "ALAW"), "ok"),
    "mu-law, crashed": wrong(
        written("WAV", "ULAW").replace(b"data" + LENGTH.to_bytes(4, "little"), b"data" + bytes(4)),
        0,
    ),
    "ADPCM, crashed": wrong(
        IMA.replace(b"data" + (2048).to_bytes(4, "little"), b"data" + bytes(4)), 0, read=4040
    ),
    **{
        f"format {tag:#06x}": refused(wav(tag=tag), "unsupported_coding")
        for tag in (0, 0x40, 0x45, 0x50, 0x55, 0x161, 0x674F, 0xFFFF)
    },
    "PCM of 64 bits": refused(wav(bits=64), "unsupported_coding", LENGTH // 4, LENGTH // 4),
}
SAMPLES = {
    "NaN": Fault(spoilt({5: np.nan}), "repaired", "non_finite", flags=("nonfinite",)),
    "Inf": Fault(spoilt({5: np.inf, 6: -np.inf}), "repaired", "non_finite", flags=("nonfinite",)),
    "beyond +-1": Fault(spoilt(LOUD), "ok", flags=("over_full_scale",)),
    "in micropascals": Fault(
        floats(1e5 * SOUND), "ok", flags=("over_full_scale", "dc_offset", "unscaled")
    ),
    "far beyond": refused(floats(1e9 * SOUND), "beyond_scale", LENGTH, LENGTH),
    "damage far beyond": Fault(spoilt({5: 1e9}), "repaired", "non_finite", flags=("nonfinite",)),
    "DC": Fault(floats(tone(0.1, 0.2)), "ok", flags=("dc_offset",)),
    "clipped": Fault(floats(SQUARE), "ok", flags=("clipped",)),
    "a dead channel": Fault(
        floats(np.stack([SOUND, 0 * SOUND], axis=1), channels=2), "ok", flags=("dead_channel",)
    ),
    "all zero": Fault(floats(0 * SOUND), "ok", flags=("silent",)),
    "one sample": Fault(wav(PCM[:2]), "ok", read=1, declared=1, flags=("dc_offset", "silent")),
    "no sample": refused(floats([]), "no_samples", 0),
    "only NaN": Fault(
        floats(np.full(LENGTH, np.nan)), "repaired", "non_finite", flags=("nonfinite", "silent")
    ),
}
SHAPES = {
    "384 kHz": Fault(wav(sample_rate=384_000), "ok", flags=("above_bandwidth",)),
    **{
        f"{rate} Hz": refused(with_rate(rate), "bad_rate", LENGTH, LENGTH)
        for rate in (0, 1, 4_000_000_000)
    },
    "no channels": refused(wav(channels=0), "bad_channels"),
    "64 channels": Fault(
        wav(np.repeat(np.frombuffer(PCM, "<i2"), 64).tobytes(), channels=64), "ok"
    ),
    "65535 channels": refused(
        wav(bytes(131_070), bits=16).replace(b"\1\0\1\0", b"\1\0\xff\xff"), "bad_channels", 1, 1
    ),
}
FAULTS = {**CRASHED, **TOO_LARGE, **CUT, **NO_SOUND, **CODED, **SAMPLES, **SHAPES}
