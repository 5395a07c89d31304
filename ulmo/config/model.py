"""The VQ-VAE's settings, and what follows from them."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ulmo.config.base import Settings
from ulmo.config.network import Convolution, decoder_layers, encoder_layers, frames_seen
from ulmo.config.prep import TileSize
from ulmo.config.strides import spread_factors, spread_stride

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
        """Tokens in one column: frequency bands of the grid."""
        return -(-self.tile_size // self.frequency_stride)

    @property
    def columns(self) -> int:
        """Token columns of one tile."""
        return -(-self.tile_size // self.time_stride)

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
