"""Encoder and decoder as ONNX graphs, built from the settings and the weights.

They are built without TensorFlow, Keras or onnx: the graph of a bundle is a function of its
settings and weights, and whoever reads the bundle builds it again and compares. Keras keeps
channels last and kernels as (height, width, in, out). ONNX wants channels first and
(out, in, height, width), or (in, out, height, width) for a transposed convolution.

Other bytes need a new schema version of the bundle: tests/bundle/test_bundle.py holds them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulmo.bundle.onnx_model import FLOAT, INT32, Nodes, OnnxModel, Shape, Tensor
from ulmo.bundle.weights import (
    BIAS,
    KERNEL,
    Weights,
    blank_weights,
    check_weights,
    codebook_of,
    stages_of,
)
from ulmo.config import NORM_EPSILON, SPHERE_EPSILON, Convolution, ModelSettings, stage_names


def encoder_graph(settings: ModelSettings, weights: Weights, *, latents: bool = False) -> OnnxModel:
    """Tiles (batch, M, frames, 1) float32 -> ids int32 and distances float32.

    Both are (batch, columns, bands), columns = frames / time_stride. Batch and frames are free, but
    the caller pads the frames with zeros to a multiple of the time stride. An id is the nearest
    code, or with boundaries that of the largest score, the lowest at ties; a distance is squared
    Euclidean.
    `latents` adds a third output, the normalised latents (batch, columns, bands, EMB) float32, for
    measurements. Equal input gives equal bytes. ValueError if a weight is missing or has the wrong
    shape.
    """
    check_weights(settings, weights)
    graph = _Graph(weights)
    features = graph.node("Transpose", "tiles", perm=[0, 3, 1, 2])
    rows_added = -settings.tile_size % settings.frequency_stride
    for layer in settings.encoder:
        features = graph.layer(features, "encoder", layer, rows_added)
        rows_added = 0
    vectors = graph.node("Transpose", features, perm=[0, 3, 2, 1])
    vectors = _normalized(graph, vectors, settings)
    grid = ("batch", "columns", settings.bands)
    outputs: dict[str, tuple[int, Shape]] = {"ids": (INT32, grid), "distances": (FLOAT, grid)}
    if latents:
        graph.node("Identity", vectors, output="latents")
        outputs["latents"] = (FLOAT, (*grid, settings.embedding_dim))
    if settings.has_boundaries:
        (codebook,) = stages_of(settings, weights)
        chosen = _bounded(graph, vectors, weights)
        codes = graph.node("Gather", graph.constant("codebook", codebook), chosen, axis=0)
        _results(graph, chosen, graph.node("Sub", vectors, codes))
    else:
        _quantized(graph, vectors, stages_of(settings, weights))
    return OnnxModel(
        "ulmo-encoder",
        graph.nodes,
        graph.tensors,
        inputs={"tiles": (FLOAT, ("batch", settings.tile_size, "frames", 1))},
        outputs=outputs,
    )


def decoder_graph(settings: ModelSettings, weights: Weights) -> OnnxModel:
    """Ids (batch, columns, bands) int32, from 0 to CB -> tiles (batch, M, frames, 1) float32.

    frames = columns x time_stride; batch and columns are free. CB is `<unk>`, which has no code:
    its latent is zeros, the mean of all possible latents. Equal input gives equal bytes.
    ValueError if a weight is missing or has the wrong shape.
    """
    check_weights(settings, weights)
    graph = _Graph(weights)
    codes = np.pad(codebook_of(settings, weights), ((0, 1), (0, 0)))
    codebook = graph.constant("codebook", codes)
    latents = graph.node("Gather", codebook, "ids", axis=0)
    features = graph.node("Transpose", latents, perm=[0, 3, 2, 1])
    for layer in settings.decoder:
        features = graph.layer(features, "decoder", layer)
    _rearrange(graph, features, settings)
    return OnnxModel(
        "ulmo-decoder",
        graph.nodes,
        graph.tensors,
        inputs={"ids": (INT32, ("batch", "columns", settings.bands))},
        outputs={"tiles": (FLOAT, ("batch", settings.tile_size, "frames", 1))},
    )


def encoder_size(settings: ModelSettings) -> int:
    """Bytes of encoder.onnx."""
    return encoder_graph(settings, blank_weights(settings)).size


class _Graph(Nodes):
    """A graph that knows the weights of the model."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self._weights = weights

    def layer(self, features: str, part: str, layer: Convolution, rows_added: int = 0) -> str:
        """Add a layer of a part; `rows_added` more zeros lie above the highest bin.

        One transposition serves every kernel, because Keras keeps that of a transposed
        convolution as (height, width, out, in).
        """
        names = []
        for weight in layer.shapes:
            name = f"{part}.{layer.name}.{weight}"
            values = self._weights[name]
            names.append(
                self.constant(name, values.transpose(3, 2, 0, 1) if values.ndim == 4 else values)
            )
        options: dict[str, Any] = layer.onnx_options
        top, left, bottom, right = options["pads"]
        options["pads"] = [top, left, bottom + rows_added, right]
        features = self.node(layer.onnx_operator, features, *names, **options)
        return self.node("Relu", features) if layer.relu else features


