"""Encoder and decoder as ONNX, built by hand from the settings and the flat weights.

No TensorFlow, no Keras: so a bundle can be checked and its graphs made again anywhere. Keras
keeps channels last and kernels as (height, width, in, out); ONNX wants channels first and
(out, in, height, width), or (in, out, height, width) for a transposed convolution. Opset 17
and IR version 8 (ONNX 1.12, 2022), the first with LayerNormalization, for older runtimes.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ulmo.config import ModelSettings, kernel_size, same_padding

OPSET = 17
IR_VERSION = 8
NORM_EPSILON = 1e-5
"""Of `ulmo.models.encoder`, which this file may not import."""

Weights = Mapping[str, NDArray[np.float32]]


def weight_shapes(settings: ModelSettings) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight of the model: what a bundle must hold, no more, no less.

    >>> weight_shapes(ModelSettings())["encoder.conv_0.kernel"]
    (8, 8, 1, 64)
    """
    shapes: dict[str, tuple[int, ...]] = {}
    width, size = settings.width, settings.embedding_dim
    first = width // 2 if settings.encoder_layers > 1 else width
    channels = (1, first, *(width,) * (settings.encoder_layers - 1))
    for index, (strides, ends) in enumerate(
        zip(settings.encoder_strides, pairwise(channels), strict=True)
    ):
        _add_layer(shapes, f"encoder.conv_{index}", (*_kernel(strides), *ends))
    _add_layer(shapes, "encoder.project", (1, 1, width, size))
    shapes["codebook"] = (settings.codebook_size, size)
    *inner, cell = settings.decoder_strides
    source = size
    for index, strides in enumerate(inner):
        ends = (source, width) if strides == (1, 1) else (width, source)
        _add_layer(shapes, f"decoder.layer_{index}", (*_kernel(strides), *ends), width)
        source = width
    _add_layer(shapes, f"decoder.layer_{len(inner)}", (3, 3, source, cell[0] * cell[1]))
    return shapes


def encoder_graph(settings: ModelSettings, weights: Weights) -> onnx.ModelProto:
    """Tiles (batch, M, frames, 1) float32 -> ids int32 and distances float32.

    Both are (batch, columns, bands), columns = frames / time_stride. The batch and the frames
    are free, but the caller pads the frames with zeros to a multiple of the time stride. An
    id is the nearest code, the lowest at ties; a distance is squared Euclidean. Equal input
    gives equal bytes. ValueError if a weight is missing or has the wrong shape.
    """
    _check(settings, weights)
    graph = _Graph(weights)
    features = graph.node("Transpose", "tiles", perm=[0, 3, 1, 2])
    missing = -settings.tile_size % settings.frequency_stride
    for index, strides in enumerate(settings.encoder_strides):
        name = f"encoder.conv_{index}"
        features = graph.convolution(features, name, strides, missing_rows=missing)
        features = graph.node("Relu", features)
        missing = 0
    features = graph.convolution(features, "encoder.project", (1, 1))
    latents = graph.node("Transpose", features, perm=[0, 3, 2, 1])
    ones = graph.constant("ones", np.ones(settings.embedding_dim, np.float32))
    latents = graph.node("LayerNormalization", latents, ones, axis=-1, epsilon=NORM_EPSILON)
    _nearest(graph, latents, weights["codebook"])
    return graph.model(
        "ulmo-encoder",
        inputs={"tiles": (TensorProto.FLOAT, ("batch", settings.tile_size, "frames", 1))},
        outputs={
            "ids": (TensorProto.INT32, ("batch", "columns", settings.bands)),
            "distances": (TensorProto.FLOAT, ("batch", "columns", settings.bands)),
        },
    )


def decoder_graph(settings: ModelSettings, weights: Weights) -> onnx.ModelProto:
    """Ids (batch, columns, bands) int32, each below CB -> tiles (batch, M, frames, 1) float32.

    frames = columns x time_stride; batch and columns are free. Equal input gives equal bytes.
    ValueError if a weight is missing or has the wrong shape.
    """
    _check(settings, weights)
    graph = _Graph(weights)
    codebook = graph.constant("codebook", weights["codebook"])
    latents = graph.node("Gather", codebook, "ids", axis=0)
    features = graph.node("Transpose", latents, perm=[0, 3, 2, 1])
    *inner, cell = settings.decoder_strides
    for index, strides in enumerate(inner):
        name = f"decoder.layer_{index}"
        operator = "Conv" if strides == (1, 1) else "ConvTranspose"
        features = graph.convolution(features, name, strides, operator)
        features = graph.node("Relu", features)
    features = graph.convolution(features, f"decoder.layer_{len(inner)}", (1, 1))
    _rearrange(graph, features, settings, cell)
    return graph.model(
        "ulmo-decoder",
        inputs={"ids": (TensorProto.INT32, ("batch", "columns", settings.bands))},
        outputs={"tiles": (TensorProto.FLOAT, ("batch", settings.tile_size, "frames", 1))},
    )


