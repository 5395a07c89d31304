"""How recordings become tiles, and when they were recorded."""

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ulmo.config.base import Settings

TileSize = Annotated[int, Field(ge=8, le=2048)]
HIGHEST_RATE = 4_000_000  # hertz: of a recording, and of what it is resampled to


def _is_one(value: Any) -> bool:
    return bool(value == 1)


# Left out of JSON where they are 1, so that fingerprints are the same as before they existed.
TimeExpansion = Annotated[float, Field(ge=0.001, le=1000, exclude_if=_is_one)]
FullScale = Annotated[float, Field(ge=1e-12, le=1e12, exclude_if=_is_one)]


class PrepSettings(Settings):
    """How a recording becomes tiles. Frequencies are in hertz, lengths in samples.

    With a `time_expansion` other than 1, all of these but that one are those of the expanded sound,
    and every time and frequency that is reported is the true one.
    """

    groups: ClassVar = {
        "Recording": ("time_expansion", "full_scale", "channels"),
        "Front end": (
            *("frontend", "sample_rate", "hop_length", "n_fft", "win_length", "fmin", "fmax"),
            *("bins_per_octave", "wavelet", "wavelet_level"),
        ),
        "Levels": (
            *("normalization", "floor_db", "level_range_db", "level_release_db", "level_least_db"),
            *("pcen_gain", "pcen_bias", "pcen_power", "pcen_time_constant"),
        ),
        "Tiles": ("tile_size", "overlap"),
    }

    time_expansion: TimeExpansion = 1.0
    """Take recordings as made at rate / K, but report true times and hertz: 10 for bats, say."""
    full_scale: FullScale = 1.0
    """Divide the samples of floating-point files by this: of files in micropascals, say."""
    frontend: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] = "mel"
    """Front end: the transform from samples to a spectrogram."""
    sample_rate: Annotated[int, Field(ge=100, le=HIGHEST_RATE)] = 16000
    """Resample recordings to this rate, in hertz."""
    tile_size: TileSize = 224
    """M: bins and frames of a tile. 224 is divisible by 16, and common in image encoders."""
    hop_length: Annotated[int, Field(ge=1, le=1_000_000)] = 160
    """Samples from one frame to the next. 160: 10 ms at 16 kHz, so 224 frames last 2.24 s."""
    n_fft: Annotated[int, Field(ge=16, le=1 << 17)] | None = None
    """FFT length. If left out: 2M with stft; with mel, the first power of two that fits."""
    win_length: Annotated[int, Field(ge=2, le=1 << 17)] | None = None
    """Window length. If left out: n_fft if that is set, else 2M."""
    fmin: Annotated[float, Field(ge=0, le=2_000_000)] | None = None
    """Lowest frequency. If left out: 0 with mel, else sample_rate / 490 (32.7 Hz at 16 kHz)."""
    fmax: Annotated[float, Field(gt=0, le=2_000_000)] | None = None
    """Highest frequency. If left out: sample_rate / 2 with mel, sample_rate / 2.25 with cwt."""
    bins_per_octave: Annotated[int, Field(ge=1, le=512)] | None = None
    """Bins per octave. If left out: as few as keep M bins from fmin below sample_rate / 2."""
    wavelet: Annotated[str, Field(pattern=r"^[a-z]{1,8}[0-9.]{0,4}$")] = "sym20"
    """Orthogonal wavelet, by its PyWavelets name."""
    wavelet_level: Annotated[int, Field(ge=1, le=14)] | None = None
    """Wavelet levels. If left out: 7 with dwt; with wpt, as few as give M packets."""
    floor_db: Annotated[float, Field(ge=-300, le=-20)] = -100.0
    """Raise lower power to this level (dB re full-scale sine). -100 is below 16-bit noise."""
    normalization: Literal["corpus", "recording", "tile", "pcen", "level"] = "level"
    """Normalise by mean and deviation of corpus, recording or tile; by PCEN; by tracked level."""
    pcen_gain: Annotated[float, Field(ge=0, le=1)] = 0.98
    """PCEN: exponent of the running mean that divides the power (alpha of Wang et al. 2017)."""
    pcen_bias: Annotated[float, Field(ge=0, le=1e6)] = 2.0
    """PCEN: constant added before compression (delta of Wang et al. 2017)."""
    pcen_power: Annotated[float, Field(gt=0, le=1)] = 0.5
    """PCEN: exponent of compression (r of Wang et al. 2017)."""
    pcen_time_constant: Annotated[float, Field(gt=0, le=3600)] = 0.4
    """PCEN: time constant of the running mean, in seconds."""
    level_release_db: Annotated[float, Field(gt=0, le=1000)] = 2.0
    """Let the tracked level fall by this many dB per second. 2: hardly within one word or call."""
    level_range_db: Annotated[float, Field(ge=20, le=160)] = 80.0
    """Clip power more than this many dB below the tracked level."""
    level_least_db: Annotated[float, Field(ge=-140, le=0)] = -70.0
    """Lowest tracked level (dB re full-scale sine). -70 keeps a recorder's own noise faint."""
    overlap: Annotated[int, Field(ge=0)] = 0
    """Frames shared by consecutive tiles."""
    channels: Annotated[str, Field(pattern=r"^(mix|each|\d{1,4})$")] = "mix"
    """Channels: mix averages them, each treats each as a recording, N takes one (from 0)."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.overlap >= self.tile_size:
            raise ValueError(f"overlap {self.overlap} must be less than tile_size {self.tile_size}")
        rate = self.sample_rate * self.time_expansion
        if not (math.isclose(rate, round(rate), rel_tol=1e-9) and 1 <= rate <= HIGHEST_RATE):
            raise ValueError(
                f"sample_rate {self.sample_rate} x time_expansion {self.time_expansion:g} must be "
                f"a whole number of hertz, from 1 to {HIGHEST_RATE}"
            )
        return self

    @property
    def true_rate(self) -> int:
        """Rate in hertz that recordings are resampled to: sample_rate x time_expansion."""
        return round(self.sample_rate * self.time_expansion)

    @property
    def frame_s(self) -> float:
        """Seconds of the recording from one frame to the next."""
        return self.hop_length / self.true_rate

    def with_sound(self, time_expansion: float | None, full_scale: float | None) -> Self:
        """These settings with what is given (None: as here); UserError if it does not fit."""
        given = {"time_expansion": time_expansion, "full_scale": full_scale}
        return self.read(
            {**dict(self), **{name: value for name, value in given.items() if value is not None}}
        )

    @property
    def learns_constants(self) -> bool:
        """Whether mean and deviation are learned from the corpus before any tile is made."""
        return self.normalization in ("corpus", "pcen", "level")

    @property
    def tile_hop(self) -> int:
        """Frames from one tile's start to the next."""
        return self.tile_size - self.overlap


