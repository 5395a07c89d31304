"""What mutants are made of: small files of every kind that is read, and of some that are not."""

import io
from pathlib import Path

import numpy as np
import scipy.io
import soundfile

from tests.oracles import chunk, wav_bytes

MALFORMED = Path(__file__).parents[3] / "shared" / "malformed"
SCIPY = Path(scipy.io.__file__).parent / "tests" / "data"
MOST = 1 << 13
KINDS = [
    ("WAV", "PCM_U8"),
    *(("WAV", coding) for coding in ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    *(("WAV", coding) for coding in ("ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610")),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("W64", "IMA_ADPCM"),
    *(("AIFF", coding) for coding in ("PCM_16", "FLOAT", "ULAW", "IMA_ADPCM", "GSM610")),
    *(("AU", coding) for coding in ("PCM_16", "FLOAT", "ULAW")),
    *(("CAF", coding) for coding in ("PCM_16", "FLOAT", "ALAW")),
    *(("FLAC", coding) for coding in ("PCM_16", "PCM_24")),
    *(("OGG", coding) for coding in ("VORBIS", "OPUS")),
    ("MP3", "MPEG_LAYER_III"),
]


def own_seeds() -> list[bytes]:
    """A tenth of a second of two tones, of one channel and of two, in each kind."""
    n = np.arange(800)
    tones = 0.4 * np.stack([np.sin(n / 5), np.sin(n / 3)], axis=1).astype(np.float32)
    found = []
    for kind, coding in KINDS:
        for channels in (1, 2):
            if (coding == "GSM610" or (kind, coding) == ("AIFF", "IMA_ADPCM")) and channels == 2:
                continue
            memory = io.BytesIO()
            soundfile.write(memory, tones[:, :channels], 8000, format=kind, subtype=coding)
            found.append(memory.getvalue())
    data = (tones[:, 0] * 32767).astype("<i2").tobytes()
    around = {"before": chunk(b"bext", bytes(602)), "after": chunk(b"guan", b"GUANO|Version: 1.0")}
    found += [wav_bytes(data, sample_rate=8000, data_size=size) for size in (0, 44, 0xFFFFFFFF)]
    found.append(wav_bytes(data, sample_rate=8000, **around))
    return found


def all_seeds() -> list[bytes]:
    """Small files made here, those of SciPy, and malformed ones; the last two if they are there."""
    paths = [
        path
        for folder in (MALFORMED, SCIPY)
        for path in sorted(folder.rglob("*.wav"))
        if path.is_file()
    ]
    return own_seeds() + [path.read_bytes()[:MOST] for path in paths]
