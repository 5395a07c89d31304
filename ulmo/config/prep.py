"""How recordings become tiles, and when they were made."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ulmo.config.base import Settings

TileSize = Annotated[int, Field(ge=8, le=2048)]


class PrepSettings(Settings):
    """How a recording becomes tiles. Frequencies in hertz, lengths in samples."""

    frontend: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] = "mel"
    """Front end: how samples become a spectrogram."""
    sample_rate: Annotated[int, Field(ge=100, le=4_000_000)] = 16000
    """Rate in hertz that recordings are resampled to."""
    tile_size: TileSize = 224
    """M: bins and frames of a tile. 224 divides by 16 and is the usual size of image encoders."""
    hop_length: Annotated[int, Field(ge=1, le=1_000_000)] = 160
    """Samples from frame to frame. 160: 10 ms at 16 kHz, so that 224 frames last 2.24 s."""
    n_fft: Annotated[int, Field(ge=16, le=1 << 17)] | None = None
    """FFT length. If left out: 2M for `stft`; for `mel` the least power of two that suits."""
    win_length: Annotated[int, Field(ge=2, le=1 << 17)] | None = None
    """Window length of `stft` and `mel`. If left out: n_fft where that is given, else 2M."""
    fmin: Annotated[float, Field(ge=0, le=2_000_000)] | None = None
    """Lowest frequency of `mel` (else 0), `cqt` and `cwt` (else sample_rate / 490: 32.7 Hz)."""
    fmax: Annotated[float, Field(gt=0, le=2_000_000)] | None = None
    """Highest frequency of `mel` (else sample_rate / 2) and `cwt` (else sample_rate / 2.25)."""
    bins_per_octave: Annotated[int, Field(ge=1, le=512)] | None = None
    """Of `cqt`. If left out: the fewest with which M bins from fmin stay below Nyquist."""
    wavelet: Annotated[str, Field(pattern=r"^[a-z]{1,8}[0-9.]{0,4}$")] = "sym20"
    """Orthogonal wavelet of `dwt` and `wpt`, by its name in PyWavelets."""
    wavelet_level: Annotated[int, Field(ge=1, le=14)] | None = None
    """Levels of `dwt` and `wpt`. If left out: 7 for `dwt`; the fewest with M packets for `wpt`."""
    floor_db: Annotated[float, Field(ge=-300, le=-20)] = -100.0
    """Power below this level (dB re a full-scale sine) is set to it. -100: under 16-bit noise."""
    normalization: Literal["corpus", "recording", "tile", "pcen", "level"] = "level"
    """Mean and spread of corpus, recording or tile; of PCEN; of levels re a followed one."""
    pcen_gain: Annotated[float, Field(ge=0, le=1)] = 0.98
    """alpha of Wang et al. (2017): how far the running mean is divided out."""
    pcen_bias: Annotated[float, Field(ge=0, le=1e6)] = 2.0
    """delta of Wang et al. (2017)."""
    pcen_power: Annotated[float, Field(gt=0, le=1)] = 0.5
    """r of Wang et al. (2017): the exponent that compresses what is left."""
    pcen_time_constant: Annotated[float, Field(gt=0, le=3600)] = 0.4
    """Seconds of the running mean."""
    level_release_db: Annotated[float, Field(gt=0, le=1000)] = 2.0
    """Decibels a second by which the followed level falls. 2: hardly within a word or a call."""
    level_range_db: Annotated[float, Field(ge=20, le=160)] = 80.0
    """Power so far under the followed level is cut off. 80: as floor_db under sound of -20."""
    level_least_db: Annotated[float, Field(ge=-140, le=0)] = -70.0
    """Lowest followed level (dB re a full-scale sine). -70: a recorder's own noise stays faint."""
    overlap: Annotated[int, Field(ge=0)] = 0
    """Frames that consecutive tiles share."""
    channels: Annotated[str, Field(pattern=r"^(mix|each|\d{1,4})$")] = "mix"
    """`mix` averages the channels, `each` treats each as a recording, N takes one (0 the first)."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.overlap >= self.tile_size:
            raise ValueError(f"overlap {self.overlap} must be less than tile_size {self.tile_size}")
        return self

    @property
    def learns_constants(self) -> bool:
        """True where mean and spread are learned from the corpus before any tile is made."""
        return self.normalization in ("corpus", "pcen", "level")

    @property
    def tile_hop(self) -> int:
        """Frames from one tile's start to the next."""
        return self.tile_size - self.overlap


Factors = Annotated[
    tuple[Annotated[float, Field(ge=0.1, le=10)], ...], Field(min_length=1, max_length=8)
]


class AugmentSettings(Settings):
    """How the other views of a tile differ from the tile itself."""

    views: Annotated[int, Field(ge=1, le=64)] = 1
    """Views of each tile: the tile itself, and others drawn with the settings below."""
    view_seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Rules everything that is drawn."""
    rate_spread: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Sample rates up to this share lower or higher, which shifts pitch and tempo together."""
    hop_factors: Factors = (0.8, 1.0, 1.25)
    """Times hop_length, one of them: frames closer together or further apart."""
    window_factors: Factors = (0.5, 1.0)
    """Times the window of `stft` and `mel`, one of them: finer in time, or in frequency."""
    gain_spread_db: Annotated[float, Field(ge=0, le=60)] = 6.0
    """Louder or quieter by up to so many decibels."""
    noise_db: Annotated[float, Field(ge=-200, le=0)] = -40.0
    """White noise of at most this level re the recording's own; on average 20 dB below it."""
    time_mask: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    """Longest share of a tile's frames that is masked (SpecAugment, Park et al. 2019)."""
    frequency_mask: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    """Longest share of its bins that is masked."""


class ClockSettings(Settings):
    """How the time of a recording is told."""

    timestamp_pattern: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Where names have their time, as %Y%m%d_%H%M%S. If left out: by header, else known names."""
    timezone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    """Zone of times that name none: an IANA name, or an offset such as +02:00."""
