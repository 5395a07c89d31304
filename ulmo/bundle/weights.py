"""The weights of a model: names, shapes, limits, and the safetensors file that holds them.

The file also holds the thresholds of `<unk>`: `unk.thresholds` (CB, levels).

The settings determine every byte of the file but the numbers: first the header that safetensors
writes, then the tensors in order of their names. So the header of a file is compared with the
expected one, and only then does the safetensors package read it.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
import safetensors.numpy

from ulmo.arrays import Array
from ulmo.bundle.unk import UNK_QUANTILES, check_thresholds
from ulmo.config import Convolution, ModelSettings, stage_names

Weights = Mapping[str, Array]
_Shapes = dict[str, tuple[int, ...]]
THRESHOLDS = "unk.thresholds"
# (EMB, CB) and (CB,), if the model has them: the largest latent.KERNEL + BIAS decides the id.
KERNEL, BIAS = "boundaries.kernel", "boundaries.bias"

_MAX_WEIGHTS_BYTES = 1 << 27  # all weights: 30 times the default model, hashed in under a second


def weight_shapes(settings: ModelSettings) -> _Shapes:
    """Name and shape of every weight of the model: what a bundle must hold, no more, no less.

    >>> weight_shapes(ModelSettings())["encoder.conv_0.kernel"]
    (8, 8, 1, 64)
    """
    stages = zip(stage_names(len(settings.stages)), settings.stages, strict=True)
    return {
        **_layer_shapes("encoder", settings.encoder),
        **{name: (codes, settings.embedding_dim) for name, codes in stages},
        **_layer_shapes("decoder", settings.decoder),
        **(_boundaries(settings) if settings.has_boundaries else {}),
    }


def _boundaries(settings: ModelSettings) -> _Shapes:
    codes = settings.codebook_size
    return {KERNEL: (settings.embedding_dim, codes), BIAS: (codes,)}


def _layer_shapes(part: str, layers: Iterable[Convolution]) -> _Shapes:
    return {
        f"{part}.{layer.name}.{weight}": shape
        for layer in layers
        for weight, shape in layer.shapes.items()
    }


def tensor_shapes(settings: ModelSettings) -> _Shapes:
    """Name and shape of every tensor of model.safetensors: the weights and the thresholds."""
    thresholds = (settings.codebook_size, len(UNK_QUANTILES))
    return {**weight_shapes(settings), THRESHOLDS: thresholds}


def stages_of(settings: ModelSettings, weights: Weights) -> list[Array]:
    """The codebook of each stage, (codes, EMB)."""
    return [weights[name] for name in stage_names(len(settings.stages))]


def codebook_of(settings: ModelSettings, weights: Weights) -> Array:
    """All codes, (CB, EMB): the sums of one code of each stage, the first changing slowest."""
    first, *others = stages_of(settings, weights)
    for stage in others:
        first = (first[:, None] + stage).reshape(-1, settings.embedding_dim)
    return first


def count_bytes(shapes: _Shapes) -> int:
    """Bytes of float32 tensors of these shapes."""
    return 4 * sum(math.prod(shape) for shape in shapes.values())


def check_size(settings: ModelSettings) -> None:
    """Raise ValueError, with a remedy, if the model is larger than a bundle may hold."""
    if (size := count_bytes(tensor_shapes(settings))) > _MAX_WEIGHTS_BYTES:
        raise ValueError(
            f"the model has {size >> 20} MiB of weights, over the limit of "
            f"{_MAX_WEIGHTS_BYTES >> 20} MiB: set a smaller width or codebook_size"
        )


def check_weights(settings: ModelSettings, weights: Weights) -> None:
    """Raise ValueError unless names, shapes and types (float32) of the weights are the model's."""
    shapes = weight_shapes(settings)
    for name, shape in shapes.items():
        if name not in weights:
            raise ValueError(f"weights are missing: {name}")
        if weights[name].shape != shape:
            raise ValueError(f"{name} has shape {weights[name].shape}, not {shape}")
        if weights[name].dtype != np.float32:
            raise ValueError(f"{name} is {weights[name].dtype}, not float32")
    if extra := sorted(weights.keys() - shapes.keys()):
        raise ValueError(f"weights that the model does not have: {', '.join(extra)}")


def blank_weights(settings: ModelSettings) -> Weights:
    """Zeros of the right shapes that take no memory."""
    zero = np.float32(0)
    return {name: np.broadcast_to(zero, shape) for name, shape in weight_shapes(settings).items()}


def weights_size(settings: ModelSettings) -> int:
    """Bytes of model.safetensors."""
    return len(weights_header(settings)) + count_bytes(tensor_shapes(settings))


def weights_header(settings: ModelSettings) -> bytes:
    """The start of model.safetensors."""
    return tensors_header(tensor_shapes(settings), "F32")


def tensors_header(shapes: _Shapes, dtype: Literal["F16", "F32"]) -> bytes:
    """The start of a safetensors file: its length (uint64), then JSON padded to 8 bytes."""
    entries, start = {}, 0
    for name in sorted(shapes):
        end = start + math.prod(shapes[name]) * {"F16": 2, "F32": 4}[dtype]
        entries[name] = {"dtype": dtype, "shape": shapes[name], "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def tensor_places(settings: ModelSettings) -> dict[str, int]:
    """Byte at which each tensor begins in model.safetensors."""
    shapes = tensor_shapes(settings)
    places, place = {}, len(weights_header(settings))
    for name in sorted(shapes):
        places[name] = place
        place += count_bytes({name: shapes[name]})
    return places


def pack_weights(settings: ModelSettings, weights: Weights, thresholds: Array) -> bytes:
    """model.safetensors.

    ValueError for weights or thresholds (CB, levels) that are not the model's, or not finite, and
    for thresholds that are negative or fall from one level to the next.
    """
    check_weights(settings, weights)
    shape = tensor_shapes(settings)[THRESHOLDS]
    if thresholds.shape != shape:
        raise ValueError(f"{THRESHOLDS} has shape {thresholds.shape}, not {shape}")
    tensors = {**weights, THRESHOLDS: thresholds}
    _check_values(tensors)
    packed = safetensors.numpy.save(
        {name: np.ascontiguousarray(values, np.float32) for name, values in tensors.items()}
    )
    _check_header(settings, packed)
    return packed


def unpack_weights(settings: ModelSettings, data: bytes) -> Weights:
    """The weights in a file of `weights_size` bytes.

    ValueError if the header is not the one that the settings give, a number is not finite, or
    thresholds are negative or fall.
    """
    tensors = _unpack(settings, data)
    return {name: tensors[name] for name in weight_shapes(settings)}


def unpack_thresholds(settings: ModelSettings, data: bytes) -> Array:
    """The thresholds of `<unk>` (CB, levels) in such a file; ValueError as above."""
    return _unpack(settings, data)[THRESHOLDS]


def _unpack(settings: ModelSettings, data: bytes) -> dict[str, Array]:
    _check_header(settings, data)
    tensors = safetensors.numpy.load(data)
    _check_values(tensors)
    return tensors


def _check_header(settings: ModelSettings, data: bytes) -> None:
    if not data.startswith(weights_header(settings)):
        raise ValueError("its header is not the one that the settings give")


def _check_values(tensors: Weights) -> None:
    for name, values in tensors.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name} is not finite")
    check_thresholds(tensors[THRESHOLDS])
