"""Spectrograms back to sound: levels to magnitudes, and phases that fit them.

    normalised levels -> power -> |STFT| -> Griffin-Lim -> samples

What a tile has lost stays lost: phases are estimated, power under `floor_db` becomes 0, and the
power of a mel band is spread over its bins as evenly as possible. In the mode `level`, a recording
sounds as if its tracked level had been ALIGNMENT_DB throughout.
"""

import numpy as np

from ulmo.arrays import Array
from ulmo.config import PrepSettings, UserError, not_installed, one_line
from ulmo.preprocessing.frontends.mel import mel_plan, triangles
from ulmo.preprocessing.normalize import Normalization, quiet_level, to_power

# The alignment level of SMPTE RP 155, re a full-scale sine: it leaves room for peaks.
ALIGNMENT_DB = -20.0


def invert(
    plane: Array, settings: PrepSettings, constants: Normalization | None, *, iterations: int = 32
) -> Array:
    """Samples (frames * hop_length,) of a normalised spectrogram (M, frames), float32.

    The fast Griffin-Lim algorithm (Perraudin et al. 2013), always from the same phases; 32
    iterations are librosa's default. UserError for front ends other than `stft` and `mel`, for
    PCEN, and for levels without their constants.
    """
    if settings.frontend not in MAGNITUDES:
        raise UserError(
            f"{settings.frontend} has no inverse: only tokens of {' and '.join(MAGNITUDES)} "
            "can become sound"
        )
    if settings.normalization == "pcen":
        raise UserError("PCEN removes the levels: its tokens cannot become sound")
    if constants is None:
        raise UserError(
            f"normalization {settings.normalization!r} has constants for each recording: "
            "pass normalization= with those of this one"
        )
    try:
        from librosa import griffinlim
    except ModuleNotFoundError:
        raise not_installed("librosa") from None
    except RuntimeError as error:  # Numba keeps what it compiles beside librosa, or in the home
        raise UserError(
            f"librosa cannot be loaded ({one_line(error)}): "
            "set NUMBA_CACHE_DIR to a folder that can be written to"
        ) from None
    length = plane.shape[1] * settings.hop_length
    if not length:
        return np.empty(0, np.float32)
    levels = constants.undo(plane)
    power = np.where(levels > quiet_level(settings), to_power(levels), np.float32(0))
    if settings.normalization == "level":
        power *= np.float32(10 ** (ALIGNMENT_DB / 10))
    magnitudes, win_length, n_fft = MAGNITUDES[settings.frontend](power, settings)
    gain = np.float32(win_length / 4)  # a full-scale sine: half the sum of a Hann window
    samples: Array = griffinlim(
        np.pad(magnitudes * gain, ((0, 0), (0, 1))),  # librosa has one more frame at the end
        n_iter=iterations,
        hop_length=settings.hop_length,
        win_length=win_length,
        n_fft=n_fft,
        length=length,
        pad_mode="constant",
        random_state=0,
    )
    return samples.astype(np.float32)


def _stft_magnitudes(power: Array, settings: PrepSettings) -> tuple[Array, int, int]:
    """Magnitudes (n_fft // 2 + 1, frames), 0 at DC and above the M bins; window and FFT length."""
    n_fft = settings.n_fft or 2 * settings.tile_size
    magnitudes = np.zeros((n_fft // 2 + 1, power.shape[1]), np.float32)
    magnitudes[1 : settings.tile_size + 1] = np.sqrt(power)
    return magnitudes, settings.win_length or n_fft, n_fft


def _mel_magnitudes(power: Array, settings: PrepSettings) -> tuple[Array, int, int]:
    """The same for mel: the smallest non-negative powers whose bands fit these best."""
    from librosa.util import nnls

    plan = mel_plan(settings)
    weights = triangles(plan.edges, settings.sample_rate, plan.n_fft).astype(np.float32)
    magnitudes = np.sqrt(nnls(weights, power))
    return magnitudes.astype(np.float32), plan.win_length, plan.n_fft


MAGNITUDES = {"stft": _stft_magnitudes, "mel": _mel_magnitudes}  # front ends with an inverse
