"""Printing and reading back: identity, exact numbers, vendor files, other spellings of the same
module.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from ir.nets import chain, odd
from tpuforge.compiler.errors import OptionError, UserInputError
from tpuforge.compiler.ir import Graph, TensorType, Value
from tpuforge.compiler.ir.text import parse, read, to_text, write
from tpuforge.compiler.ir.text_print import float_text, type_text

VENDOR = {"tiny_resnet": 16, "mobilenet_v2": 64}


def same(a: Graph, b: Graph) -> None:
    """The two graphs are equal in everything."""
    assert a.name == b.name and a.attrs == b.attrs
    known: dict[int, Value] = {}

    def pair(v: Value | None, w: Value | None) -> None:
        assert (v is None) == (w is None)
        if v is not None and w is not None:
            assert (v.name, v.type, v.is_const) == (w.name, w.type, w.is_const)
            assert known.setdefault(id(v), w) is w
            if v.is_const:
                assert v.array.dtype == w.array.dtype and v.array.tobytes() == w.array.tobytes()

    for o, p in zip(a.ops, b.ops, strict=True):
        assert type(o) is type(p)
        assert repr(o.attrs) == repr(p.attrs)
        for v, w in zip(o.operands, p.operands, strict=True):
            pair(v, w)
        for v, w in zip(o.results, p.results, strict=True):
            pair(v, w)
    for v, w in zip(a.outputs, b.outputs, strict=True):
        pair(v, w)


def weights(g: Graph) -> dict[str, np.ndarray]:
    return {v.name: v.array for v in g.consts()}


@pytest.mark.parametrize("graph", [chain(12), odd()], ids=["chain", "odd"])
def test_round_trip(graph, tmp_path):
    same(graph, parse(to_text(graph), weights(graph)))
    write(graph, tmp_path / "net.mlir", tmp_path / "net_weight.npz")
    same(graph, read(tmp_path / "net.mlir"))
    assert sorted(os.listdir(tmp_path)) == ["net.mlir", "net_weight.npz"]
    with np.load(tmp_path / "net_weight.npz") as z:  # numpy reads it too
        assert {n: z[n].tobytes() for n in z.files} == {
            v.name: v.array.tobytes() for v in graph.consts()
        }


def test_same_graph_same_bytes(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        write(odd(), tmp_path / name / "n.mlir", tmp_path / name / "n.npz")
    for file in "n.mlir", "n.npz":
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_constants_of_one_name(tmp_path):
    """Two different constants called alike do not become one."""
    g = chain(4)
    for op in g.ops[1:]:
        op.arg(2).name = "bias"
        op.arg(2).data = np.full(8, float(op.name[5]), np.float32)
    write(g, tmp_path / "a.mlir", tmp_path / "a.npz")
    read_back = read(tmp_path / "a.mlir")
    assert [op.arg(2).array[0] for op in read_back.ops[1:]] == [1, 2, 3]
    assert [op.arg(2).name for op in read_back.ops[1:]] == ["bias", "bias_1", "bias_2"]


@pytest.mark.parametrize(
    "x",
    [0.0, -0.0, 1.0, 1e-5, 1e22, 5e-324, 1 / 3, -1.7976931348623157e308, 0.1, math.inf, -math.inf],
)
def test_float_text_is_exact(x):
    text = float_text(x)
    if "x" in text:
        back = struct.unpack(">d", bytes.fromhex(text[2:18]))[0]
    else:
        back = float(text)
        assert "." in text
    assert struct.pack("<d", back) == struct.pack("<d", x)


def test_random_scales_are_exact():
    rng = np.random.default_rng(2)
    for bits in rng.integers(0, 1 << 63, 300):
        scale = struct.unpack("<d", struct.pack("<q", int(bits)))[0]
        if not math.isfinite(scale):
            continue
        t = TensorType((2, 3), "i8", scale)
        s = type_text(t)
        g = parse(
            f"module {{ func.func @main(%arg0: {s}) -> {s} {{\n"
            f'%0 = "top.Input"(%arg0) : ({s}) -> {s} loc("x")\nreturn %0 : {s} }} }}'
        )
        assert g.outputs[0].type == t


@pytest.mark.parametrize("name", VENDOR)
def test_vendor_files(vendor_dir: Path, name, tmp_path):
    """The vendor's Top file, its weights, and its way through our writer."""
    g = read(vendor_dir / f"{name}.mlir")
    assert len(g.ops) == VENDOR[name] and g.name == name
    assert g.attrs["platform"] == "ONNX" and g.inputs[0].owner.pixel_format == "rgb"
    with np.load(vendor_dir / f"{name}_top_f32_all_weight.npz") as z:
        for v in g.consts():
            np.testing.assert_array_equal(v.array.reshape(-1), z[v.name].reshape(-1))
    write(g, tmp_path / "a.mlir", tmp_path / "a.npz")
    same(g, read(tmp_path / "a.mlir"))


