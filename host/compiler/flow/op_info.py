"""The operations of a graph as `_op_info.csv` (cli.md section 3.3)."""

from __future__ import annotations

from ..ir import Graph


def op_info(graph: Graph) -> str:
    """Rows tensor, operation, quantisation, threshold (0: none), as `npz_tool compare --op_info`
    reads them."""
    rows = []
    for op in graph.ops:
        value = op.results[0]
        scale = value.type.scale
        kind, threshold = ("NONE", "0") if scale is None else ("INT8", f"{scale * 127:.7f}")
        rows.append(f"{value.name},{type(op).__name__},{kind},{threshold}\n")
    return "".join(rows)