class _Graph:
    """Nodes and constants of one graph, in the order in which they are added."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def node(self, operator: str, *inputs: str, output: str | None = None, **options: Any) -> str:
        """Add an operator; returns the name of its output."""
        output = output or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **options))
        return output

    def constant(self, name: str, values: Any) -> str:
        """Add a constant tensor; returns its name."""
        values = np.ascontiguousarray(values)
        self._constants[name] = numpy_helper.from_array(values, name)
        return name

    def convolution(
        self,
        features: str,
        name: str,
        strides: tuple[int, int],
        operator: str = "Conv",
        missing_rows: int = 0,
    ) -> str:
        """A layer padded as Keras's "same"; `missing_rows` more zeros above the highest bin.

        One transposition serves both kinds of kernel, as Keras keeps that of a transposed
        convolution as (height, width, out, in).
        """
        kernel = self._weights[f"{name}.kernel"].transpose(3, 2, 0, 1)
        height, width = kernel.shape[2:]
        rows, columns = (same_padding(stride) for stride in strides)
        if (height, width) == (1, 1):
            rows = columns = (0, 0)
        return self.node(
            operator,
            features,
            self.constant(f"{name}.kernel", kernel),
            self.constant(f"{name}.bias", self._weights[f"{name}.bias"]),
            kernel_shape=[height, width],
            strides=strides,
            pads=[rows[0], columns[0], rows[1] + missing_rows, columns[1]],
        )

    def model(
        self,
        name: str,
        inputs: dict[str, tuple[int, Sequence[str | int]]],
        outputs: dict[str, tuple[int, Sequence[str | int]]],
    ) -> onnx.ModelProto:
        """The finished model, checked."""
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(key, *value) for key, value in inputs.items()],
            [helper.make_tensor_value_info(key, *value) for key, value in outputs.items()],
            list(self._constants.values()),
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(
            graph, producer_name="ulmo", opset_imports=[opset], ir_version=IR_VERSION
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def _nearest(graph: _Graph, latents: str, codebook: NDArray[np.float32]) -> None:
    """Ids by the argmin of |code|^2 - 2 latent.code; distances from the differences."""
    scaled = graph.constant("codebook.scaled", -2 * codebook.T)
    norms = graph.constant("codebook.norms", np.square(codebook).sum(axis=1))
    scores = graph.node("Add", graph.node("MatMul", latents, scaled), norms)
    ids = graph.node("ArgMin", scores, axis=-1, keepdims=0)
    codes = graph.node("Gather", graph.constant("codebook", codebook), ids, axis=0)
    difference = graph.node("Sub", latents, codes)
    axis = graph.constant("last_axis", np.array([-1], np.int64))
    square = graph.node("Mul", difference, difference)
    graph.node("ReduceSum", square, axis, output="distances", keepdims=0)
    graph.node("Cast", ids, output="ids", to=TensorProto.INT32)


def _rearrange(graph: _Graph, features: str, settings: ModelSettings, cell: Any) -> None:
    """(batch, f * t, F, T) -> (batch, M, T * t, 1): the sub-pixel layer, cropped to M bins."""
    rows, frames = cell
    padded = settings.bands * settings.frequency_stride
    shape = np.array([0, rows, frames, padded // rows, -1], np.int64)
    cells = graph.node("Reshape", features, graph.constant("cells", shape))
    cells = graph.node("Transpose", cells, perm=[0, 3, 1, 4, 2])
    plane = graph.constant("plane", np.array([0, padded, -1, 1], np.int64))
    tiles = graph.node("Reshape", cells, plane)
    start, stop, axis = (
        graph.constant(name, np.array([value], np.int64))
        for name, value in (("start", 0), ("stop", settings.tile_size), ("axis", 1))
    )
    graph.node("Slice", tiles, start, stop, axis, output="tiles")


def _kernel(strides: tuple[int, int]) -> tuple[int, int]:
    return kernel_size(strides[0]), kernel_size(strides[1])


def _add_layer(
    shapes: dict[str, tuple[int, ...]], name: str, kernel: tuple[int, ...], bias: int | None = None
) -> None:
    """A kernel and its bias; the bias is as long as the last axis unless told."""
    shapes[f"{name}.kernel"] = kernel
    shapes[f"{name}.bias"] = (kernel[-1] if bias is None else bias,)


def _check(settings: ModelSettings, weights: Weights) -> None:
    for name, shape in weight_shapes(settings).items():
        if name not in weights:
            raise ValueError(f"weights are missing: {name}")
        if weights[name].shape != shape:
            raise ValueError(f"{name} has shape {weights[name].shape}, not {shape}")
