"""The files of a large bundle, checked in blocks before they are read at once.

So a bundle that is refused costs no memory, however large a model it announces: weights that are
not finite, or an encoder that does not fit them, are found even if all hashes fit.
"""

import math
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from ulmo.arrays import Array
from ulmo.bundle.graph import encoder_graph, squared_norms
from ulmo.bundle.unk import check_thresholds
from ulmo.bundle.weights import (
    BIAS,
    KERNEL,
    THRESHOLDS,
    blank_weights,
    tensor_places,
    tensor_shapes,
    weights_header,
)
from ulmo.config import ModelSettings, stage_names
from ulmo.storage.plain_file import open_plain

LARGE = 8 << 20  # bytes of weights above which a bundle is large
BLOCK = 4 << 20  # bytes in memory at a time; two to three times as many during a comparison


class _Stored(NamedTuple):
    """A tensor in model.safetensors."""

    file: BinaryIO
    place: int
    shape: tuple[int, ...]

    def rows(self, first: int, count: int) -> Array:
        """Rows (count, last axis) of the tensor seen as a matrix."""
        length = self.shape[-1]
        content = os.pread(self.file.fileno(), 4 * count * length, self.place + 4 * first * length)
        if len(content) < 4 * count * length:
            raise ValueError("model.safetensors is truncated")
        return np.frombuffer(content, "<f4").reshape(count, length)

    def blocks(self) -> Iterator[Array]:
        """All rows, in blocks."""
        count = math.prod(self.shape[:-1])
        step = max(1, BLOCK // (4 * self.shape[-1]))
        for first in range(0, count, step):
            yield self.rows(first, min(step, count - first))


def check_large(settings: ModelSettings, weights: Path, encoder: Path, *, remedy: str) -> None:
    """Raise ValueError unless the weights are finite and the encoder fits them.

    Both files must have the lengths that the settings give.
    """
    with open_plain(weights, remedy=remedy) as packed, open_plain(encoder, remedy=remedy) as graph:
        header = weights_header(settings)
        if os.pread(packed.fileno(), len(header), 0) != header:
            raise ValueError("the header of the weights is not the one that the settings give")
        shapes, places = tensor_shapes(settings), tensor_places(settings)
        stored = {name: _Stored(packed, places[name], shape) for name, shape in shapes.items()}
        for name, tensor in stored.items():
            if not all(np.isfinite(block).all() for block in tensor.blocks()):
                raise ValueError(f"{name} is not finite")
        check_thresholds(np.concatenate(list(stored[THRESHOLDS].blocks())))
        _check_encoder(settings, stored, graph)


def _check_encoder(settings: ModelSettings, stored: dict[str, _Stored], graph: BinaryIO) -> None:
    """Compare each piece of the graph with the one that settings and weights give."""
    derived = _derived(settings, stored)
    place = 0
    for piece in encoder_graph(settings, blank_weights(settings)).pieces():
        if piece.tensor in derived:
            fits = derived[piece.tensor](graph, place)
        else:
            fits = os.pread(graph.fileno(), piece.size, place) == piece.content()
        if not fits:
            raise ValueError(f"{piece.what} of the encoder differs")
        place += piece.size


_Same = Callable[[BinaryIO, int], bool]  # whether a file has the bytes of a constant at a place


def _derived(settings: ModelSettings, stored: dict[str, _Stored]) -> dict[str, _Same]:
    """A comparison for each constant of the graph that is made of weights, by its name."""
    found: dict[str, _Same] = {}
    for name, tensor in stored.items():
        if name.startswith("encoder.") and len(tensor.shape) == 4:
            found[name] = partial(_transposed, tensor, 1)
        elif name.startswith("encoder.") or name in (KERNEL, BIAS):
            found[name] = partial(_in_order, tensor, np.asarray)
    for name in stage_names(len(settings.stages)):
        tensor = stored[name]
        found[name] = partial(_in_order, tensor, np.asarray)
        found[f"{name}.scaled"] = partial(
            _transposed, tensor._replace(shape=(1, 1, *tensor.shape)), -2
        )
        found[f"{name}.norms"] = partial(_in_order, tensor, squared_norms)
    return found


def _in_order(
    tensor: _Stored, change: Callable[[Array], Array], graph: BinaryIO, place: int
) -> bool:
    """The changed rows, one block after another."""
    for block in tensor.blocks():
        content = change(block).tobytes()
        if os.pread(graph.fileno(), len(content), place) != content:
            return False
        place += len(content)
    return True


def _transposed(kernel: _Stored, factor: int, graph: BinaryIO, place: int) -> bool:
    """(height, width, in, out), times a factor, as (out, in, height, width)."""
    height, width, sources, targets = kernel.shape
    cells = height * width
    step = max(1, BLOCK // (4 * cells * targets))
    for first in range(0, sources, step):
        count = min(step, sources - first)
        block = np.stack([kernel.rows(cell * sources + first, count) for cell in range(cells)])
        expected = np.ascontiguousarray((factor * block).transpose(2, 1, 0))
        for target in range(targets):
            start = place + 4 * cells * (target * sources + first)
            if os.pread(graph.fileno(), 4 * cells * count, start) != expected[target].tobytes():
                return False
    return True
