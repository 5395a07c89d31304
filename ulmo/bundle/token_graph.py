"""The token model's network as an ONNX graph: a chunk of columns and what is known before it, in.

It is built as the tokenizer's is (graph.py), and computes what `ulmo.sequence.network` does, to
rounding: sums along time are made by doubling (Hillis and Steele 1986) instead of one by one.
"""

from collections.abc import Mapping

import numpy as np

from ulmo.arrays import Array
from ulmo.bundle.onnx_model import FLOAT, INT32, Nodes, OnnxModel, Shape
from ulmo.bundle.token_weights import weight_shapes
from ulmo.config.token_model import (
    CHUNK,
    DECAY,
    LEAST,
    NORM_EPSILON,
    TokenModelSettings,
    attention_slopes,
)
from ulmo.vocabulary import SPECIAL_TOKENS, Vocabulary

_FAR = -1e9  # what attention that is not allowed begins with


def network_graph(settings: TokenModelSettings, weights: Mapping[str, Array]) -> OnnxModel:
    """Columns of one chunk -> logits, and what the next chunk is to be given.

    Inputs: `ids` (64, bands) int32; `previous` (1, bands) int32, the column before them, `<bos>`
    at the first; `segment` (1,) int32, at first 0, and `segments` (64,) int32, at first -1, count
    gaps; `memory_0`, `memory_1`, ... of each block, (width,) or of attention (2, 64, width), at
    first 0. Outputs: `logits` (64, bands, CB), of each token given those before it and the lower
    bands of its column; and `next_` of each input but ids, previous being the last of the ids.
    Columns at the end that are not there yet may be any ids: they change nothing before them.

    weights: of `weight_shapes`, kept as float16. Equal input gives equal bytes.
    """
    graph = _Network(settings, weights)
    width, bands = settings.width, settings.bands
    graph.build()
    inputs: dict[str, tuple[int, Shape]] = {
        "ids": (INT32, (CHUNK, bands)),
        "previous": (INT32, (1, bands)),
        "segment": (INT32, (1,)),
        "segments": (INT32, (CHUNK,)),
    }
    for number, kind in enumerate(settings.kinds):
        shape: Shape = (width,) if kind == "recurrent" else (2, CHUNK, width)
        inputs[f"memory_{number}"] = (FLOAT, shape)
    outputs = {f"next_{name}": each for name, each in inputs.items() if name != "ids"}
    logits: Shape = (CHUNK, bands, settings.codebook_size)
    return OnnxModel(
        *("ulmo-token-model", graph.nodes, graph.tensors),
        inputs=inputs,
        outputs={"logits": (FLOAT, logits), **outputs},
    )


def network_size(settings: TokenModelSettings) -> int:
    """Bytes of network.onnx."""
    blank = {
        name: np.broadcast_to(np.float32(0), shape)
        for name, shape in weight_shapes(settings).items()
    }
    return network_graph(settings, blank).size


