"""A foreign MLIR parser understands what we print."""

from __future__ import annotations

import pytest
from ir.nets import chain, odd
from tpuforge.compiler.frontend import transform_graph
from tpuforge.compiler.ir.text import to_text

context = pytest.importorskip("xdsl.context")


def parse(text: str):
    from xdsl.dialects.builtin import Builtin
    from xdsl.dialects.func import Func
    from xdsl.parser import Parser

    c = context.Context(allow_unregistered=True)
    c.load_dialect(Builtin)
    c.load_dialect(Func)
    module = Parser(c, text).parse_module()
    module.verify()
    return module


def counts(text: str) -> tuple[int, int]:
    """(operations in the function without weights and none, results)."""
    ops = list(parse(text).ops.first.body.block.ops)[:-1]
    names = [
        o.attributes["op_name__"].data if "op_name__" in o.attributes else o.op_name.data
        for o in ops
    ]
    real = [o for o, n in zip(ops, names, strict=True) if n not in ("top.Weight", "top.None")]
    return len(real), sum(len(o.results) for o in real)


@pytest.mark.parametrize("graph", [chain(12), odd()], ids=["chain", "odd"])
def test_print(graph):
    assert counts(to_text(graph)) == (len(graph.ops), len(graph.values()))


@pytest.mark.parametrize("name", ["tiny_resnet", "tiny_mobilenet"])
def test_networks(zoo, name):
    graph = transform_graph(zoo(name))
    assert counts(to_text(graph)) == (len(graph.ops), len(graph.ops))
