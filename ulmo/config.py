"""Frozen, validated settings; TOML and JSON both ways.

Every command is ruled by some of the groups here. A group lies as JSON beside what was
made with it (prep.json, train.json, tokenizer.json), so that nothing has to be typed twice.
"""

import hashlib
import json
import math
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class UserError(Exception):
    """A mistake that the user can put right: its text is one line, and says how."""


class NewerError(UserError):
    """A file that a newer ulmo wrote."""


class JobError(Exception):
    """A job that failed without a mistake of the user's: its text is one line."""


def one_line(error: Exception) -> str:
    """What an error of another library says, in one short line that a terminal may be shown."""
    lines = str(error).splitlines()
    text = lines[0][:300] if lines else type(error).__name__
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class Settings(BaseModel):
    """Frozen, and closed: an unknown key, a NaN or a value out of bounds is refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def read(cls, values: dict[str, Any]) -> Self:
        """Validate values that came from a user; raise UserError with one line for them."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(_complaint(error)) from None


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


USERS = {
    "ema_coeff": ("ema", "residual"),
    "commitment_cost": ("ema", "gradient", "residual"),
    "balance": ("ema",),
    "distance": ("ema", "gradient", "kmeans"),
    "gradient": ("ema", "gradient", "residual"),
    "fsq_levels": ("fsq",),
    "stage_sizes": ("residual",),
}
"""Settings of the model that not every quantizer has a use for, and those that have."""

Stride = Annotated[int, Field(ge=1, le=512)]
Factorisation = Annotated[
    tuple[Annotated[int, Field(ge=2, le=65_472)], ...], Field(min_length=1, max_length=16)
]


