"""Each front end beside the best-known library for it: one thread, one run, equal output.

The two outputs are compared before anything is timed.
"""

import warnings
from collections.abc import Callable
from statistics import median
from typing import NamedTuple, cast

import librosa
import numpy as np
import pywt
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.report import machine, publish, side_by_side, table
from ulmo.arrays import Array
from ulmo.config import PrepSettings
from ulmo.jobs.memory import keep_freed_memory
from ulmo.preprocessing.frontends import FrontEnd, build_frontend, count_frames, stream_power
from ulmo.preprocessing.normalize import to_db

SECONDS = 60
FLOOR_DB = -100.0
# PyWavelets transforms only every 16th scale, and its time counts 16 times: all scales would take
# minutes and gigabytes.
CWT_STEP = 16
LOGARITHMIC = ("stft", "mel", "cqt")  # front ends compared in decibels; the others in power


class Case(NamedTuple):
    """A front end, its peer, and the target for the ratio of their speeds."""

    settings: PrepSettings
    peer: str
    repeats: int
    target: float | None = None


def cases() -> list[Case]:
    """The defaults at 16 and at 48 kHz; then windows and hops that suit 48 kHz better."""
    found = []
    for rate in (16_000, 48_000):
        for name, peer, repeats, target in (
            ("stft", "librosa.stft", 15, 2.0),
            ("mel", "librosa.feature.melspectrogram", 9, 5.0),
            ("cqt", "librosa.cqt", 7, 3.0),
            ("cwt", "pywt.cwt", 5, 50.0),
            ("dwt", "pywt.wavedec", 15, 1.0),
            ("wpt", "pywt.WaveletPacket", 7, 2.0),
        ):
            made = PrepSettings(frontend=name, sample_rate=rate, floor_db=FLOOR_DB)
            found.append(Case(made, peer, repeats, target))
    wide = {"sample_rate": 48_000, "hop_length": 480, "floor_db": FLOOR_DB}
    for n_fft in (1024, 2048):
        made = PrepSettings(frontend="stft", n_fft=n_fft, **wide)
        found.append(Case(made, "librosa.stft", 15))
    made = PrepSettings(frontend="mel", win_length=1344, **wide)
    found.append(Case(made, "librosa.feature.melspectrogram", 9))
    return found


def ours(samples: Array, settings: PrepSettings) -> Callable[[], Array]:
    """Samples to an array (M, frames), in decibels for LOGARITHMIC, else in power."""
    frontend = build_frontend(settings)
    frames = count_frames(len(samples), settings.hop_length)

    def run() -> Array:
        whole = np.empty((settings.tile_size, frames), np.float32)
        begin = 0
        for power in stream_power(frontend, [samples]):
            block = to_db(power, FLOOR_DB) if settings.frontend in LOGARITHMIC else power
            whole[:, begin : begin + block.shape[1]] = block
            begin += block.shape[1]
        return whole

    return run


def decibels(power: NDArray[np.floating]) -> NDArray[np.floating]:
    """Power to decibels, as users of librosa write it."""
    found: NDArray[np.floating] = librosa.power_to_db(power, amin=1e-10, top_db=None)
    return found


def librosa_stft(samples: Array, settings: PrepSettings, _: FrontEnd) -> object:
    """Power of an STFT in decibels."""
    n_fft = settings.n_fft or 2 * settings.tile_size
    spectra = librosa.stft(
        samples, n_fft=n_fft, hop_length=settings.hop_length, pad_mode="constant"
    )
    return decibels(np.abs(spectra) ** 2)


def mel_n_fft(settings: PrepSettings) -> int:
    """The FFT length that defines ulmo's bands: see ulmo.preprocessing.frontends.mel."""
    edges = librosa.mel_frequencies(settings.tile_size + 2, fmin=0, fmax=settings.sample_rate / 2)
    least = settings.sample_rate / np.diff(edges).min()
    return 1 << int(np.ceil(np.log2(max(least, settings.win_length or 2 * settings.tile_size))))


def librosa_mel(samples: Array, settings: PrepSettings, _: FrontEnd) -> object:
    """Power of mel bands in decibels."""
    power = librosa.feature.melspectrogram(
        y=samples,
        sr=settings.sample_rate,
        n_fft=mel_n_fft(settings),
        win_length=settings.win_length or 2 * settings.tile_size,
        hop_length=settings.hop_length,
        n_mels=settings.tile_size,
        norm=None,
        pad_mode="constant",
    )
    return decibels(power)


def librosa_cqt(samples: Array, settings: PrepSettings, frontend: FrontEnd) -> object:
    """Power of a CQT in decibels."""
    frequencies = frontend.frequencies
    spectra = librosa.cqt(
        samples,
        sr=settings.sample_rate,
        hop_length=settings.hop_length,
        fmin=float(frequencies[0]),
        n_bins=len(frequencies),
        bins_per_octave=round(1 / np.log2(frequencies[1] / frequencies[0])),
        tuning=0,
        pad_mode="constant",
    )
    return decibels(np.abs(spectra) ** 2)