SPELLINGS = {
    "alias behind": """
        module @m attributes {module.chip = "ALL"} {
          func.func @main(%arg0: tensor<1x4xf32> loc(unknown)) -> tensor<1x4xf32> {
            %0 = "top.Input"(%arg0) : (tensor<1x4xf32>) -> tensor<1x4xf32> loc(#loc1)
            %1 = "top.Relu"(%0) {relu_limit = 6.0 : f64} : (tensor<1x4xf32>)
              -> tensor<1x4xf32> loc(#l)
            return %1 : tensor<1x4xf32> loc(unknown)
          } loc(#loc)
        } loc(#loc)
        #loc = loc(unknown)
        #loc1 = loc("x")
        #loc2 = loc("y")
        #l = loc(fused[#loc2])""",
    "alias before, comments, blanks": """
        // a comment
        #loc2 = loc("y") // another "
        #a = loc("x"("file.py":3:4))
        module @m attributes {module.chip="ALL",}{func.func private @main( %arg0 :tensor<1x4xf32>)
        ->(tensor<1x4xf32>)attributes{x}{%in="top.Input"(%arg0){unknown.attr=[1,"a",{b=2}]}:(tensor<1x4xf32>)
        ->tensor<1x4xf32>loc(#a) %r#0 = "none"()""",
    "generic": """
        "builtin.module"() <{sym_name = "m"}> ({
          "func.func"() <{function_type = (tensor<1x4xf32>) -> tensor<1x4xf32>,
                          sym_name = "main"}> ({
          ^bb0(%arg0: tensor<1x4xf32> loc("x"), %arg1: none):
            %0 = "top.Input"(%arg0) : (tensor<1x4xf32>) -> tensor<1x4xf32> loc("x")
            %1 = "top.Relu"(%0#0) <{relu_limit = 6.000000e+00 : f64}>
                 {other = dense<[1, 2]> : tensor<2xi64>} :
                 (tensor<1x4xf32>) -> (tensor<1x4xf32>) loc("y")
            "func.return"(%1) : (tensor<1x4xf32>) -> () loc(unknown)
          }) {arg_attrs = [{}], res = array<i64: 1, 2>, t = i32,
              m = affine_map<(d0) -> (d0)>} : () -> ()
        }) {module.chip = "ALL"} : () -> () loc(unknown)""",
}


@pytest.mark.parametrize("kind", ["alias behind", "generic"])
def test_spellings(kind):
    g = parse(SPELLINGS[kind])
    assert (g.name, g.attrs["chip"]) == ("m", "ALL")
    assert [o.name for o in g.ops] == ["x", "y"] and g.ops[1].relu_limit == 6.0
    assert g.outputs == [g.ops[1].results[0]]


def test_crowded_spelling():
    text = SPELLINGS["alias before, comments, blanks"].replace(
        '%r#0 = "none"()',
        '%r="top.Relu"(%in){relu_limit=0x40180000}:(tensor<1x4xf32>)->tensor<1x4xf32>loc(#loc2)'
        "func.return %r:tensor<1x4xf32>}}",
    )
    text = text.replace("0x40180000", "0x40C00000 : f32")
    g = parse(text)
    assert [o.name for o in g.ops] == ["x", "y"] and g.ops[1].relu_limit == 6.0


def test_vendor_attributes_without_ceil_mode():
    """The type of the result tells what a foreign file does not say."""

    def pool(size: int) -> str:
        a, b = "tensor<1x2x6x6xf32>", f"tensor<1x2x{size}x{size}xf32>"
        return (
            f"module {{ func.func @main(%arg0: {a}) -> {b} {{\n"
            f'%0 = "top.Input"(%arg0) : ({a}) -> {a} loc("x")\n'
            f'%1 = "top.MaxPool"(%0) {{kernel_shape = [3, 3], strides = [2, 2]}} : ({a}) -> {b}\n'
            f"return %1 : {b} }} }}"
        )

    assert parse(pool(2)).ops[1].ceil_mode is False
    assert parse(pool(3)).ops[1].ceil_mode is True
    with pytest.raises(UserInputError, match="its operands give 1x2x3x3xf32"):
        parse(pool(4))


def test_vendor_squeeze_is_a_reshape():
    a, b = "tensor<1x4x1x1xf32>", "tensor<1x4xf32>"
    g = parse(
        f"module {{ func.func @main(%arg0: {a}) -> {b} {{\n"
        f'%0 = "top.Input"(%arg0) : ({a}) -> {a} loc("x")\n'
        f'%1 = "top.Squeeze"(%0) {{axes = [2, 3]}} : ({a}) -> {b} loc("y")\n'
        f"return %1 : {b} }} }}"
    )
    assert g.ops[1].op_name() == "top.Reshape" and g.ops[1].shape == (1, 4)


def test_weights_that_nobody_reads_are_not_loaded(tmp_path):
    g = chain(3)
    text = to_text(g).replace(
        "    return", '    %99 = "top.Weight"() : () -> tensor<9xf32> loc("unused")\n    return'
    )
    same(g, parse(text, weights(g)))


# ---- files
def test_write_leaves_nothing_behind(tmp_path, monkeypatch):
    write(chain(3), tmp_path / "a.mlir", tmp_path / "a.npz")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "header_data_from_array_1_0", fail)
    with pytest.raises(UserInputError, match="can not be written: No space left"):
        write(chain(9), tmp_path / "a.mlir", tmp_path / "a.npz")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_write_errors(tmp_path):
    with pytest.raises(UserInputError, match="can not be written"):
        write(chain(3), tmp_path / "no" / "a.mlir", tmp_path / "no" / "a.npz")
    (tmp_path / "b").mkdir()
    with pytest.raises(OptionError, match="same folder"):
        write(chain(3), tmp_path / "a.mlir", tmp_path / "b" / "a.npz")
