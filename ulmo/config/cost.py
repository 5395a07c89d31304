"""What settings cost: bytes in memory at once, and operations for a second of sound.

Costs are estimated from the settings alone, before weights are read or a recording is opened, and
settings above the limits are refused. Each setting has bounds of its own, but costs multiply: a few
kilobytes of settings could ask for terabytes or years.

    bytes       of all arrays that exist at once, float32 unless said otherwise; rather too high
                than too low
    operations  multiplications with their additions, or as many simple steps; those that are done
                once, before the first second, are counted with it

Here is the arithmetic of the network. That of a front end lies beside it, in `FrontEnd.cost`, that
of reading and levels in `ulmo.preprocessing.spectrogram`, and that of windows in `ulmo.encoding`.
tests/test_cost.py compares it with what is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Annotated, ClassVar, Self

from pydantic import Field

from ulmo.config.base import Settings
from ulmo.config.errors import UserError
from ulmo.config.model import ModelSettings
from ulmo.config.network import Convolution

GIGA = 1e9
FLOAT = 4  # bytes
# Copies of the input and the output of a layer that exist at once: ONNX Runtime rearranges channels
# in blocks for some layers, and allocates memory in powers of two.
_COPIES = 3
_RUNTIME = 10e6  # bytes that ONNX Runtime needs in addition
# Training keeps each feature map, its gradient, and a copy of each for the layout of the kernel.
_TRAINING_COPIES = 4
# Weights in training: values, gradients, and two moments of Adam; the best ones, for a checkpoint.
_TRAINING_WEIGHTS = 6


class Limits(Settings):
    """What settings may cost at most. Raise a limit only for settings that you trust."""

    groups: ClassVar = {"Limits": ("max_gigabytes", "max_gigaops")}

    # 8 GB: half of a common laptop. The tokenizer that ships needs 0.09 GB, and a training step of
    # the defaults 0.2 GB.
    max_gigabytes: Annotated[float, Field(gt=0, le=1e6)] = 8.0
    """Refuse settings that need more memory, in GB, for what is computed at once."""
    # 500 Gop: a core does 5 to 50 of them in a second, so that a second of sound takes 10 to 100 s.
    # The tokenizer that ships needs 0.2, and 7,800 frames a second of 256 bins at width 256 and
    # strides of 8, for bats, 115.
    max_gigaops: Annotated[float, Field(gt=0, le=1e9)] = 500.0
    """Refuse settings that need more operations, in billions, for a second of sound."""

    @classmethod
    def of(cls, **given: float | None) -> Self:
        """The limits that are given, and the defaults of those that are None."""
        return cls.read({name: value for name, value in given.items() if value is not None})

    @property
    def bytes(self) -> float:
        """The limit of memory, in bytes."""
        return self.max_gigabytes * GIGA


# Not validated, as the validator would be built in each command, `--help` too.
LIMITS = Limits.model_construct()
# For bundles whose weights are read, but which compute nothing.
NO_LIMITS = Limits.model_construct(max_gigabytes=1e6, max_gigaops=1e9)


@dataclass(frozen=True)
class Cost:
    """Bytes at once, and operations for a second of sound, each by what needs them."""

    memory: dict[str, float]
    operations: dict[str, float]

    def __add__(self, other: "Cost") -> "Cost":
        """Both at once; parts of one name are added."""
        return Cost(_sums(self.memory, other.memory), _sums(self.operations, other.operations))

    def times(self, number: int) -> "Cost":
        """The same work done `number` times, one after the other."""
        operations = {name: number * each for name, each in self.operations.items()}
        return Cost(self.memory, operations)

    @property
    def bytes(self) -> float:
        """Bytes of all parts."""
        return sum(self.memory.values())

    @property
    def operations_per_second(self) -> float:
        """Operations of all parts for a second of sound."""
        return sum(self.operations.values())

    def check(self, limits: Limits, remedy: str = "set other ones") -> None:
        """Raise UserError, which ends with what to do, if a cost is above its limit."""
        for what, parts, limit, unit, name in (
            ("memory at once", self.memory, limits.max_gigabytes, "GB", "max_gigabytes"),
            (
                "operations a second of sound",
                self.operations,
                limits.max_gigaops,
                "billion",
                "max_gigaops",
            ),
        ):
            needed = sum(parts.values()) / GIGA
            if needed > limit:
                most = max(parts, key=parts.__getitem__)
                raise UserError(
                    f"these settings need {_number(needed)} {unit} {what}"
                    f" ({most}: {_number(parts[most] / GIGA)}), over the limit of {limit:g}: "
                    f"{remedy}, or raise --{name.replace('_', '-')} if you trust them "
                    f"(in Python: {name}=)"
                )


def encoder_cost(
    model: ModelSettings, *, frames: int, kept: int, frames_per_second: float, batch: int = 1
) -> Cost:
    """Tiles (batch, M, frames, 1) to ids and distances.

    frames: of a window, with its halo.
    kept: columns of a window that become tokens; the others are computed for nothing.
    frames_per_second: frames of a second of sound.

    A layer that makes F x T cells of `outputs` channels from `inputs` takes 4 F T outputs bytes,
    and F T x kernel x inputs x outputs operations. The scores of the codebook take 4 cells x CB
    bytes, twice, and cells x (EMB + 10) x CB operations, where cells are columns x bands. A
    quantizer of stages has scores of one stage at a time.
    """
    rows = model.bands * model.frequency_stride
    columns = -(-frames // model.time_stride)
    memory, operations = _layers(model.encoder, rows, columns * model.time_stride)
    cells = columns * model.bands
    latents = cells * model.embedding_dim
    windows = frames_per_second / (kept * model.time_stride)
    tiles = 4 * model.tile_size * frames  # held, cut, stacked, transposed
    scores = 2.25 * cells * max(model.stages)
    search = cells * (model.embedding_dim + 10) * sum(model.stages)
    weights = 2 * _weights(model.encoder) + 4 * sum(model.stages) * model.embedding_dim
    return Cost(
        {
            "weights": FLOAT * weights,
            "encoder": _RUNTIME + FLOAT * batch * (tiles + memory + 4 * latents),
            "codebook": FLOAT * batch * scores,
        },
        {"encoder": windows * (operations + 8 * latents), "codebook": windows * search},
    )


def decoder_cost(
    model: ModelSettings, *, columns: int, kept: int, frames_per_second: float, batch: int = 1
) -> Cost:
    """Ids (batch, columns, bands) to tiles. Formulas and arguments are those of `encoder_cost`."""
    memory, operations = _layers(model.decoder, model.bands, columns)
    latents = columns * model.bands * model.embedding_dim
    cells = model.bands * model.frequency_stride * columns * model.time_stride
    windows = frames_per_second / (kept * model.time_stride)
    weights = 2 * _weights(model.decoder) + 3 * model.codebook_size * model.embedding_dim
    return Cost(
        {
            "weights": FLOAT * weights,
            "decoder": _RUNTIME + FLOAT * batch * (memory + 2 * latents + 4 * cells),
        },
        {"decoder": windows * (operations + 4 * cells)},
    )


def training_cost(model: ModelSettings, *, batch: int, columns: int) -> Cost:
    """A step of training on tiles (batch, M, frames, 1): every feature map of it is kept.

    columns: of tokens in a tile, or in the crop of it that is learned from.

    Another pass of the tiles, as two views need, is computed after the first one. The scores of
    the codebook take three arrays: of distances, of gradients or counts, and of which code is
    nearest (one-hot).
    """
    rows = model.bands * model.frequency_stride
    frames = columns * model.time_stride
    cells = columns * model.bands
    maps = sum(_maps(model.encoder, rows, frames))
    maps += sum(_maps(model.decoder, model.bands, columns))
    weights = _weights(model.encoder) + _weights(model.decoder)
    weights += sum(model.stages) * model.embedding_dim
    return Cost(
        {
            "weights": FLOAT * _TRAINING_WEIGHTS * weights,
            "layers": FLOAT * batch * _TRAINING_COPIES * (maps + 2 * rows * frames),
            "codebook": FLOAT * batch * 3 * cells * max(model.stages),
        },
        {},
    )


def _layers(layers: Sequence[Convolution], rows: int, frames: int) -> tuple[float, float]:
    """Most numbers at once, and operations, of layers on an input of rows x frames.

    At once are the input and the output of a layer.
    """
    sizes = [rows * frames * layers[0].inputs, *_maps(layers, rows, frames)]
    operations = 0.0
    for layer in layers:
        operations += layer.operations(rows, frames)
        rows, frames = layer.grid(rows, frames)
    return _COPIES * max(map(sum, pairwise(sizes))), operations


def _maps(layers: Sequence[Convolution], rows: int, frames: int) -> list[int]:
    """Numbers in the output of each layer."""
    sizes = []
    for layer in layers:
        grid = layer.grid(rows, frames)
        cells = prod(grid) // prod(layer.spread)
        sizes.append(cells * layer.outputs)
        rows, frames = grid
    return sizes


def _weights(layers: Sequence[Convolution]) -> int:
    """Numbers in the weights of layers."""
    return sum(prod(shape) for layer in layers for shape in layer.shapes.values())


def _sums(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def _number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
