"""The network, described once: the layers of the encoder and of the decoder.

Everything else about the network follows from these records:

    the Keras layers                     keras_class, keras_options    ulmo/models/stack.py
    the ONNX operators                   onnx_operator, onnx_options   ulmo/bundle/graph.py
    names, shapes and bytes of weights   shapes                        ulmo/bundle/weights.py
    the time context                     frames_seen                   ulmo/config/model.py
    memory and operations                grid, operations              ulmo/config/cost.py

A new kind of layer is one class here, and its place in `encoder_layers` or `decoder_layers`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

_Pair = tuple[int, int]  # (frequency, time)

NORM_EPSILON = 1e-5  # of the layer normalisation over each latent
SPHERE_EPSILON = 1e-12  # of the projection of a latent onto the sphere


@dataclass(frozen=True)
class Convolution:
    """A convolution; zeros are added as Keras's padding "same" does."""

    name: str
    inputs: int  # channels
    outputs: int  # channels
    kernel: _Pair
    strides: _Pair = (1, 1)  # by which each axis becomes shorter, or longer where a layer upsamples
    relu: bool = True

    keras_class: ClassVar[str] = "Conv2D"  # in keras.layers
    onnx_operator: ClassVar[str] = "Conv"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each weight; the name is the attribute of the Keras layer.

        A kernel has Keras's order (height, width, in, out), which the graph turns into
        (out, in, height, width).
        """
        return {"kernel": (*self.kernel, self.inputs, self.outputs), "bias": (self.outputs,)}

    @property
    def steps(self) -> _Pair:
        """Strides of the convolution itself."""
        return self.strides

    @property
    def padding(self) -> tuple[_Pair, _Pair]:
        """Zeros (before, after) on each axis, whose length the stride divides.

        >>> Convolution("conv_0", 1, 64, kernel=(8, 3), strides=(4, 1)).padding
        ((2, 2), (1, 1))
        """
        rows, frames = (kernel - step for kernel, step in zip(self.kernel, self.steps, strict=True))
        return (rows // 2, rows - rows // 2), (frames // 2, frames - frames // 2)

    @property
    def keras_options(self) -> dict[str, Any]:
        """Arguments of the Keras layer; its initializer, precision and name are added there."""
        return {
            "filters": self.outputs,
            "kernel_size": self.kernel,
            "strides": self.steps,
            "padding": "same",
            "activation": "relu" if self.relu else None,
        }

    @property
    def onnx_options(self) -> dict[str, Sequence[int]]:
        """Attributes of the ONNX operator; a Relu of its own follows it."""
        rows, frames = self.padding
        pads = [rows[0], frames[0], rows[1], frames[1]]
        return {"kernel_shape": self.kernel, "strides": self.steps, "pads": pads}

    def grid(self, rows: int, frames: int) -> _Pair:
        """Rows and frames of the output, of an input whose length the stride divides."""
        return rows // self.strides[0], frames // self.strides[1]

    @property
    def spread(self) -> _Pair:
        """Cells of the grid that the channels of one output are laid out on."""
        return 1, 1

    def operations(self, rows: int, frames: int) -> int:
        """Multiplications of an input of rows x frames, each with its addition."""
        return prod(self.kernel) * self.inputs * self.outputs * prod(self.places(rows, frames))

    def places(self, rows: int, frames: int) -> _Pair:
        """Rows and frames at which the kernel is applied."""
        return self.grid(rows, frames)

    def frames_seen(self, first: int, last: int) -> _Pair:
        """First and last input frame on which the output frames `first` to `last` depend."""
        start = -self.padding[1][0]
        return first * self.steps[1] + start, last * self.steps[1] + start + self.kernel[1] - 1


class _TransposedConvolution(Convolution):
    """The transpose of a strided convolution: it makes each axis longer by its stride."""

    keras_class = "Conv2DTranspose"
    onnx_operator = "ConvTranspose"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """As above, but Keras keeps this kernel as (height, width, out, in)."""
        return {"kernel": (*self.kernel, self.outputs, self.inputs), "bias": (self.outputs,)}

    def grid(self, rows: int, frames: int) -> _Pair:
        """See above."""
        return rows * self.strides[0], frames * self.strides[1]

    def places(self, rows: int, frames: int) -> _Pair:
        """Those of the input."""
        return rows, frames

    def frames_seen(self, first: int, last: int) -> _Pair:
        """See above."""
        stride, before = self.steps[1], self.padding[1][0]
        return -((self.kernel[1] - 1 - before - first) // stride), (last + before) // stride


class _SubPixel(Convolution):
    """A convolution whose channels are laid out as cells of `strides` (Shi et al. 2016, eq. 4)."""

    @property
    def steps(self) -> _Pair:
        """The convolution works at the resolution of its input."""
        return 1, 1

    def grid(self, rows: int, frames: int) -> _Pair:
        """See above."""
        return rows * self.strides[0], frames * self.strides[1]

    @property
    def spread(self) -> _Pair:
        """All cells that the layer adds."""
        return self.strides

    def places(self, rows: int, frames: int) -> _Pair:
        """Those of the input."""
        return rows, frames

    def frames_seen(self, first: int, last: int) -> _Pair:
        """See above."""
        return super().frames_seen(first // self.strides[1], last // self.strides[1])


def encoder_layers(strides: Sequence[_Pair], width: int, embedding_dim: int) -> list[Convolution]:
    """Strided convolutions, then one vector of `embedding_dim` for each cell.

    The first of several has half the channels, because it costs the most.
    """
    layers, channels = [], 1
    for index, stride in enumerate(strides):
        outputs = width // 2 if index == 0 and len(strides) > 1 else width
        layers.append(Convolution(f"conv_{index}", channels, outputs, _kernel(stride), stride))
        channels = outputs
    return [*layers, Convolution("project", channels, embedding_dim, (1, 1), relu=False)]


def decoder_layers(strides: Sequence[_Pair], width: int, embedding_dim: int) -> list[Convolution]:
    """Layers that upsample; the last one writes the cells of the tile.

    The last layer works at low resolution, because feature maps at full resolution take most of the
    training time. It reads half of the channels, as the encoder's first layer writes half.
    """
    layers: list[Convolution] = []
    *inner, (rows, frames) = strides
    channels = embedding_dim
    for index, stride in enumerate(inner):
        outputs = width // 2 if index == len(inner) - 1 else width
        kind = Convolution if stride == (1, 1) else _TransposedConvolution
        layers.append(kind(f"layer_{index}", channels, outputs, _kernel(stride), stride))
        channels = outputs
    name = f"layer_{len(inner)}"
    return [*layers, _SubPixel(name, channels, rows * frames, (3, 3), (rows, frames), relu=False)]


def frames_seen(layers: Sequence[Convolution], first: int, last: int) -> _Pair:
    """First and last input frame on which the output frames `first` to `last` of layers depend."""
    for layer in reversed(layers):
        first, last = layer.frames_seen(first, last)
    return first, last


def _kernel(strides: _Pair) -> _Pair:
    """Twice the stride, so that neighbours overlap by half; 3 for stride 1."""
    rows, frames = (2 * stride if stride > 1 else 3 for stride in strides)
    return rows, frames
