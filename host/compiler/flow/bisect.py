"""Which layer of a compiled file is wrong first: prefixes of the quantised graph, compiled and run
alone."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..chip import Chip
from ..errors import TpuforgeError
from ..ir import Graph
from ..ir.text import parse, to_text
from ..ir.text_print import const_names
from .simulator import simulate


def first_wrong_layer(
    graph: Graph, chip: Chip, opt: int, inputs: Mapping[str, np.ndarray]
) -> str | None:
    """Name of the first layer, in the order of computation, whose bytes on the simulator differ.

    A layer counts as right when the network that ends with it gives the bytes of the interpreter.
    Found by bisection (a wrong layer makes what follows wrong too); None when no prefix shows the
    fault. inputs: native types.
    """
    from ..tpu.interpreter import run

    expected = run(graph, inputs, keep="all")
    names = [op.name for op in graph.ops if type(op).__name__ not in ("Input", "Quantize")]

    def right(name: str) -> bool:
        try:
            got = _run_prefix(graph, name, chip, opt, inputs)
        except TpuforgeError:  # such a prefix can not be compiled alone: it tells nothing
            return True
        return got is None or got.tobytes() == expected[name].tobytes()

    low, high = 0, len(names) - 1
    if not names or right(names[high]):
        return None
    while low < high:
        middle = (low + high) // 2
        if right(names[middle]):
            low = middle + 1
        else:
            high = middle
    return names[low]


def prefix(graph: Graph, name: str) -> Graph:
    """A copy of the graph that ends with the value `name`."""
    names = const_names(graph)
    weights = {names[id(v)]: v.data for v in graph.consts() if v.data is not None}
    copy = parse(to_text(graph, "weights.npz"), weights)
    copy.outputs = [v for v in copy.values() if v.name == name]
    for op in reversed(list(copy.ops)):
        unused = not any(r.uses or r in copy.outputs for r in op.results)
        if unused and type(op).__name__ not in ("Input", "InputOp"):
            copy.erase(op)
    return copy


def _run_prefix(
    graph: Graph, name: str, chip: Chip, opt: int, inputs: Mapping[str, np.ndarray]
) -> np.ndarray | None:
    from ..emit.cv18xx.compile import compile_graph
    from ..format import cvimodel

    part = prefix(graph, name)
    compiled = compile_graph(part, chip, opt=opt)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "prefix.cvimodel")
        cvimodel.save(compiled.model, path)
        shaped = {t.name: t.shape for t in compiled.model.programs[0].tensors}
        given = {n: x.reshape(shaped[n]) for n, x in inputs.items() if n in shaped}
        return simulate(path, given).get(name)
