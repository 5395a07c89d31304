"""The VQ-VAE's settings, and what follows from them."""

import math
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from ulmo.config.base import Settings
from ulmo.config.errors import clipped
from ulmo.config.network import Convolution, decoder_layers, encoder_layers, frames_seen
from ulmo.config.prep import TileSize
from ulmo.config.strides import spread_factors, spread_stride


class QuantizerTraits(NamedTuple):
    """What settings, `--help` and bundles need to know of a quantizer without loading Keras.

    Its class is in `ulmo.models.quantizers`. A bundle's tensors follow from `settings`: a quantizer
    that uses `stage_sizes` has a codebook per stage, any other has one; one that uses `fsq_levels`
    bounds its latents itself, for any other the encoder normalises them.
    """

    words: str  # what it is, for --help and `ulmo inspect`
    settings: tuple[str, ...] = ()  # those it uses that not all quantizers use
    codebook: Literal["learned", "fitted", "fixed"] = "learned"
    """Learned in each step, fitted to latents now and then, or given from the start."""
    bounds: bool = False
    """Whether weights of its own say which code a latent gets, in place of the distance to it."""


QUANTIZER_TRAITS = {
    "ema": QuantizerTraits(
        "codebook of moving averages",
        ("ema_coeff", "commitment_cost", "balance", "distance", "gradient"),
    ),
    "fsq": QuantizerTraits("fixed grid", ("fsq_levels",), "fixed"),
    "gradient": QuantizerTraits(
        "codebook learned by gradient", ("commitment_cost", "distance", "gradient")
    ),
    "kmeans": QuantizerTraits("k-means on the latents", ("distance",), "fitted"),
    "residual": QuantizerTraits(
        "sum of codes, stage by stage",
        ("ema_coeff", "commitment_cost", "gradient", "stage_sizes"),
    ),
    "rim": QuantizerTraits("cells in which copies of a sound agree", (), "fitted", bounds=True),
}


def _is_quantizer(name: str) -> str:
    if name not in QUANTIZER_TRAITS:
        names = ", ".join(QUANTIZER_TRAITS)
        raise ValueError(f"quantizer = {clipped(name)}: choose from {names}")
    return name


_Stride = Annotated[int, Field(ge=1, le=512)]
_Factorisation = Annotated[
    tuple[Annotated[int, Field(ge=2, le=65_472)], ...], Field(min_length=1, max_length=16)
]


