"""The obvious script: load, melspectrogram, power_to_db, save. Arguments: AUDIO_DIR OUT_DIR"""

import sys
from pathlib import Path

import librosa
import numpy as np

audio, out = map(Path, sys.argv[1:])
out.mkdir()
for path in sorted(audio.iterdir()):
    samples, rate = librosa.load(path, sr=16000)
    power = librosa.feature.melspectrogram(
        y=samples, sr=rate, n_fft=2048, win_length=448, hop_length=160, n_mels=224, norm=None
    )
    np.save(out / f"{path.stem}.npy", librosa.power_to_db(power))
