"""ONNX models as bytes: the few messages of onnx.proto that our graphs need.

Written by hand, because a bundle is checked by building its graph again, each time it is loaded:
so no `onnx` has to be imported (0.2 s, 14 MB), and no version of protobuf decides on the bytes.
They are the bytes that the onnx package writes (tests/bundle/test_onnx_model.py). Field numbers:
https://github.com/onnx/onnx/blob/v1.17.0/onnx/onnx.proto
"""

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

OPSET = 17
IR_VERSION = 8
"""ONNX 1.12 (2022), the first with LayerNormalization, for older runtimes."""
FLOAT, INT32, INT64 = 1, 6, 7
"""TensorProto.DataType."""
DATA_TYPES = {"<f4": FLOAT, "<i8": INT64}
ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_INTS = 1, 2, 7
"""AttributeProto.AttributeType."""
VARINT, LENGTH, FIXED32 = 0, 2, 5
"""Wire types of protobuf."""

Option = int | float | Sequence[int]
Shape = tuple[int | str, ...]
"""Of an input or output: lengths, and names of those that are free."""


class Tensor(NamedTuple):
    """A constant, whose values are only made when they are asked for."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """A key of DATA_TYPES."""
    values: Callable[[], NDArray[Any]]

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def content(self) -> bytes:
        """The values, little-endian, in C order."""
        return np.asarray(self.values(), self.dtype).tobytes()


class Piece(NamedTuple):
    """Some consecutive bytes of a model."""

    what: str
    """What they are, for people."""
    size: int
    content: Callable[[], bytes]


class OnnxModel(NamedTuple):
    """One graph."""

    name: str
    nodes: list[tuple[str, bytes]]
    """Name and NodeProto of each."""
    tensors: list[Tensor]
    inputs: dict[str, tuple[int, Shape]]
    """Data type and shape of each."""
    outputs: dict[str, tuple[int, Shape]]

    @property
    def size(self) -> int:
        """Bytes of the file; no tensor is made for it."""
        return sum(piece.size for piece in self.pieces())

    def to_bytes(self) -> bytes:
        """The file."""
        return b"".join(piece.content() for piece in self.pieces())

    def SerializeToString(self, deterministic: bool = True) -> bytes:  # noqa: N802
        """The file; named as it is in the onnx package."""
        return self.to_bytes()

    def pieces(self) -> Iterator[Piece]:
        """The file, piece by piece (ModelProto)."""
        graph = list(self._graph())
        size = sum(piece.size for piece in graph)
        opset = _bytes(1, b"") + _number(2, OPSET)
        yield _piece("the head", _number(1, IR_VERSION) + _text(2, "ulmo") + _head(7, size))
        yield from graph
        yield _piece("the operator set", _bytes(8, opset))

    def _graph(self) -> Iterator[Piece]:
        """GraphProto."""
        for name, node in self.nodes:
            yield _piece(f"operator {name}", _bytes(1, node))
        yield _piece("the graph's name", _text(2, self.name))
        for tensor in self.tensors:
            head = b"".join(_number(1, length) for length in tensor.shape)
            head += _number(2, DATA_TYPES[tensor.dtype]) + _text(8, tensor.name)
            head += _head(9, tensor.size)
            what = f"constant {tensor.name}"
            yield _piece(what, _head(5, len(head) + tensor.size) + head)
            yield Piece(what, tensor.size, tensor.content)
        for number, values in ((11, self.inputs), (12, self.outputs)):
            for name, value in values.items():
                yield _piece(f"the shape of {name}", _bytes(number, _value_info(name, *value)))


def node_bytes(
    operator: str, inputs: Sequence[str], output: str, options: dict[str, Option]
) -> bytes:
    """NodeProto of an operator with one output, by which it is named, too."""
    parts = [_text(1, name) for name in inputs]
    parts += [_text(2, output), _text(3, output), _text(4, operator)]
    parts += [_bytes(5, _attribute(name, options[name])) for name in sorted(options)]
    return b"".join(parts)


def _attribute(name: str, value: Option) -> bytes:
    """AttributeProto."""
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, ATTRIBUTE_INT)
    if isinstance(value, float):
        number = _tag(2, FIXED32) + struct.pack("<f", value)
        return _text(1, name) + number + _number(20, ATTRIBUTE_FLOAT)
    numbers = b"".join(_number(8, int(number)) for number in value)
    return _text(1, name) + numbers + _number(20, ATTRIBUTE_INTS)


def _value_info(name: str, data_type: int, shape: Shape) -> bytes:
    """ValueInfoProto."""
    lengths = (
        _number(1, length) if isinstance(length, int) else _text(2, length) for length in shape
    )
    dimensions = b"".join(_bytes(1, length) for length in lengths)
    tensor_type = _number(1, data_type) + _bytes(2, dimensions)
    return _text(1, name) + _bytes(2, _bytes(1, tensor_type))


def _piece(what: str, content: bytes) -> Piece:
    return Piece(what, len(content), lambda: content)


def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _number(number: int, value: int) -> bytes:
    return _tag(number, VARINT) + _varint(value)


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _bytes(number: int, value: bytes) -> bytes:
    return _head(number, len(value)) + value


def _head(number: int, size: int) -> bytes:
    """What stands before so many bytes."""
    return _tag(number, LENGTH) + _varint(size)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; a negative number in two's complement of 64 bits."""
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