class ModelSettings(Settings):
    """The VQ-VAE: the seed's symbols M, E, EMB, CB, D and the EMA coefficient, and more."""

    groups: ClassVar = {
        "Model": (
            *("tile_size", "encoder_layers", "decoder_layers", "width"),
            *("frequency_stride", "time_stride"),
        ),
        "Codebook": (
            *("codebook_size", "embedding_dim", "quantizer", "distance", "gradient"),
            *("commitment_cost", "ema_coeff", "balance", "fsq_levels", "stage_sizes"),
        ),
    }

    tile_size: TileSize = 224
    """M: bins and frames of a tile. ulmo-train takes it from the tiles."""
    encoder_layers: Annotated[int, Field(ge=1, le=8)] = 4
    """E: convolutional layers of the encoder."""
    embedding_dim: Annotated[int, Field(ge=2, le=1024)] = 32
    """EMB: dimensions of a code. At least 2, because latents are normalised over them."""
    codebook_size: Annotated[int, Field(ge=2, le=65_472)] = 512
    """CB: number of codes. Up to 65 472, so that all ids, special tokens too, fit into uint16."""
    decoder_layers: Annotated[int, Field(ge=1, le=8)] = 4
    """D: layers of the decoder."""
    ema_coeff: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the codebook's moving averages (van den Oord et al. 2017, appendix A.1)."""
    balance: Annotated[float, Field(ge=0, le=10)] = 0.0
    """How strongly training penalises frequently used codes (Ahalt et al. 1990)."""
    commitment_cost: Annotated[float, Field(ge=0, le=100)] = 0.25
    """Weight of the commitment loss: beta of van den Oord et al. 2017, equation 3."""
    quantizer: Annotated[str, AfterValidator(_is_quantizer)] = "ema"
    """How latents become codes."""
    distance: Literal["euclidean", "cosine"] = "euclidean"
    """From latent to code. cosine: on a sphere."""
    gradient: Literal["straight_through", "rotation"] = "straight_through"
    """How gradients reach the encoder: copied (van den Oord et al.), or rotated (Fifty et al.)."""
    fsq_levels: _Factorisation | None = None
    """Values of each dimension; their product is CB. If left out: CB in factors of at most 8."""
    stage_sizes: _Factorisation | None = None
    """Codes of each stage; their product is CB. If left out: CB in factors of at most 32."""
    width: Annotated[int, Field(ge=2, le=2048)] = 128
    """Channels of the inner layers; the layer at full resolution has half as many."""
    frequency_stride: _Stride = 16
    """Frequency bins per token."""
    time_stride: _Stride = 16
    """Frames per token."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in ("frequency_stride", "time_stride"):
            if getattr(self, name) > self.tile_size:
                raise ValueError(f"{name} must be at most tile_size {self.tile_size}")
        for name, users in _users().items():
            default = type(self).model_fields[name].default
            if self.quantizer not in users and getattr(self, name) != default:
                raise ValueError(
                    f"{self.quantizer} does not use {name} (only {', '.join(users)}): leave it out"
                )
        for name in ("fsq_levels", "stage_sizes"):
            sizes = getattr(self, name)
            if sizes is not None and math.prod(sizes) != self.codebook_size:
                raise ValueError(f"the product of {name} must be codebook_size")
        if self._uses("fsq_levels"):
            self._fits_levels()
        return self

    def _fits_levels(self) -> None:
        if len(self.levels) < 2:
            raise ValueError(
                f"{self.quantizer} needs at least two levels: set fsq_levels, or another "
                "codebook_size"
            )
        if self.embedding_dim != len(self.levels):
            raise ValueError(
                f"{self.quantizer} has one dimension for each of its levels {self.levels}: set "
                f"embedding_dim to {len(self.levels)}"
            )

    def _uses(self, name: str) -> bool:
        return name in QUANTIZER_TRAITS[self.quantizer].settings

    @property
    def levels(self) -> tuple[int, ...]:
        """Values of each dimension of `fsq`, about 8 (Mentzer et al. 2023, section 4.1)."""
        return self.fsq_levels or spread_factors(self.codebook_size, 8)

    @property
    def stages(self) -> tuple[int, ...]:
        """Codes of each stage; (codebook_size,) if the quantizer has one codebook."""
        if not self._uses("stage_sizes"):
            return (self.codebook_size,)
        return self.stage_sizes or spread_factors(self.codebook_size, 32)

    @property
    def latent_norm(self) -> Literal["layer", "sphere", "none"]:
        """How the encoder normalises latents; "none" if the quantizer bounds them itself."""
        if self._uses("fsq_levels"):
            return "none"
        return "sphere" if self.distance == "cosine" else "layer"

    @property
    def has_boundaries(self) -> bool:
        """Whether weights of their own say which code a latent gets."""
        return QUANTIZER_TRAITS[self.quantizer].bounds

    @property
    def encoder(self) -> list[Convolution]:
        """The layers of the encoder, with strides (4, 4), (2, 2), (2, 2), (1, 1) and (1, 1)."""
        strides = self._strides(self.encoder_layers)
        return encoder_layers(strides, self.width, self.embedding_dim)

    @property
    def decoder(self) -> list[Convolution]:
        """The layers of the decoder; the encoder's strides in reverse order."""
        strides = self._strides(self.decoder_layers)[::-1]
        return decoder_layers(strides, self.width, self.embedding_dim)

    def _strides(self, layers: int) -> tuple[tuple[int, int], ...]:
        frequency = spread_stride(self.frequency_stride, layers)
        return tuple(zip(frequency, spread_stride(self.time_stride, layers), strict=True))

    @property
    def bands(self) -> int:
        """Frequency bands of the grid: tokens per column."""
        return -(-self.tile_size // self.frequency_stride)

    @property
    def columns(self) -> int:
        """Token columns of a tile."""
        return -(-self.tile_size // self.time_stride)

    @property
    def column_length(self) -> int:
        """Numbers in a column of latents: bands x EMB."""
        return self.bands * self.embedding_dim

    @property
    def time_context(self) -> tuple[int, int]:
        """Frames that a column of the encoder sees before and after its own stride: (30, 30)."""
        first, last = frames_seen(self.encoder, 0, 0)
        return -first, last - (self.time_stride - 1)

    @property
    def decoder_time_context(self) -> tuple[int, int]:
        """Columns before and after a column that its decoded frames depend on: (2, 2)."""
        first, last = frames_seen(self.decoder, 0, self.time_stride - 1)
        return -first, last


def _users() -> dict[str, list[str]]:
    """The quantizers that use each of the settings that not every quantizer uses."""
    return {
        name: [quantizer for quantizer, one in QUANTIZER_TRAITS.items() if name in one.settings]
        for name in sorted({name for one in QUANTIZER_TRAITS.values() for name in one.settings})
    }
