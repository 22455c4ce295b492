"""Bad input to the ONNX front end: one clear error, of the right class, never a traceback of
another kind.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from frontend.models import model, one
from onnx import TensorProto, external_data_helper, helper, numpy_helper
from tpuforge.compiler.errors import TpuforgeError, UnsupportedError, UserInputError
from tpuforge.compiler.frontend import load_graph, transform_graph
from tpuforge.compiler.frontend.onnx import load


def f32(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def net() -> onnx.ModelProto:
    nodes = [
        ("Conv", ["x", "w"], ["conv1_out"], {}),
        ("Relu", ["conv1_out"], ["relu1_out"], {}),
        ("Relu", ["relu1_out"], ["y"], {}),
    ]
    return model(nodes, {"x": [1, 3, 8, 8]}, ["y"], {"w": f32(4, 3, 3, 3)})


def test_missing_file(tmp_path):
    with pytest.raises(UserInputError, match="no such file"):
        load(tmp_path / "no.onnx")
    with pytest.raises(UserInputError, match="is a folder"):
        load(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x00" * 100, b"PK\x03\x04 rest", b"\xff" * 50]
)
def test_not_a_model(tmp_path, content):
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(UserInputError, match=r"a\.onnx"):
        load(path)


def test_wrong_extension(tmp_path):
    with pytest.raises(UnsupportedError, match=r"\.onnx and \.mlir"):
        load_graph(tmp_path / "a.caffemodel")


def test_truncated_everywhere():
    data = net().SerializeToString()
    for n in range(0, len(data) - 1, 3):
        with pytest.raises(TpuforgeError):
            load(data[:n])


def test_mutated_models():
    """Flipped bytes either load (and then verify) or raise one of our errors."""
    data = net().SerializeToString()
    weights = data.find(f32(4, 3, 3, 3).tobytes())
    rng = np.random.default_rng(3)
    raised = 0
    for _ in range(400):
        b = bytearray(data)
        for _ in range(int(rng.integers(1, 4))):
            i = int(rng.integers(0, len(b)))
            if not weights <= i < weights + 432:
                b[i] = int(rng.integers(0, 256))
        try:
            load(bytes(b)).verify()
        except TpuforgeError as e:
            raised += 1
            assert "\n" not in str(e).strip() or len(str(e)) > 0
    assert raised > 100


def test_dynamic_dimensions():
    m = one("Relu", ["batch", 3, 8, 8])
    with pytest.raises(UserInputError, match=r"not fixed \['batch', 3, 8, 8\].*input_shapes"):
        load(m)
    assert load(m, input_shapes=[[2, 3, 8, 8]]).inputs[0].shape == (2, 3, 8, 8)


@pytest.mark.parametrize(
    "shapes,text",
    [
        ([[1, 3, 8]], "gives 3 dimensions .* the model has 4"),
        ([[1, 3, 8, 8], [1]], r"has 1 input\(s\) \(x\), input_shapes has 2"),
        ([[1, 3, 0, 8]], "impossible"),
        ([[1, 5, 8, 8]], "Conv 'node_0'.*shapes do not fit.*do not fit 5 input channels"),
        ([[1, 3, 2, 8]], "Conv 'node_0'.*shapes do not fit"),
    ],
)
def test_input_shapes(shapes, text):
    with pytest.raises(UserInputError, match=text):
        load(net(), input_shapes=shapes)


def test_batch_that_the_model_fixes():
    m = one("Reshape", [1, 4, 2, 2], np.array([1, 16]))
    with pytest.raises(UserInputError, match=r"Reshape 'node_0'.*batch"):
        load(m, input_shapes=[[2, 4, 2, 2]])


def test_output_names():
    graph = load(net(), output_names=["relu1_out", "conv1_out"])
    assert [v.name for v in graph.outputs] == ["relu1_out_Relu", "conv1_out_Conv"]
    assert len(graph.ops) == 3  # the last Relu is gone
    with pytest.raises(UserInputError, match=r"no tensor 'relu_out'.*did you mean relu1_out"):
        load(net(), output_names=["relu_out"])


def test_all_unsupported_nodes_are_listed():
    nodes = [
        ("Conv", ["x", "w"], ["a"], {}),
        ("Erf", ["a"], ["b"], {}),
        ("Relu", ["b"], ["c"], {}),
        ("LSTM", ["c", "w", "w"], ["d"], {}),
        ("MaxPool", ["a"], ["e"], dict(kernel_shape=[2, 2], dilations=[2, 2])),
        ("Add", ["d", "e"], ["y"], {}),
        ("Erf", ["y"], ["not needed"], {}),
    ]
    m = model(nodes, {"x": [1, 3, 8, 8]}, ["y"], {"w": f32(4, 3, 3, 3)})
    with pytest.raises(UnsupportedError) as e:
        load(m)
    text = str(e.value)
    assert "3 node(s)" in text
    for part in "Erf 'node_1'", "LSTM 'node_3'", "MaxPool 'node_4': dilations [2, 2]", "Conv, ":
        assert part in text
    assert "node_6" not in text and e.value.exit_code == 3


@pytest.mark.parametrize(
    "m,text",
    [
        (one("Conv", [1, 3, 8], f32(4, 3, 3)), "two dimensions"),
        (one("Conv", [1, 2, 4, 8, 8], f32(4, 2, 3, 3, 3)), "two dimensions"),
        (
            model([("Conv", ["x", "v"], ["y"], {})], {"x": [1, 3, 8, 8], "v": [4, 3, 3, 3]}, ["y"]),
            "its filter \\('v'\\) is computed by the graph",
        ),
        (one("ReduceMean", [1, 3, 8, 8], axes=[1]), "axes \\[1\\]"),
        (
            one("Add", [1, 3, 8, 8], np.arange(8, dtype=np.float32)),
            "neither one number nor one per",
        ),
        (one("Add", [1, 1, 8, 8], f32(3, 1, 1)), "does not spread"),
        (one("Softmax", [1, 3, 8, 8], opset=11), "several axes"),
        (one("Cast", [1, 3], to=TensorProto.INT32), "whole numbers"),
        (
            model([("Div", ["c", "x"], ["y"], {})], {"x": [1, 3, 4, 4]}, ["y"], {"c": f32(1)}),
            "input 0 \\('c'\\) is a constant",
        ),
    ],
)
def test_unsupported_forms(m, text):
    with pytest.raises(UnsupportedError, match=text):
        load(m)


@pytest.mark.parametrize(
    "m,text",
    [
        (one("Unsqueeze", [2, 3], np.array([0, 0])), "axes .*one is named twice"),
        (one("Unsqueeze", [2, 3], np.array([3])), "no axis 3 in 3 dimensions"),
        (one("Squeeze", [2, 1, 3], np.array([-4])), "no axis -4 in 3 dimensions"),
        (one("Flatten", [2, 3, 4, 5], axis=9), "no axis 9"),
        (one("Concat", [1, 3, 8, 8], axis=9), "no axis 9"),
        (one("ReduceMean", [1, 3, 8, 8], axes=[2, 7]), "no axis 7"),
        (
            one("AveragePool", [1, 1, 8, 8], kernel_shape=[10**9, 3], pads=[10**8, 1, 10**8, 1]),
            "at most 65536",
        ),
        (one("Conv", [1, 1, 8, 8], f32(1, 1, 3, 3), pads=[0, 0, 10**9, 0]), "at most 65536"),
    ],
    ids=lambda v: v.graph.node[0].op_type if isinstance(v, onnx.ModelProto) else "",
)
def test_impossible_attributes(m, text):
    with pytest.raises(UserInputError, match=text):
        load(m)


def test_endless_name():
    m = net()
    m.graph.node[0].output[0] = m.graph.node[1].input[0] = "n" * 70000
    with pytest.raises(UserInputError, match="70000 characters, at most"):
        load(m)


@pytest.mark.parametrize("key", ["mean", "scale"])
def test_preprocessing_that_is_not_finite(key):
    with pytest.raises(UserInputError, match=f"{key} .*not finite"):
        load(net(), preprocess={key: (1.0, float("nan"), 1.0)})


def test_integer_input():
    m = net()
    m.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    with pytest.raises(UnsupportedError, match="input 'x' has the element type UINT8"):
        load(m)


def test_foreign_domain():
    m = net()
    m.graph.node[1].domain = "com.example"
    with pytest.raises(UnsupportedError, match=r"Relu 'node_1'.*com\.example"):
        load(m)


def test_weights_that_are_no_numbers():
    m = net()
    w = f32(4, 3, 3, 3)
    w[0, 0, 0, 0] = np.nan
    m.graph.initializer[0].CopyFrom(numpy_helper.from_array(w, "w"))
    with pytest.raises(UserInputError, match="'w' contains NaN"):
        load(m)


def test_lying_initializer():
    m = net()
    m.graph.initializer[0].dims[0] = 1 << 40
    with pytest.raises(UserInputError, match=r"tensor 'w'.*needs.*bytes"):
        load(m)
    m.graph.initializer[0].dims[0] = -1
    with pytest.raises(UserInputError, match="impossible shape"):
        load(m)


def test_giant_constant_is_refused():
    nodes = [("ConstantOfShape", ["s"], ["c"], {}), ("Add", ["x", "c"], ["y"], {})]
    m = model(nodes, {"x": [1, 3]}, ["y"], {"s": np.array([1 << 20, 1 << 20])})
    with pytest.raises(UserInputError, match="impossible"):
        load(m)


def test_cycle_and_undefined_input():
    m = net()
    m.graph.node[0].input[0] = "y"
    with pytest.raises(UserInputError, match="depends on its own output"):
        load(m)
    m.graph.node[0].input[0] = "nothing"
    with pytest.raises(UserInputError, match="'nothing' is computed by no node"):
        load(m)


def test_nodes_in_any_order():
    m = net()
    nodes = list(m.graph.node)[::-1]
    del m.graph.node[:]
    m.graph.node.extend(nodes)
    assert [o.name for o in load(m).ops] == ["x", "conv1_out_Conv", "relu1_out_Relu", "y_Relu"]


def test_constant_output():
    m = model([("Add", ["c", "c"], ["y"], {})], {"x": [1]}, ["y"], {"c": f32(2)})
    with pytest.raises(UserInputError, match="'y' is a constant"):
        load(m)


# ---- side files
def external(tmp_path, **entry):
    m = net()
    data = np.arange(108, dtype=np.float32)
    (tmp_path / "w.bin").write_bytes(b"abcd" + data.tobytes())
    t = m.graph.initializer[0]
    external_data_helper.set_external_data(t, **{"location": "w.bin", "offset": 4, **entry})
    t.ClearField("raw_data")
    path = tmp_path / "net.onnx"
    path.write_bytes(m.SerializeToString())
    return path, data


def test_external_data(tmp_path):
    path, data = external(tmp_path)
    np.testing.assert_array_equal(load(path).consts()[0].array.reshape(-1), data)


@pytest.mark.parametrize(
    "entry,text",
    [
        (dict(offset=5), "needs bytes 5 to 437 of w.bin, which has 436"),
        (dict(offset=-4), "-4"),
        (dict(length=4), "says 4"),
        (dict(location="../w.bin"), "not a file in the folder"),
        (dict(location="/etc/passwd"), "not a file in the folder"),
        (dict(location="none.bin"), "can not be read"),
    ],
)
def test_hostile_external_data(tmp_path, entry, text):
    path, _ = external(tmp_path, **entry)
    with pytest.raises(UserInputError, match=text):
        load(path)


def test_external_data_without_folder(tmp_path):
    path, _ = external(tmp_path)
    with pytest.raises(UserInputError, match="without its folder"):
        load(path.read_bytes())


# ---- preprocessing
def test_preprocess():
    record = dict(mean=[1.0, 2.0, 3.0], scale=[0.5] * 3, pixel_format="rgb")
    x = load(net(), preprocess=record).ops[0]
    assert (x.do_preprocess, x.mean, x.pixel_format) == (True, (1.0, 2.0, 3.0), "rgb")
    assert x.resize_dims == (8, 8)
    assert load(net()).ops[0].do_preprocess is False
    assert load(net(), preprocess=[None]).ops[0].do_preprocess is False
    with pytest.raises(UserInputError, match="unknown preprocessing attribute means"):
        load(net(), preprocess=dict(means=[1]))


def test_transform_graph(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(net().SerializeToString())
    seen = []
    graph = transform_graph(path, name="abc", hook=lambda name, g: seen.append(name))
    assert graph.name == "abc" and [o.name for o in graph.ops] == ["x", "y_Relu"]
    assert seen[0] == "dead_code" and seen[-1] == "canonical_names"


def test_names_that_collide():
    """Tensor `a` made by Relu and tensor `a_Relu` used as input: the second gets another name."""
    nodes = [("Relu", ["a_Relu"], ["a"], {}), ("Add", ["a", "a_Relu"], ["y"], {})]
    m = model(nodes, {"a_Relu": [1, 3]}, ["y"])
    graph = transform_graph_of(m)
    assert [v.name for v in graph.values()] == ["a_Relu", "a_Relu_1", "y_Add"]


def transform_graph_of(m: onnx.ModelProto):
    from tpuforge.compiler.passes.pipeline import optimise

    return optimise(load(m))


def test_node_without_inputs_in_helper_order():
    """An optional input that is absent is the empty string, not a missing tensor."""
    m = helper.make_model(
        helper.make_graph(
            [helper.make_node("Clip", ["x", "", "hi"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
            [numpy_helper.from_array(np.float32(3), "hi")],
        ),
        opset_imports=[helper.make_opsetid("", 13)],
    )
    assert load(m).ops[1].max == 3.0