def pywt_cwt(samples: Array, settings: PrepSettings, frontend: FrontEnd) -> object:
    """Power of a complex Morlet transform at the frame centres, for every 16th scale."""
    cycles = 6 / (2 * np.pi)
    scales = cycles * settings.sample_rate / frontend.frequencies[CWT_STEP // 2 :: CWT_STEP]
    found, _ = pywt.cwt(samples, scales, f"cmor2.0-{cycles}", method="fft")
    return np.abs(found[:, :: settings.hop_length]) ** 2


def pywt_dwt(samples: Array, settings: PrepSettings, _: FrontEnd) -> object:
    """Coefficients only: neither squared nor summed over frames."""
    return pywt.wavedec(samples, settings.wavelet, mode="zero", level=7)


def pywt_wpt(samples: Array, settings: PrepSettings, _: FrontEnd) -> object:
    """Coefficients only: neither squared nor summed over frames."""
    packets = pywt.WaveletPacket(samples, settings.wavelet, mode="zero", maxlevel=8)
    return [node.data for node in packets.get_level(8, order="freq")[: settings.tile_size]]


PEERS: dict[str, Callable[[Array, PrepSettings, FrontEnd], object]] = {
    "stft": librosa_stft,
    "mel": librosa_mel,
    "cqt": librosa_cqt,
    "cwt": pywt_cwt,
    "dwt": pywt_dwt,
    "wpt": pywt_wpt,
}


def difference(name: str, made: Array, theirs: object, hop_length: int) -> str:
    """The difference of two outputs, up to a constant gain for each bin."""
    if name in ("dwt", "wpt"):
        energy = made.sum(axis=1, dtype=np.float64) * hop_length / 2
        coefficients = cast(list[Array], theirs)
        expected = np.array([float(np.vdot(band, band)) for band in coefficients])
        bands = np.arange(len(energy)) * len(expected) // len(energy)
        found = np.bincount(bands, energy)
        return f"energy of each band within {np.abs(found / expected - 1).max():.0e}, ends included"
    mine = made if name in LOGARITHMIC else to_db(made, FLOOR_DB)
    mine = mine[CWT_STEP // 2 :: CWT_STEP] if name == "cwt" else mine
    other = np.asarray(theirs)[:, : made.shape[1]]
    other = other[1 : 1 + len(mine)] if name == "stft" else other
    other = other if name in LOGARITHMIC else decibels(other)
    inner = slice(200, -200)
    apart = mine[:, inner] - other[:, inner]
    apart = np.abs(apart - np.median(apart, axis=1, keepdims=True))
    return f"median {np.median(apart):.3f} dB, largest tenth {np.percentile(apart, 90):.3f} dB"


def measure(case: Case) -> list[str]:
    """One row of the table."""
    settings = case.settings
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.1, SECONDS * settings.sample_rate).astype(np.float32)
    frontend = build_frontend(settings)
    run = ours(samples, settings)
    peer = PEERS[settings.frontend]
    apart = difference(
        settings.frontend, run(), peer(samples, settings, frontend), settings.hop_length
    )
    times = side_by_side(run, lambda: peer(samples, settings, frontend), repeats=case.repeats)
    mine, other = map(median, times)
    other *= CWT_STEP if settings.frontend == "cwt" else 1
    window = f", window {settings.win_length or settings.n_fft}" if case.target is None else ""
    return [
        settings.frontend,
        f"{settings.sample_rate // 1000} kHz, hop {settings.hop_length}{window}",
        f"{SECONDS / mine:.0f}",
        f"{SECONDS / other:.0f}",
        f"**{other / mine:.1f}x**",
        f"{case.target:g}x" if case.target else "",
        case.peer,
        apart,
    ]


def main() -> None:
    """Measure every case, and write the table."""
    warnings.filterwarnings("ignore", category=UserWarning)
    keep_freed_memory()  # as ulmo's own commands do; the peers gain from it too
    rows = []
    for case in cases():
        with threadpool_limits(1):
            rows.append(measure(case))
        print(" ".join(rows[-1]), flush=True)
    header = ["front end", "settings", "ulmo", "peer's", "ratio", "asked", "peer", "difference"]
    publish(
        "front ends",
        f"{machine('ulmo', 'librosa', 'PyWavelets', 'numpy', 'scipy')} One thread, {SECONDS} s of "
        "noise, M = 224; `ulmo` and `peer's` in times real time, medians of several turns.\n\n"
        + table(header, rows, keys=2, parts=(4, 2)),
    )


if __name__ == "__main__":
    main()
