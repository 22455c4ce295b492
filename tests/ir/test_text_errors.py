"""Hostile and broken .mlir and .npz files: one of our errors, with the line."""

from __future__ import annotations

import contextlib
import io
import re
import time
import zipfile

import numpy as np
import pytest
from ir.nets import chain, odd
from tpuforge.compiler.errors import TpuforgeError, UnsupportedError, UserInputError
from tpuforge.compiler.ir.text import parse, read, to_text, write

T = "tensor<1x4xf32>"


def body(*lines: str, end: str = f"return %0 : {T}") -> str:
    return "\n".join(
        [
            f"module {{ func.func @main(%arg0: {T}) -> {T} {{",
            f'%0 = "top.Input"(%arg0) : ({T}) -> {T} loc("x")',
            *lines,
            end,
            "} }",
        ]
    )


@pytest.mark.parametrize(
    "text,message",
    [
        ("", "there is no module"),
        ("hello", "line 1: expected a module, found 'hello'"),
        ("module {", "expected a function, but the text ends"),
        (body() + "x", "line 4: expected the end of the text, found 'x'"),
        (body(f'%1 = "top.Relu"(%0 : ({T}) -> {T}'), "line 3: expected ',', found ':'"),
        (body(f'%1 = "top.Relu(%0) : ({T}) -> {T}'), "line 3: a string does not end"),
        (body(f'%1 = "top.Relu"(%7) : ({T}) -> {T}'), "line 3: top.Relu: %7 is used before"),
        (body(f'%0 = "top.Relu"(%0) : ({T}) -> {T}'), "line 3: top.Relu: %0 is defined twice"),
        (
            body(f'%1 = "top.Relu"(%0) : (tensor<2x4xf32>) -> {T}'),
            "is 1x4xf32, but used as 2x4xf32",
        ),
        (
            body(f'%1 = "top.Relu"(%0) : ({T}, {T}) -> {T}'),
            "1 operands and 1 results, but types for 2",
        ),
        (body(f'%1 = "top.Relu"(%0) {{relu_limit = "a"}} : ({T}) -> {T}'), "'a' is not float"),
        (
            body(f'%1 = "top.Relu"(%0) {{relu_limit = @x}} : ({T}) -> {T}'),
            "attribute relu_limit is",
        ),
        (body(f'%1 = "top.Relu"(%0) {{relu_limit = }} : ({T}) -> {T}'), "expected the value of an"),
        (body(f'%1 = "top.Clip"(%0) : ({T}) -> {T}'), "attribute min is missing"),
        (body(f'%1 = "top.Relu"() : () -> {T}'), "0 operands, expected"),
        (body(f'%1 = "top.Relu"(%0) : ({T}) -> {T} loc(#no)'), "the location #no is not defined"),
        (body(f'%1 = "top.Relu"(%0) : ({T}) -> tensor<?xf32>'), "not a tensor of fixed shape"),
        (body(f'%1 = "top.Relu"(%0) : ({T}) -> tensor<*xf32>'), "not a tensor of fixed shape"),
        (body(f'%1 = "top.Relu"(%0) : ({T}) -> f32'), "expected a tensor type, found 'f32'"),
        (
            body(f'%1 = "top.Relu"(%0) : ({T}) -> tensor<1x5xf32>'),
            "result is 1x5xf32, its operands give",
        ),
        (
            body(f'%1 = "top.Conv"(%0, %0) {{kernel_shape = [3]}} : ({T}, {T}) -> {T}'),
            "four dimensions",
        ),
        (body(end=f"return %5 : {T}"), "returns %5, which no operation computes"),
        (body(f'%1 = "top.Relu"(%0) : ({T}) -> {T} loc("x")'), "two results are named 'x'"),
        (body(f'%1 = "top.Relu"(%0) {{a = {"[" * 100}}} : ({T}) -> {T}'), "nested too deeply"),
        (body(f'%1 = "top.Relu"(%0) {{a = {"9" * 100}}} : ({T}) -> {T}'), "number is too long"),
        (body(f'%1:99999999 = "top.Relu"(%0) : ({T}) -> {T}'), "no number of results"),
        (
            body('%1 = "top.Relu"(%0) : (tensor<1x4x!quant.uniform<i8:f32, q>>) -> tensor<1xf32>'),
            "'q' is not a number",
        ),
    ],
)
def test_syntax(text, message):
    with pytest.raises(UserInputError, match=re.escape(message)):
        parse(text)


@pytest.mark.parametrize(
    "text,message",
    [
        (
            body(f'%1 = "top.A"(%0) : ({T}) -> {T}', f'%2 = "top.B"(%1) : ({T}) -> {T}'),
            "unknown operations top.A (line 3), top.B (line 4). Supported: ",
        ),
        (
            body(f'%1 = "top.Relu"(%0) : ({T}) -> tensor<1x4xf64>'),
            "tensor<1x4xf64> is not supported",
        ),
        (body(f'%1 = "scf.if"(%0) ({{ }}) : ({T}) -> {T}'), "regions or successors"),
        (body().replace("} }", "} func.func @g() { return } }"), "more than one function"),
        (
            body(f'%1 = "top.Add"(%0, %0) {{coeff = [1.0, 2.0]}} : ({T}, {T}) -> {T}'),
            "line 3: top.Add: coeff = [1.0, 2.0] is not supported",
        ),
    ],
)
def test_unsupported(text, message):
    with pytest.raises(UnsupportedError, match=re.escape(message)):
        parse(text)


