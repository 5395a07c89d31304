"""The bytes are those that the onnx package writes."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from ulmo.bundle.onnx_model import FLOAT, INT64, IR_VERSION, OPSET, OnnxModel, Tensor, node_bytes

int64 = st.integers(-(2**63), 2**63 - 1)
options = st.dictionaries(
    st.sampled_from(["axis", "perm", "epsilon", "to"]),
    int64 | st.floats(width=32, allow_nan=False) | st.lists(int64, min_size=1, max_size=5),
)
names = st.text("abcXYZ_.äß", min_size=1, max_size=200)


@given(st.lists(names, max_size=3), names, options)
def test_nodes(inputs, output, values):
    expected = helper.make_node("Conv", inputs, [output], name=output, **values)
    assert node_bytes("Conv", inputs, output, values) == expected.SerializeToString()


@pytest.mark.parametrize("size", [0, 1, 5, 200, 40_000])
def test_a_model(size):
    values, axes = np.arange(size, dtype=np.float32).reshape(-1, 1), np.array([-1, 2], np.int64)
    ours = OnnxModel(
        "name",
        [("y", node_bytes("Add", ["x", "values"], "y", {}))],
        [
            Tensor("values", values.shape, "<f4", lambda: values),
            Tensor("axes", axes.shape, "<i8", lambda: axes),
        ],
        inputs={"x": (FLOAT, ("batch", 7, "frames", 1))},
        outputs={"y": (INT64, ("batch", 300))},
    )
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "values"], ["y"], name="y")],
        "name",
        [helper.make_tensor_value_info("x", FLOAT, ("batch", 7, "frames", 1))],
        [helper.make_tensor_value_info("y", INT64, ("batch", 300))],
        [numpy_helper.from_array(values, "values"), numpy_helper.from_array(axes, "axes")],
    )
    theirs = helper.make_model(
        graph,
        producer_name="ulmo",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    content = theirs.SerializeToString(deterministic=True)
    assert (ours.to_bytes() == content) is True
    assert ours.size == len(content)
    assert [piece.size for piece in ours.pieces()] == [len(p.content()) for p in ours.pieces()]
    assert onnx.load_model_from_string(ours.to_bytes()) == theirs


def test_sizes_need_no_values():
    tensor = Tensor("t", (1 << 20, 1 << 20), "<f4", lambda: pytest.fail("made"))
    assert OnnxModel("name", [], [tensor], {}, {}).size > 1 << 42
