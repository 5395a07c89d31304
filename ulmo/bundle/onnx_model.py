"""ONNX models as bytes: the few messages of onnx.proto that our graphs need.

Why not the onnx package: every time a bundle is loaded, its graph is built again and compared with
the file. Importing onnx would take 0.2 s and 14 MB each time, and the bytes would depend on the
version of protobuf. The bytes here are those that the onnx package writes
(tests/bundle/test_onnx_model.py). Field numbers:
https://github.com/onnx/onnx/blob/v1.17.0/onnx/onnx.proto
"""

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

OPSET = 17
IR_VERSION = 8  # ONNX 1.12 (2022), the first with LayerNormalization, for older runtimes
FLOAT, INT32, INT64, FLOAT16 = 1, 6, 7, 10  # TensorProto.DataType
_DATA_TYPES = {"<f4": FLOAT, "<i8": INT64, "<f2": FLOAT16}
_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_INTS = 1, 2, 7  # AttributeProto.AttributeType
_VARINT, _LENGTH, _FIXED32 = 0, 2, 5  # wire types of protobuf

Option = int | float | Sequence[int]
Shape = tuple[int | str, ...]  # of an input or output: lengths, and names of free axes


class Tensor(NamedTuple):
    """A constant, whose values are computed when they are needed."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # a key of _DATA_TYPES
    values: Callable[[], NDArray[Any]]

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def content(self) -> bytes:
        """The values, little-endian, in C order."""
        return np.asarray(self.values(), self.dtype).tobytes()


class Piece(NamedTuple):
    """Consecutive bytes of a model."""

    what: str  # description for messages
    size: int
    content: Callable[[], bytes]
    tensor: str = ""  # the constant whose values these are


class OnnxModel(NamedTuple):
    """One graph."""

    name: str
    nodes: list[tuple[str, bytes]]  # name and NodeProto
    tensors: list[Tensor]
    inputs: dict[str, tuple[int, Shape]]  # data type and shape
    outputs: dict[str, tuple[int, Shape]]

    @property
    def size(self) -> int:
        """Bytes of the file. No tensor is computed."""
        return sum(piece.size for piece in self.pieces())

    def to_bytes(self) -> bytes:
        """The file."""
        return b"".join(piece.content() for piece in self.pieces())

    def check(self, content: bytes) -> None:
        """Raise ValueError, which says where, if the bytes of a file are not those of this model.

        Their number must have been checked.
        """
        start = 0
        for piece in self.pieces():
            if content[start : start + piece.size] != piece.content():
                raise ValueError(f"{piece.what} differs")
            start += piece.size

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
            head += _number(2, _DATA_TYPES[tensor.dtype]) + _text(8, tensor.name)
            head += _head(9, tensor.size)
            what = f"constant {tensor.name}"
            yield _piece(what, _head(5, len(head) + tensor.size) + head)
            yield Piece(what, tensor.size, tensor.content, tensor.name)
        for number, values in ((11, self.inputs), (12, self.outputs)):
            for name, value in values.items():
                yield _piece(f"the shape of {name}", _bytes(number, _value_info(name, *value)))


class Nodes:
    """Nodes and constants of one graph, in the order of their addition."""

    def __init__(self) -> None:
        self.nodes: list[tuple[str, bytes]] = []
        self.tensors: list[Tensor] = []

    def node(
        self, operator: str, *inputs: str, output: str | None = None, **options: Option
    ) -> str:
        """Add an operator; returns the name of its output."""
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append((output, node_bytes(operator, inputs, output, options)))
        return output

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add a constant tensor; returns its name."""
        return self.tensor(Tensor(name, values.shape, values.dtype.str, lambda: values))

    def tensor(self, tensor: Tensor) -> str:
        """Add a constant tensor, once; returns its name. Its values are computed when needed."""
        if tensor.name not in (known.name for known in self.tensors):
            self.tensors.append(tensor)
        return tensor.name


def node_bytes(
    operator: str, inputs: Sequence[str], output: str, options: dict[str, Option]
) -> bytes:
    """NodeProto of an operator with one output, which is also its name."""
    parts = [_text(1, name) for name in inputs]
    parts += [_text(2, output), _text(3, output), _text(4, operator)]
    parts += [_bytes(5, _attribute(name, options[name])) for name in sorted(options)]
    return b"".join(parts)


def _attribute(name: str, value: Option) -> bytes:
    """AttributeProto."""
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, _ATTRIBUTE_INT)
    if isinstance(value, float):
        number = _tag(2, _FIXED32) + struct.pack("<f", value)
        return _text(1, name) + number + _number(20, _ATTRIBUTE_FLOAT)
    numbers = b"".join(_number(8, int(number)) for number in value)
    return _text(1, name) + numbers + _number(20, _ATTRIBUTE_INTS)


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
    return _tag(number, _VARINT) + _varint(value)


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _bytes(number: int, value: bytes) -> bytes:
    return _head(number, len(value)) + value


def _head(number: int, size: int) -> bytes:
    """Tag and length in front of `size` bytes."""
    return _tag(number, _LENGTH) + _varint(size)


def _varint(value: int) -> bytes:
    """Seven bits per byte, lowest first; negative numbers as 64-bit two's complement."""
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
