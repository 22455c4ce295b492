#!/usr/bin/env python3
"""CPU time to print and to read a module of 1,000 operations (limit: 100 ms each).

usage: ir_text.py [--count N] [--json FILE]

The module is a chain of convolutions (each with filter and bias) with an addition at every fifth
place; besides its operations it has the lines of its constants. Best of seven runs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tpuforge.compiler import top
from tpuforge.compiler.ir import Graph, TensorType
from tpuforge.compiler.ir.text import parse, to_text


def chain(count: int) -> Graph:
    g = Graph("chain", state="TOP_F32")
    x = g.add(top.Input, [], "input", types=[TensorType((1, 8, 8, 8))])
    w, b = np.zeros((8, 8, 3, 3), np.float32), np.zeros(8, np.float32)
    for i in range(1, count):
        if i % 5 == 4:
            x = g.add(top.Add, [x, x], f"add_{i}_Add", do_relu=True)
            continue
        consts = [g.const(f"conv_{i}.weight", w), g.const(f"conv_{i}.bias", b)]
        attrs = dict(kernel_shape=(3, 3), pads=(1, 1, 1, 1), do_relu=True)
        x = g.add(top.Conv, [x, *consts], f"relu_{i}_Relu", **attrs)
    g.outputs = [x]
    return g


def best(f: Callable[[], Any], runs: int = 7) -> float:
    """Least CPU time of the runs, in milliseconds."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        f()
        times.append(time.process_time() - start)
    return min(times) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="operations (default 1000)")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    graph = chain(options.count)
    weights = {v.name: v.array for v in graph.consts()}
    text = to_text(graph)
    figures = {
        "operations": len(graph.ops),
        "lines": text.count("\n"),
        "kilobytes": round(len(text) / 1e3, 1),
        "print_ms": round(best(lambda: to_text(graph)), 1),
        "parse_ms": round(best(lambda: parse(text, weights)), 1),
        "limit_ms": options.count / 10,
    }
    print("  ".join(f"{k} {v}" for k, v in figures.items()))
    if options.json:
        with open(options.json, "w") as f:
            json.dump(figures, f, indent=1)


if __name__ == "__main__":
    main()
