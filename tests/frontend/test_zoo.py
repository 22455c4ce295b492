"""The zoo networks: same numbers as onnxruntime on the original, same tensor names as the vendor's
tables.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from frontend.models import onnx_run, random_inputs
from tpuforge.compiler.frontend import transform_graph
from tpuforge.compiler.frontend.onnx import load
from tpuforge.compiler.ir.text import read
from tpuforge.compiler.passes.merge_pointwise import merge_missing
from tpuforge.compiler.top.reference import run

TINY = ["tiny_resnet", "tiny_mobilenet"]
LARGE = [
    "squeezenet1_1",
    "mobilenet_v1",
    "mobilenet_v2",
    "efficientnet_lite0",
    "resnet18",
    "googlenet",
    "resnet50",
    "vgg16",
]
WITH_TABLE = [n for n in LARGE if n not in ("mobilenet_v1", "resnet50", "vgg16")]
ALL = [*TINY, *(pytest.param(n, marks=pytest.mark.model) for n in LARGE)]
TABLES = [*TINY, *(pytest.param(n, marks=pytest.mark.model) for n in WITH_TABLE)]


def table_names(vendor_dir: Path, name: str) -> list[str]:
    lines = (vendor_dir / f"{name}_cali_table").read_text().splitlines()
    return [line.split()[0] for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("name", ALL)
def test_numbers(zoo, name):
    path = zoo(name)
    graph = transform_graph(path)
    x = random_inputs(graph)
    (expected,) = onnx_run(str(path), x)
    (got,) = run(graph, x).values()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", TABLES)
def test_names(zoo, vendor_dir, name):
    """Every tensor of the vendor's table is in our graph. What the vendor merged (two 1x1
    convolutions) is all that we have more."""
    graph = transform_graph(zoo(name))
    table = table_names(vendor_dir, name)
    ours = [v.name for v in graph.values()]
    assert set(table) <= set(ours)
    merge_missing(graph, table)
    graph.verify()
    assert [v.name for v in graph.values()] == table


@pytest.mark.parametrize("name", ["tiny_mobilenet"])
def test_merged_numbers(zoo, vendor_dir, name):
    path = zoo(name)
    graph = transform_graph(path)
    merge_missing(graph, table_names(vendor_dir, name))
    x = random_inputs(graph)
    (expected,) = onnx_run(str(path), x)
    (got,) = run(graph, x).values()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("batch", [2, 4])
@pytest.mark.parametrize("name", TINY)
def test_batch(zoo, name, batch):
    graph = transform_graph(zoo(name))
    shape = graph.inputs[0].shape
    wide = transform_graph(zoo(name), input_shapes=[[batch, *shape[1:]]])
    x = random_inputs(wide)
    (got,) = run(wide, x).values()
    rows = [run(graph, {"input": x["input"][i : i + 1]}) for i in range(batch)]
    np.testing.assert_allclose(
        got, np.concatenate([next(iter(r.values())) for r in rows]), rtol=1e-4, atol=1e-4
    )


def test_vendor_mlir_says_the_same(zoo, vendor_dir):
    """tiny_resnet through our front end equals the vendor's Top file op by op."""
    ours, theirs = transform_graph(zoo("tiny_resnet")), read(vendor_dir / "tiny_resnet.mlir")
    assert [o.name for o in ours.ops] == [o.name for o in theirs.ops]
    for a, b in zip(ours.ops[1:], theirs.ops[1:], strict=True):
        assert type(a) is type(b) and a.attrs == b.attrs
        assert [v.name for v in a.inputs()] == [v.name for v in b.inputs()]
        for v, w in zip(a.operands[1:], b.operands[1:], strict=True):
            if v.is_const:
                np.testing.assert_array_equal(v.array, w.array)


@pytest.mark.model
@pytest.mark.parametrize("name", ["mobilenet_v2", "tiny_resnet"])
def test_stored_float_outputs(zoo, vendor_dir, name):
    """The stored float output of the zoo, from our graph and from the vendor's file."""
    x = {"input": np.load(vendor_dir / f"{name}_in.npz")["input"]}
    expected = np.load(vendor_dir / f"{name}_float.npz")["output"]
    for graph in transform_graph(zoo(name)), read(vendor_dir / f"{name}.mlir"):
        (got,) = run(graph, x).values()
        np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


def test_everything_is_fused(zoo):
    graph = transform_graph(zoo("tiny_mobilenet"))
    kinds = {type(o).__name__ for o in graph.ops}
    assert kinds == {"Input", "Conv", "Add", "AvgPool", "Reshape", "MatMul"}
    assert len(load(zoo("tiny_mobilenet")).ops) > len(graph.ops)