class _Network(Nodes):
    """Adds the parts of the network one after the other."""

    def __init__(self, settings: TokenModelSettings, weights: Mapping[str, Array]) -> None:
        super().__init__()
        self._settings, self._weights = settings, weights
        vocabulary = Vocabulary(settings.codebook_size)
        self._breaks = (vocabulary.gap, vocabulary.bos)
        self._opened: dict[str, str] = {}
        self._rows = vocabulary.size - settings.codebook_size - len(SPECIAL_TOKENS)

    def build(self) -> None:
        settings = self._settings
        tables = [self._weight("codes"), self._weight("specials")]
        if self._rows:
            none = np.zeros((self._rows, settings.embedding_dim), "<f4")
            tables.append(self.constant("unused", none))
        table = self.node("Concat", *tables, axis=0)
        start = self._cut("ids", 0, 0, CHUNK - 1)
        inputs = self.node("Concat", "previous", start, axis=0)
        self._cut("ids", 0, CHUNK - 1, CHUNK, output="next_previous")
        resets = self._resets(inputs)
        counted = self.node("CumSum", resets, self._whole("time", 0))
        segments = self.node("Add", counted, "segment")
        self.node("Identity", segments, output="next_segments")
        self._cut(segments, 0, CHUNK - 1, CHUNK, output="next_segment")
        kept = self.node("Sub", self._number(1), self.node("Cast", resets, to=FLOAT))
        kept = self._reshaped(kept, CHUNK, 1)
        seen = self._reshaped(self.node("Gather", table, inputs, axis=0), CHUNK, -1)
        x = self._dense("embed", seen)
        for number, kind in enumerate(settings.kinds):
            name = f"block_{number}"
            y = self._norm(f"{name}.norm", x)
            if kind == "recurrent":
                mixed = self._recurrent(number, y, kept)
            else:
                mixed = self._attend(number, y, segments)
            x = self.node("Add", x, self._dense(f"{name}.out", mixed))
            hidden = self._norm(f"{name}.mlp.norm", x)
            x = self.node("Add", x, self._gated(f"{name}.mlp", hidden, settings.hidden))
        self._bands(self._norm("norm", x), table)

    def _bands(self, x: str, table: str) -> None:
        settings = self._settings
        size, width = settings.embedding_dim, settings.width
        below = self._reshaped(self.node("Gather", table, "ids", axis=0), CHUNK, -1)
        firsts = self._weight("bands")
        parts = []
        for band in range(settings.bands):
            part = self.node("Add", x, self._cut(firsts, 0, band, band + 1))
            if band:
                known = self._cut(below, 1, 0, band * size)
                part = self.node("Add", part, self._dense(f"band_{band}", known))
            parts.append(self._reshaped(part, CHUNK, 1, width))
        stacked = self.node("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
        stacked = self.node("Add", stacked, self._gated("head", stacked, width))
        logits = self.node("MatMul", stacked, self._weight("logits.kernel"))
        self.node("Add", logits, self._weight("logits.bias"), output="logits")

    def _resets(self, inputs: str) -> str:
        """(CHUNK,) int32: 1 for a column that has a `<gap>` or `<bos>`."""
        found = [
            self.node("Cast", self.node("Equal", inputs, self._id(name, value)), to=INT32)
            for name, value in zip(("gap", "bos"), self._breaks, strict=True)
        ]
        either = self.node("Add", *found)
        return self.node("ReduceMax", either, axes=[1], keepdims=0)

    def _recurrent(self, number: int, y: str, kept: str) -> str:
        """RG-LRU, times its gate: (CHUNK, width)."""
        width, name = self._settings.width, f"block_{number}"
        parts = self._dense(f"{name}.in", y)
        forget, take, value, gate = (
            self._cut(parts, 1, at * width, (at + 1) * width) for at in range(4)
        )
        softplus = self.node("Softplus", self._weight(f"{name}.decay"))
        rates = self.node("Mul", softplus, self._number(-DECAY))
        keep = self.node("Exp", self.node("Mul", rates, self.node("Sigmoid", forget)))
        keep = self.node("Mul", keep, kept)
        left = self.node("Sub", self._number(1), self.node("Mul", keep, keep))
        share = self.node("Sqrt", self.node("Max", left, self._number(LEAST)))
        added = self.node("Mul", share, self.node("Mul", self.node("Sigmoid", take), value))
        first = self.node("Mul", self._cut(keep, 0, 0, 1), f"memory_{number}")
        rest = self.constant("zeros", np.zeros((CHUNK - 1, width), "<f4"))
        memory = self.node("Add", added, self.node("Concat", first, rest, axis=0))
        step = 1
        while step < CHUNK:
            none = self.constant(f"zeros_{step}", np.zeros((step, width), "<f4"))
            ones = self.constant(f"ones_{step}", np.ones((step, width), "<f4"))
            earlier = self._cut(memory, 0, 0, CHUNK - step)
            moved = self.node("Mul", keep, self.node("Concat", none, earlier, axis=0))
            memory = self.node("Add", memory, moved)
            kept_so_far = self._cut(keep, 0, 0, CHUNK - step)
            keep = self.node("Mul", keep, self.node("Concat", ones, kept_so_far, axis=0))
            step *= 2
        last = self._cut(memory, 0, CHUNK - 1, CHUNK)
        self._reshaped(last, width, output=f"next_memory_{number}")
        return self.node("Mul", memory, self._silu(gate))

    def _attend(self, number: int, y: str, segments: str) -> str:
        """Attention over the last CHUNK columns of the same stretch: (CHUNK, width)."""
        settings, before = self._settings, f"memory_{number}"
        width, heads = settings.width, settings.heads
        parts = self._dense(f"block_{number}.in", y)
        query, key, value = (self._cut(parts, 1, at * width, (at + 1) * width) for at in range(3))
        both = [self._reshaped(each, 1, CHUNK, width) for each in (key, value)]
        after = self.node("Concat", *both, axis=0, output=f"next_{before}")
        known = self.node("Concat", before, after, axis=1)  # (2, 2 CHUNK, width)
        keys, values = (
            self._by_head(self._cut(known, 0, at, at + 1), 2 * CHUNK, [1, 2, 0] if not at else None)
            for at in range(2)
        )
        scale = float(np.sqrt(np.float32(width // heads)))
        logits = self.node("MatMul", self._by_head(query, CHUNK), keys)
        logits = self.node("Div", logits, self._number(scale))
        logits = self.node("Add", logits, self._bias())
        there = self.node("Concat", "segments", segments, axis=0)
        alike = self.node(
            "Equal", self._reshaped(segments, CHUNK, 1), self._reshaped(there, 1, 2 * CHUNK)
        )
        logits = self.node("Where", alike, logits, self._number(_FAR))
        mixed = self.node("MatMul", self.node("Softmax", logits, axis=-1), values)
        return self._reshaped(self.node("Transpose", mixed, perm=[1, 0, 2]), CHUNK, width)

    def _bias(self) -> str:
        """(heads, CHUNK, 2 CHUNK): what attention begins with; see `sequence.network`."""
        apart = np.arange(CHUNK)[:, None] + CHUNK - np.arange(2 * CHUNK)
        slopes = np.array(attention_slopes(self._settings.heads))[:, None, None]
        inside = (apart >= 0) & (apart < CHUNK)
        return self.constant("attention", np.where(inside, -slopes * apart, _FAR).astype("<f4"))

    def _by_head(self, x: str, columns: int, order: list[int] | None = None) -> str:
        """(columns, width) to (heads, columns, width / heads), or another order of these."""
        split = self._reshaped(x, columns, self._settings.heads, -1)
        return self.node("Transpose", split, perm=order or [1, 0, 2])

    def _dense(self, name: str, x: str) -> str:
        sums = self.node("MatMul", x, self._weight(f"{name}.kernel"))
        return self.node("Add", sums, self._weight(f"{name}.bias"))

    def _norm(self, name: str, x: str) -> str:
        squares = self.node("ReduceMean", self.node("Mul", x, x), axes=[-1], keepdims=1)
        size = self.node("Sqrt", self.node("Add", squares, self._number(NORM_EPSILON)))
        return self.node("Mul", self.node("Div", x, size), self._weight(name))

    def _gated(self, name: str, x: str, hidden: int) -> str:
        parts = self._dense(f"{name}.in", x)
        gate, value = (self._cut(parts, -1, at * hidden, (at + 1) * hidden) for at in range(2))
        return self._dense(f"{name}.out", self.node("Mul", self._silu(gate), value))

    def _silu(self, x: str) -> str:
        return self.node("Mul", x, self.node("Sigmoid", x))

    def _weight(self, name: str) -> str:
        """A weight as float32. It is kept as float16, as in model.safetensors."""
        if name not in self._opened:
            half = self.constant(f"{name}.half", self._weights[name].astype("<f2"))
            self._opened[name] = self.node("Cast", half, output=name, to=FLOAT)
        return self._opened[name]

    def _cut(self, x: str, axis: int, start: int, stop: int, output: str | None = None) -> str:
        places = (self._whole(f"at_{value}", value) for value in (start, stop, axis))
        return self.node("Slice", x, *places, output=output)

    def _reshaped(self, x: str, *shape: int, output: str | None = None) -> str:
        name = "shape_" + "_".join(map(str, shape))
        return self.node("Reshape", x, self.constant(name, np.array(shape, "<i8")), output=output)

    def _number(self, value: float) -> str:
        return self.constant(f"number_{value:g}", np.array(value, "<f4"))

    def _whole(self, name: str, value: int) -> str:
        return self.constant(name, np.array([value], "<i8"))

    def _id(self, name: str, value: int) -> str:
        return self.node("Cast", self._whole(f"id_{name}", value), to=INT32)
