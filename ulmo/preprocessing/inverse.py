"""Spectrograms back to sound: levels to magnitudes, and phases that fit them.

    normalised levels -> power -> |STFT| -> Griffin-Lim -> samples

What a tile has lost stays lost: phases are guessed, power under `floor_db` is none, what M mel
bands add up is spread over their bins as evenly as they allow. In the mode `level`, a recording
sounds as if its followed level had been HEARD_DB throughout.
"""

import numpy as np
from numpy.typing import NDArray

from ulmo.config import PrepSettings, UserError, not_installed
from ulmo.preprocessing.frontends.mel import mel_plan, triangles
from ulmo.preprocessing.normalize import Normalization, quiet_level, to_power

Array = NDArray[np.float32]

HEARD_DB = -20.0
"""Re a full-scale sine: the alignment level of SMPTE RP 155, so that peaks are not cut off."""


def invert(
    plane: Array, settings: PrepSettings, constants: Normalization | None, *, iterations: int = 32
) -> Array:
    """Samples (frames * hop_length,) of a normalised spectrogram (M, frames), float32.

    The fast Griffin-Lim algorithm (Perraudin et al. 2013), from phases that are the same each
    time; 32 iterations are librosa's default. UserError for what has no inverse: front ends but
    `stft` and `mel`, PCEN, and levels whose constants are not known.
    """
    known = _checked(settings, constants)
    try:
        import librosa
    except ModuleNotFoundError:
        raise not_installed("librosa") from None
    length = plane.shape[1] * settings.hop_length
    if not length:
        return np.empty(0, np.float32)
    levels = known.undo(plane)
    power = np.where(levels > quiet_level(settings), to_power(levels), np.float32(0))
    if settings.normalization == "level":
        power *= np.float32(10 ** (HEARD_DB / 10))
    magnitudes, win_length, n_fft = MAGNITUDES[settings.frontend](power, settings)
    gain = np.float32(win_length / 4)  # of a full-scale sine: half the sum of a Hann window
    samples: Array = librosa.griffinlim(
        np.pad(magnitudes * gain, ((0, 0), (0, 1))),  # librosa has a frame at the very end, too
        n_iter=iterations,
        hop_length=settings.hop_length,
        win_length=win_length,
        n_fft=n_fft,
        length=length,
        pad_mode="constant",
        random_state=0,
    )
    return samples.astype(np.float32)


def _checked(settings: PrepSettings, constants: Normalization | None) -> Normalization:
    if settings.frontend not in MAGNITUDES:
        raise UserError(
            f"{settings.frontend} has no inverse here: only tokens of "
            f"{' and '.join(MAGNITUDES)} become sound"
        )
    if settings.normalization == "pcen":
        raise UserError("PCEN has divided the levels away: its tokens cannot become sound")
    if constants is None:
        raise UserError(
            f"normalization {settings.normalization!r} keeps its constants with each recording: "
            "pass normalization= with those of this one"
        )
    return constants


def _stft_magnitudes(power: Array, settings: PrepSettings) -> tuple[Array, int, int]:
    """Of all bins (n_fft // 2 + 1, frames): 0 at DC and above the M that are known."""
    n_fft = settings.n_fft or 2 * settings.tile_size
    magnitudes = np.zeros((n_fft // 2 + 1, power.shape[1]), np.float32)
    magnitudes[1 : settings.tile_size + 1] = np.sqrt(power)
    return magnitudes, settings.win_length or n_fft, n_fft


def _mel_magnitudes(power: Array, settings: PrepSettings) -> tuple[Array, int, int]:
    """Of all bins: the non-negative powers nearest to zero whose bands are nearest to these."""
    import librosa

    plan = mel_plan(settings)
    weights = triangles(plan.edges, settings.sample_rate, plan.n_fft).astype(np.float32)
    magnitudes = np.sqrt(librosa.util.nnls(weights, power))
    return magnitudes.astype(np.float32), plan.win_length, plan.n_fft


MAGNITUDES = {"stft": _stft_magnitudes, "mel": _mel_magnitudes}
"""The front ends that have an inverse, and theirs: magnitudes, window and FFT length."""