_Factors = Annotated[
    tuple[Annotated[float, Field(ge=0.1, le=10)], ...], Field(min_length=1, max_length=8)
]


class AugmentSettings(Settings):
    """How the other views of a tile differ from the tile itself."""

    groups: ClassVar = {
        "Views": (
            *("views", "view_seed", "rate_spread", "hop_factors", "window_factors"),
            *("gain_spread_db", "noise_db", "time_mask", "frequency_mask"),
        ),
    }

    views: Annotated[int, Field(ge=1, le=64)] = 1
    """Versions of each tile to write: the tile, and others changed at random by these settings."""
    view_seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of all random draws."""
    rate_spread: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Change the sample rate by up to this share, which shifts pitch and tempo together."""
    hop_factors: _Factors = (0.8, 1.0, 1.25)
    """Multiply hop_length by one of these: frames lie closer together or further apart."""
    window_factors: _Factors = (0.5, 1.0)
    """With stft and mel, multiply the window by one of these: finer in time or in frequency."""
    gain_spread_db: Annotated[float, Field(ge=0, le=60)] = 6.0
    """Change the gain by up to this many decibels, up or down."""
    noise_db: Annotated[float, Field(ge=-200, le=0)] = -40.0
    """Add white noise of at most this level, in dB relative to the recording."""
    time_mask: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    """Mask up to this share of a tile's frames (SpecAugment, Park et al. 2019)."""
    frequency_mask: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    """Mask up to this share of a tile's bins."""


class ClockSettings(Settings):
    """How the time of a recording is found."""

    groups: ClassVar = {"Time": ("timestamp_pattern", "timezone")}

    timestamp_pattern: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Time in file names, as %Y%m%d_%H%M%S. If left out, the header or a common name is used."""
    timezone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    """Zone of times that name none: an IANA name, or an offset such as +02:00."""