def test_location_that_contains_itself():
    text = (
        body(f'%1 = "top.Relu"(%0) : ({T}) -> {T} loc(#a)') + "\n#a = loc(fused[#b])\n#b = loc(#a)"
    )
    with pytest.raises(UserInputError, match="contains itself"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        " " * 200_000,
        "/" * 200_000,
        "//\n" * 70_000,
        '"' * 200_000,
        '"\\"' * 70_000,
        "tensor<" * 30_000,
        "tensor<a<b" * 20_000,
        "-" * 200_000,
        "(" * 200_000,
        "1." * 100_000,
        "module {" + "[" * 100_000,
    ],
    ids=range(11),
)
def test_no_slow_text(text):
    t = time.process_time()
    with pytest.raises(TpuforgeError):
        parse(text)
    assert time.process_time() - t < 3


def test_mutated_text():
    """Deleted, doubled and changed pieces: parses and verifies, or raises one of our errors."""
    g = odd()
    text, w = to_text(g), {v.name: v.array for v in g.consts()}
    pieces = re.findall(r"\w+|\s+|.", text)
    rng = np.random.default_rng(1)
    raised = 0
    for _ in range(600):
        p = list(pieces)
        for _ in range(int(rng.integers(1, 4))):
            i, j = (int(k) for k in rng.integers(0, len(p), 2))
            p[i : i + 1] = [[], [p[i], p[i]], [p[j]], ["-9999999999999999999"]][
                int(rng.integers(4))
            ]
        try:
            parse("".join(p), w).verify()
        except TpuforgeError:
            raised += 1
    assert raised > 300


def test_truncated_text():
    g = chain(3)
    text, w = to_text(g), {v.name: v.array for v in g.consts()}
    for n in range(0, text.rindex("}") - 1, 11):
        with pytest.raises(TpuforgeError):
            parse(text[:n], w)


# ---- the files
@pytest.fixture
def files(tmp_path):
    write(chain(3), tmp_path / "a.mlir", tmp_path / "a.npz")
    return tmp_path


def test_missing_and_binary(tmp_path):
    with pytest.raises(UserInputError, match="no such file"):
        read(tmp_path / "no.mlir")
    (tmp_path / "b.mlir").write_bytes(b"ML\xefR\x00\xff")
    with pytest.raises(UserInputError, match="not a text file"):
        read(tmp_path / "b.mlir")


def test_missing_weights(files):
    (files / "a.npz").unlink()
    with pytest.raises(UserInputError, match=r"a\.npz is missing: it holds the weights"):
        read(files / "a.mlir")


@pytest.mark.parametrize("name", ["../a.npz", "/etc/passwd", "b/a.npz", "..", ""])
def test_weight_file_elsewhere(files, name):
    text = (files / "a.mlir").read_text().replace('"a.npz"', f'"{name}"')
    (files / "a.mlir").write_text(text)
    with pytest.raises(UserInputError, match="weight"):
        read(files / "a.mlir")


def npz(path, name: str = "conv_1.weight", data: bytes | None = None, array=None):
    """Replace one member of the .npz."""
    with zipfile.ZipFile(path) as z:
        members = {i: z.read(i) for i in z.namelist()}
    if array is not None:
        f = io.BytesIO()
        np.save(f, array, allow_pickle=True)
        data = f.getvalue()
    members.pop(f"{name}.npy")
    if data is not None:
        members[f"{name}.npy"] = data
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for n, d in members.items():
            z.writestr(n, d)


HEADER = b"\x93NUMPY\x01\x00\x76\x00"


@pytest.mark.parametrize(
    "change,message",
    [
        (dict(), "'conv_1.weight' is missing"),
        (dict(data=b"not numpy"), "damaged"),
        (
            dict(data=HEADER + b"{'descr': '<f4', 'fortran_order': False, 'shape': (576,)}\n"),
            "damaged",
        ),
        (dict(array=np.zeros(576)), "has 4736 bytes|is float64"),
        (dict(array=np.zeros(5, np.float32)), r"shape \[5\]"),
        (dict(array=np.zeros(576, np.int32)), "is int32"),
        (dict(array=np.array([{}], dtype=object)), "damaged: it holds Python objects"),
        (dict(array=np.zeros(10_000_000, np.float32)), "has 40000128 bytes"),
        (dict(array=np.r_[np.zeros(575), np.nan].astype(np.float32)), "contains NaN"),
        (dict(array=np.r_[np.zeros(575), -np.inf].astype(np.float32)), "contains NaN or inf"),
    ],
)
def test_bad_weights(files, change, message):
    npz(files / "a.npz", **change)
    with pytest.raises(UserInputError, match=message):
        read(files / "a.mlir")


def test_compressed_and_fortran_weights(files):
    w = np.arange(576, dtype=np.float32).reshape(8, 8, 3, 3)
    npz(files / "a.npz", array=np.asfortranarray(w))
    np.testing.assert_array_equal(read(files / "a.mlir").ops[1].arg(1).array, w)


def test_mutated_npz(files):
    data = (files / "a.npz").read_bytes()
    rng = np.random.default_rng(4)
    for _ in range(200):
        b = bytearray(data[: int(rng.integers(1, len(data) + 1))] if rng.integers(3) == 0 else data)
        for i in rng.integers(0, len(b), 3):
            b[i] = int(rng.integers(256))
        (files / "a.npz").write_bytes(bytes(b))
        with contextlib.suppress(TpuforgeError):
            read(files / "a.mlir")
