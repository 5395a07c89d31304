"""All weights of a model: their names, their shapes, and the one file that may hold them.

Beside the weights the file holds the thresholds of `<unk>`, `unk.thresholds` (CB, levels).

A safetensors file of ours follows from the settings to the last byte, but for the numbers
themselves: it is the expected header, then each tensor in the order of the names. So nothing in
a file is parsed that a stranger wrote; it is compared. The header is what the safetensors
package writes (tests/bundle/test_weights.py), and any reader of safetensors opens the file.
"""

import json
import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from ulmo.bundle.unk import UNK_QUANTILES, check_thresholds
from ulmo.config import Convolution, ModelSettings, stage_names

Weights = Mapping[str, NDArray[np.float32]]
Shapes = dict[str, tuple[int, ...]]
THRESHOLDS = "unk.thresholds"

MAX_WEIGHTS_BYTES = 1 << 27
"""Of all weights together: 60 times the default model, and hashed in under a second."""
MAX_FEATURES_BYTES = 1 << 30
"""Of the largest feature map of one tile. Default: 0.8 MB."""


def weight_shapes(settings: ModelSettings) -> Shapes:
    """Name and shape of every weight of the model: what a bundle must hold, no more, no less.

    >>> weight_shapes(ModelSettings())["encoder.conv_0.kernel"]
    (8, 8, 1, 64)
    """
    names = stage_names(len(settings.stages))
    return {
        **_layer_shapes("encoder", settings.encoder),
        **{n: (s, settings.embedding_dim) for n, s in zip(names, settings.stages, strict=True)},
        **_layer_shapes("decoder", settings.decoder),
    }


def _layer_shapes(part: str, layers: Iterable[Convolution]) -> Shapes:
    return {
        f"{part}.{layer.name}.{weight}": shape
        for layer in layers
        for weight, shape in layer.shapes.items()
    }


def stages_of(settings: ModelSettings, weights: Weights) -> list[NDArray[np.float32]]:
    """The codebook of each stage, (codes, EMB)."""
    return [weights[name] for name in stage_names(len(settings.stages))]


def codebook_of(settings: ModelSettings, weights: Weights) -> NDArray[np.float32]:
    """All codes, (CB, EMB): the sums of one code of each stage, the first changing slowest."""
    first, *others = stages_of(settings, weights)
    for stage in others:
        first = (first[:, None] + stage).reshape(-1, settings.embedding_dim)
    return first


def tensor_shapes(settings: ModelSettings) -> Shapes:
    """Name and shape of every tensor of model.safetensors: the weights, and the thresholds."""
    thresholds = (settings.codebook_size, len(UNK_QUANTILES))
    return {**weight_shapes(settings), THRESHOLDS: thresholds}


def count_bytes(shapes: Shapes) -> int:
    """Bytes of so many float32."""
    return 4 * sum(math.prod(shape) for shape in shapes.values())


def check_size(settings: ModelSettings) -> None:
    """Raise ValueError, with a remedy, for a model that no bundle may ask anybody to run."""
    if (size := count_bytes(tensor_shapes(settings))) > MAX_WEIGHTS_BYTES:
        raise ValueError(
            f"the model has {size >> 20} MiB of weights, over the limit of "
            f"{MAX_WEIGHTS_BYTES >> 20} MiB: set a smaller width or codebook_size"
        )
    cells, largest = settings.tile_size**2, 0
    for layer in settings.encoder:
        cells = -(-cells // math.prod(layer.strides))
        largest = max(largest, 4 * cells * layer.outputs)
    if largest > MAX_FEATURES_BYTES:
        raise ValueError(
            f"a tile takes {largest / 2**30:.1f} GiB inside the model, over the limit of "
            f"{MAX_FEATURES_BYTES >> 30} GiB: set larger strides, or a smaller width or tile_size"
        )


def check_weights(settings: ModelSettings, weights: Weights) -> None:
    """Raise ValueError unless the weights are the model's: names, shapes, float32."""
    shapes = weight_shapes(settings)
    for name, shape in shapes.items():
        if name not in weights:
            raise ValueError(f"weights are missing: {name}")
        if weights[name].shape != shape:
            raise ValueError(f"{name} has shape {weights[name].shape}, not {shape}")
        if weights[name].dtype != np.float32:
            raise ValueError(f"{name} is {weights[name].dtype}, not float32")
    if extra := sorted(weights.keys() - shapes.keys()):
        raise ValueError(f"weights that the model has not: {', '.join(extra)}")


def blank_weights(settings: ModelSettings) -> Weights:
    """Zeros of the right shapes that take no memory."""
    zero = np.float32(0)
    return {name: np.broadcast_to(zero, shape) for name, shape in weight_shapes(settings).items()}


def weights_size(settings: ModelSettings) -> int:
    """Bytes of model.safetensors."""
    shapes = tensor_shapes(settings)
    return len(_header(shapes)) + count_bytes(shapes)


def pack_weights(
    settings: ModelSettings, weights: Weights, thresholds: NDArray[np.float32]
) -> bytes:
    """model.safetensors; ValueError for weights that are not the model's, or not finite.

    So for thresholds (CB, levels) that are none.
    """
    check_weights(settings, weights)
    shapes = tensor_shapes(settings)
    if thresholds.shape != shapes[THRESHOLDS]:
        raise ValueError(f"{THRESHOLDS} has shape {thresholds.shape}, not {shapes[THRESHOLDS]}")
    tensors = {**weights, THRESHOLDS: thresholds}
    _check_values(tensors)
    packed = (np.asarray(tensors[name], "<f4").tobytes() for name in sorted(shapes))
    return b"".join([_header(shapes), *packed])


def weights_header(settings: ModelSettings) -> bytes:
    """What model.safetensors begins with."""
    return _header(tensor_shapes(settings))


def tensor_places(settings: ModelSettings) -> dict[str, int]:
    """The first byte of each tensor in model.safetensors."""
    shapes = tensor_shapes(settings)
    places, place = {}, len(_header(shapes))
    for name in sorted(shapes):
        places[name] = place
        place += 4 * math.prod(shapes[name])
    return places


def unpack_weights(settings: ModelSettings, data: bytes) -> Weights:
    """The weights in a file of the size that `weights_size` says, without a copy.

    ValueError where another tensor, name, shape or type is announced, where a number is not
    finite, and where thresholds are none.
    """
    tensors = _unpack(settings, data)
    return {name: tensors[name] for name in weight_shapes(settings)}


def unpack_thresholds(settings: ModelSettings, data: bytes) -> NDArray[np.float32]:
    """The thresholds of `<unk>` (CB, levels) in such a file; ValueError as above."""
    return _unpack(settings, data)[THRESHOLDS]


def _unpack(settings: ModelSettings, data: bytes) -> Weights:
    shapes = tensor_shapes(settings)
    header = _header(shapes)
    if not data.startswith(header):
        raise ValueError("its header is not the one that the settings give")
    tensors = {}
    start = len(header)
    for name in sorted(shapes):
        count = math.prod(shapes[name])
        tensors[name] = np.frombuffer(data, "<f4", count, start).reshape(shapes[name])
        start += 4 * count
    _check_values(tensors)
    return tensors


def _check_values(tensors: Weights) -> None:
    for name, values in tensors.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name} is not finite")
    check_thresholds(tensors[THRESHOLDS])


def _header(shapes: Shapes) -> bytes:
    """Length (uint64), then JSON filled with blanks to a multiple of 8 bytes."""
    entries, start = {}, 0
    for name in sorted(shapes):
        end = start + 4 * math.prod(shapes[name])
        entries[name] = {"dtype": "F32", "shape": shapes[name], "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