def _normalized(graph: _Graph, latents: str, settings: ModelSettings) -> str:
    """Latents normalised as the codes are: `latent_norm` and fsq of `ulmo.models`."""
    if settings.latent_norm == "layer":
        ones = graph.constant("ones", np.ones(settings.embedding_dim, "<f4"))
        return graph.node("LayerNormalization", latents, ones, axis=-1, epsilon=NORM_EPSILON)
    if settings.latent_norm == "sphere":
        squares = graph.node("Mul", latents, latents)
        mean = graph.node("ReduceMean", squares, axes=[-1], keepdims=1)
        epsilon = graph.constant("epsilon", np.array(SPHERE_EPSILON, "<f4"))
        return graph.node("Div", latents, graph.node("Sqrt", graph.node("Add", mean, epsilon)))
    reach = np.array([count / (count - 1) for count in settings.levels], "<f4")
    return graph.node("Mul", graph.node("Tanh", latents), graph.constant("reach", reach))


def _quantized(graph: _Graph, latents: str, stages: list[NDArray[np.float32]]) -> None:
    """Ids from the nearest code of each stage; distances from the residual of the last stage."""
    ids = ""
    for name, codebook in zip(stage_names(len(stages)), stages, strict=True):
        chosen = _nearest(graph, latents, name, codebook)
        codes = graph.node("Gather", graph.constant(name, codebook), chosen, axis=0)
        latents = graph.node("Sub", latents, codes)
        if ids:
            size = graph.constant(f"{name}.size", np.array(len(codebook), "<i8"))
            ids = graph.node("Add", graph.node("Mul", ids, size), chosen)
        else:
            ids = chosen
    _results(graph, ids, latents)


def _results(graph: _Graph, ids: str, residuals: str) -> None:
    """The outputs `ids` and `distances`, from ids int64 and latents less their codes."""
    _squared_length(graph, residuals, output="distances")
    graph.node("Cast", ids, output="ids", to=INT32)


def _bounded(graph: _Graph, latents: str, weights: Weights) -> str:
    """The argmax of latent.kernel + bias, int64."""
    kernel, bias = (graph.constant(name, weights[name]) for name in (KERNEL, BIAS))
    scores = graph.node("Add", graph.node("MatMul", latents, kernel), bias)
    return graph.node("ArgMax", scores, axis=-1, keepdims=0)


def _nearest(graph: _Graph, latents: str, name: str, codebook: NDArray[np.float32]) -> str:
    """The argmin of |code|^2 - 2 latent.code, int64."""
    size, dimensions = codebook.shape
    scaled = graph.tensor(
        Tensor(f"{name}.scaled", (dimensions, size), "<f4", lambda: -2 * codebook.T)
    )
    norms = graph.tensor(Tensor(f"{name}.norms", (size,), "<f4", lambda: squared_norms(codebook)))
    scores = graph.node("Add", graph.node("MatMul", latents, scaled), norms)
    return graph.node("ArgMin", scores, axis=-1, keepdims=0)


def _squared_length(graph: _Graph, vectors: str, output: str | None = None) -> str:
    """Sums of squares over the last axis."""
    axis = graph.constant("last_axis", np.array([-1], "<i8"))
    squares = graph.node("Mul", vectors, vectors)
    return graph.node("ReduceSum", squares, axis, output=output, keepdims=0)


def squared_norms(codebook: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared norms (CB,), summed in one order in float64: the same bits on every machine."""
    norms = np.zeros(len(codebook))
    for coordinates in codebook.T.astype(np.float64):
        norms += coordinates * coordinates
    return norms.astype(np.float32)


def _rearrange(graph: _Graph, features: str, settings: ModelSettings) -> None:
    """(batch, f * t, F, T) -> (batch, M, T * t, 1): the sub-pixel layer, cropped to M bins."""
    rows, frames = settings.decoder[-1].strides
    padded = settings.bands * settings.frequency_stride
    shape = np.array([0, rows, frames, padded // rows, -1], "<i8")
    cells = graph.node("Reshape", features, graph.constant("cells", shape))
    cells = graph.node("Transpose", cells, perm=[0, 3, 1, 4, 2])
    plane = graph.constant("plane", np.array([0, padded, -1, 1], "<i8"))
    tiles = graph.node("Reshape", cells, plane)
    start, stop, axis = (
        graph.constant(name, np.array([value], "<i8"))
        for name, value in (("start", 0), ("stop", settings.tile_size), ("axis", 1))
    )
    graph.node("Slice", tiles, start, stop, axis, output="tiles")