class ModelSettings(Settings):
    """The VQ-VAE: the seed's symbols M, E, EMB, CB, D and the EMA coefficient, and the plan."""

    tile_size: TileSize = 224
    """M: bins and frames of a tile; that of the tiles to train on."""
    encoder_layers: Annotated[int, Field(ge=1, le=8)] = 4
    """E: convolutional layers of the encoder."""
    embedding_dim: Annotated[int, Field(ge=2, le=1024)] = 32
    """EMB: dimensions of a code. At least 2: latents are normalised over them."""
    codebook_size: Annotated[int, Field(ge=2, le=65_472)] = 512
    """CB: codes. At most 65 472, so that every id, special tokens too, fits into uint16."""
    decoder_layers: Annotated[int, Field(ge=1, le=8)] = 4
    """D: layers of the decoder."""
    ema_coeff: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the codebook's moving averages (van den Oord et al. 2017, appendix A.1)."""
    balance: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Of `ema`: how much, in training, a code in much use is handicapped (Ahalt et al. 1990)."""
    commitment_cost: Annotated[float, Field(ge=0, le=100)] = 0.25
    """beta of van den Oord et al. 2017, equation 3."""
    quantizer: Literal["ema", "fsq", "gradient", "kmeans", "residual"] = "ema"
    """How latents become codes."""
    distance: Literal["euclidean", "cosine"] = "euclidean"
    """Of `ema`, `gradient` and `kmeans`. `cosine`: latents and codes lie on a sphere."""
    gradient: Literal["straight_through", "rotation"] = "straight_through"
    """How it passes a codebook: copied (van den Oord et al.), or rotated (Fifty et al. 2024)."""
    fsq_levels: Factorisation | None = None
    """Of `fsq`: values of each dimension; their product is CB. If left out: (8, 8, 8) for 512."""
    stage_sizes: Factorisation | None = None
    """Of `residual`: codes of each stage; their product is CB. If left out: (32, 16) for 512."""
    width: Annotated[int, Field(ge=2, le=2048)] = 128
    """Channels inside; the layer at full resolution has half of them."""
    frequency_stride: Stride = 16
    """Bins that one token stands for."""
    time_stride: Stride = 16
    """Frames that one token stands for."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in ("frequency_stride", "time_stride"):
            if getattr(self, name) > self.tile_size:
                raise ValueError(f"{name} must be at most tile_size {self.tile_size}")
        for name, users in USERS.items():
            if self.quantizer not in users and name in self._told:
                raise ValueError(f"{name} is of {' and '.join(users)}: leave it out")
        for name in ("fsq_levels", "stage_sizes"):
            sizes = getattr(self, name)
            if sizes is not None and math.prod(sizes) != self.codebook_size:
                raise ValueError(f"the product of {name} must be codebook_size")
        if self.quantizer == "fsq" and len(self.levels) < 2:
            raise ValueError(
                "fsq needs two levels or more: set fsq_levels, or another codebook_size"
            )
        if self.quantizer == "fsq" and self.embedding_dim != len(self.levels):
            raise ValueError(
                f"fsq has a dimension for each of its levels {self.levels}: set embedding_dim "
                f"to {len(self.levels)}"
            )
        return self

    @property
    def _told(self) -> set[str]:
        """Settings that differ from their defaults."""
        fields = type(self).model_fields
        return {name for name in fields if getattr(self, name) != fields[name].default}

    @property
    def levels(self) -> tuple[int, ...]:
        """Of `fsq`: values of each dimension, about 8 (Mentzer et al. 2023, section 4.1)."""
        return self.fsq_levels or spread_factors(self.codebook_size, 8)

    @property
    def stages(self) -> tuple[int, ...]:
        """Codes of each stage: one stage with all of them, but for `residual`."""
        if self.quantizer != "residual":
            return (self.codebook_size,)
        return self.stage_sizes or spread_factors(self.codebook_size, 32)

    @property
    def latent_norm(self) -> Literal["layer", "sphere", "none"]:
        """What holds latents where their codes are; `fsq` bounds them itself."""
        if self.quantizer == "fsq":
            return "none"
        return "sphere" if self.distance == "cosine" else "layer"

    @property
    def encoder_strides(self) -> tuple[tuple[int, int], ...]:
        """(frequency, time) stride of each encoder layer: ((4, 4), (2, 2), (2, 2), (1, 1))."""
        return self._strides(self.encoder_layers)

    @property
    def decoder_strides(self) -> tuple[tuple[int, int], ...]:
        """(frequency, time) upsampling of each decoder layer, the mirror of the encoder's rule."""
        return self._strides(self.decoder_layers)[::-1]

    def _strides(self, layers: int) -> tuple[tuple[int, int], ...]:
        frequency = spread_stride(self.frequency_stride, layers)
        return tuple(zip(frequency, spread_stride(self.time_stride, layers), strict=True))

    @property
    def bands(self) -> int:
        """Tokens in one column: frequency bands of the grid."""
        return -(-self.tile_size // self.frequency_stride)

    @property
    def columns(self) -> int:
        """Token columns of one tile."""
        return -(-self.tile_size // self.time_stride)

    @property
    def time_context(self) -> tuple[int, int]:
        """Frames that a column of the encoder sees before and after its own stride: (30, 30)."""
        before = after = 0
        step = 1
        for _, stride in self.encoder_strides:
            first, last = same_padding(stride)
            before, after = before + first * step, after + last * step
            step *= stride
        return before, after

    @property
    def decoder_time_context(self) -> tuple[int, int]:
        """Columns before and after a column that its decoded frames depend on: (2, 2)."""
        *upsampling, rearranged = (time for _, time in self.decoder_strides)
        first, last = -1, self.time_stride // rearranged  # what the last layer's kernel of 3 sees
        for stride in reversed(upsampling):
            before = same_padding(stride)[0]
            first = -((kernel_size(stride) - 1 - before - first) // stride)
            last = (last + before) // stride
        return -first, last


class TrainSettings(Settings):
    """How the model is trained."""

    batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    """Tiles a step."""
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """Passes over the training tiles, at most."""
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    """Stop cleanly after so much time in training steps, whatever the epoch."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Of Adam, at the beginning."""
    final_learning_rate: Annotated[float, Field(ge=0, le=1)] = 5e-5
    """The same at the end: it falls along half a cosine (Loshchilov and Hutter 2017)."""
    objective: Literal["reconstruction", "denoising"] = "reconstruction"
    """What the encoder is shown: tiles as they are, or damaged ones (`denoising`)."""
    silence_weight: Annotated[float, Field(ge=0, le=1)] = 0.1
    """How much a silent token counts in the codebook. 0.1: silence is most of a field recording."""
    validation_fraction: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    """Share of the recordings (never of the tiles) held out."""
    patience: Annotated[int, Field(ge=1)] = 5
    """Epochs without a better validation reconstruction before training stops early."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0
    """A checkpoint is written at each epoch's end, and inside an epoch after so long."""
    mixed_precision: bool = False
    """Compute in bfloat16, keep weights and codebook in float32."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Rules the split, the order, the first weights and the revived codes."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """0: as many as there are cores. With 1, the same seed and data give the same weights."""


class Config(Settings):
    """What a TOML file may hold: any of the tables [prep], [augment], [clock], [model], [train]."""

    prep: PrepSettings = PrepSettings()
    augment: AugmentSettings = AugmentSettings()
    clock: ClockSettings = ClockSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()


def spread_stride(total: int, layers: int) -> tuple[int, ...]:
    """Spread a total stride over the layers of one axis, the largest factor first.

    The prime factors of the total are merged, the two smallest first, for as long as there
    are more of them than layers, or none reaches 4: feature maps at full resolution are what
    training time is spent on (facts of 2026-11: 61 against 31 tiles a second), so the first
    layer shrinks them hardest.

    >>> spread_stride(16, 4), spread_stride(56, 4), spread_stride(16, 2)
    ((4, 2, 2, 1), (7, 2, 2, 2), (4, 4))
    """
    factors = _prime_factors(total)
    while len(factors) > layers or (len(factors) > 1 and factors[-1] < 4):
        factors = sorted([factors[0] * factors[1], *factors[2:]])
    return (*reversed(factors), *(1,) * (layers - len(factors)))


def spread_factors(total: int, most: int) -> tuple[int, ...]:
    """Factors of a total, the largest first, merged for as long as the product is at most `most`.

    >>> spread_factors(512, 8), spread_factors(512, 32), spread_factors(1000, 8)
    ((8, 8, 8), (32, 16), (8, 5, 5, 5))
    """
    merged: list[int] = []
    for factor in _prime_factors(total):
        if merged and merged[-1] * factor <= most:
            merged[-1] *= factor
        else:
            merged.append(factor)
    return tuple(sorted(merged, reverse=True))


def _prime_factors(number: int) -> list[int]:
    factors = []
    divisor = 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors


def stage_names(stages: int) -> list[str]:
    """What the codebook of each stage is called among a model's weights."""
    return ["codebook"] if stages == 1 else [f"codebook_{index}" for index in range(stages)]


def kernel_size(stride: int) -> int:
    """Kernel of a layer: twice its stride, so that neighbours overlap by half; 3 for stride 1."""
    return 2 * stride if stride > 1 else 3


def same_padding(stride: int) -> tuple[int, int]:
    """Zeros that a layer adds before and after an axis whose length its stride divides."""
    excess = kernel_size(stride) - stride
    return excess // 2, excess - excess // 2


def read_toml(path: Path) -> dict[str, Any]:
    """Tables of a settings file, checked for unknown keys and bad values, defaults left out."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: cannot be read as TOML: it is no file")
    try:
        values = tomllib.loads(read_most(path, MAX_TOML_BYTES).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as TOML: {one_line(error)}") from None
    try:
        Config.read(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return values


def to_toml(tables: dict[str, Settings]) -> str:
    """Settings as TOML, a table each; None is written by leaving the key out."""
    return tomli_w.dumps(
        {name: settings.model_dump(exclude_none=True) for name, settings in tables.items()}
    )


MAX_JSON_BYTES = 1 << 20
"""Of a JSON file of ours, at most."""
MAX_TOML_BYTES = 1 << 16
FREE_BRACKETS = 256
SEAL = re.compile(rb',\n  "checksum": "(?P<hash>[0-9a-f]{64})"\n\}\n')
SEAL_BYTES = 85
"""How a sealed file ends: SHA-256 of all the bytes before."""
S = TypeVar("S", bound=Settings)


def read_json(
    path: Path,
    settings: type[S],
    *,
    newest: int,
    remedy: str,
    most: int | None = None,
    oldest: int = 1,
    outdated: str = "train again",
    sealed: bool = False,
) -> S:
    """What a JSON file of ours says, and believe nothing of it.

    `newest` is the schema version that this ulmo knows, `oldest` the first that it still reads,
    `remedy` what to do about a damaged file, `outdated` about one that is older, `most` how many
    bytes it may have, if not MAX_JSON_BYTES; a `sealed` file ends with its checksum. Raises
    UserError with one line.
    """
    content = read_most(path, most or MAX_JSON_BYTES)
    return parse_json(
        content,
        path,
        settings,
        newest=newest,
        oldest=oldest,
        remedy=remedy,
        outdated=outdated,
        sealed=sealed,
    )


def read_most(path: Path, most: int) -> bytes:
    """All of a file of at most so many bytes; UserError where it has more, or is a pipe."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no plain file")
    with path.open("rb") as file:
        size = path.stat().st_size
        content = b"" if size > most else file.read(most + 1)
    if max(size, len(content)) > most:
        raise UserError(f"{path} is too large to be ours")
    return content


def parse_json(
    content: bytes,
    path: Path,
    settings: type[S],
    *,
    newest: int,
    remedy: str,
    oldest: int = 1,
    outdated: str = "train again",
    sealed: bool = False,
) -> S:
    """The same, of what was read from `path`: UTF-8, no key twice, each value of its own type.

    A version from 1 to before `oldest` is one that this ulmo no longer reads.
    """
    values, text = _parsed(content, path, remedy)
    version = values.get("schema_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > newest:
        raise NewerError(
            f"{path} was written by a newer ulmo (schema {_clipped(version)}): upgrade ulmo"
        )
    if type(version) is int and 1 <= version < oldest:
        raise UserError(f"{path} was written by an older ulmo (schema {version}): {outdated}")
    if sealed:
        if not is_sealed(content):
            raise UserError(f"{path} is damaged (its checksum does not fit): {remedy}")
        del values["checksum"]
        text = json.dumps(values)
    try:
        return settings.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise UserError(f"{path} is damaged ({_complaint(error)}): {remedy}") from None


def _parsed(content: bytes, path: Path, remedy: str) -> tuple[Any, str]:
    """The values of JSON, and their text as pydantic may read it.

    A file of ours has more text than brackets; of brackets alone, a megabyte takes a hundred.
    """
    if content.count(b"{") + content.count(b"[") > FREE_BRACKETS + len(content) // 32:
        raise UserError(f"{path} is not JSON of ours: {remedy}")
    try:
        values = json.loads(content.decode("utf-8"), object_pairs_hook=_unique)
        return values, json.dumps(values)
    except (ValueError, RecursionError):
        raise UserError(f"{path} is not JSON: {remedy}") from None


def seal(text: str) -> bytes:
    """JSON of a table, indented by 2, with a checksum over all its bytes as the last key."""
    head = text.removesuffix("\n}").encode()
    digest = hashlib.sha256(head).hexdigest()
    return head + f',\n  "checksum": "{digest}"\n}}\n'.encode()


def is_sealed(content: bytes) -> bool:
    """True unless a byte of a sealed file was changed, added or lost."""
    found = SEAL.fullmatch(content, max(len(content) - SEAL_BYTES, 0))
    digest = hashlib.sha256(content[:-SEAL_BYTES]).hexdigest()
    return found is not None and found["hash"].decode() == digest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; a key that stands twice could be read in two ways, and is refused."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands twice")
    return values


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no white space: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value, in hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


SHOWN_COMPLAINTS = 8
SHOWN_CHARACTERS = 60
"""Of a value that was given, or of its name."""


def _complaint(error: ValidationError) -> str:
    """One phrase for each complaint: the setting, what is wrong, what was given."""
    phrases = [_phrase(item) for item in error.errors(include_url=False)[:SHOWN_COMPLAINTS]]
    if (hidden := error.error_count() - len(phrases)) > 0:
        phrases.append(f"and {hidden} more")
    return "; ".join(phrases)


def _phrase(item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown setting {_clipped(name)}"
    if item["type"] == "missing":
        return f"{_clipped(name)} is missing"
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    return f"{plain(name)} = {_clipped(item['input'])}: {item['msg'].lower()}"


def plain(text: str) -> str:
    """Text of a stranger's for a line of ours: as it is, or as Python writes it, and short."""
    return text if text.isprintable() and len(text) <= SHOWN_CHARACTERS else _clipped(text)


def _clipped(value: Any) -> str:
    """A value as Python writes it, in one short line."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
