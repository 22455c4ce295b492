"""Which tensor of the model a value equals, where its name does not say so.

The name of a value is <tensor>_<OpType> and it equals that tensor (cli.md section 3.4), except
where the vendor's names, which its tables use, are others: a BatchNorm folded into Conv `c` leaves
`c_Conv`, which equals the tensor behind the BatchNorm. Such values are listed in the attribute
`origins` of the graph, as pairs: value, tensor, value, tensor ...

Values that fusing takes away (the convolution before a relu) are listed in the attribute `fused`,
as pairs: value, the value it became part of, ... Calibration tables have lines for them too, so
that tools that fuse less find their tensors (cli.md section 15.1).
"""

from __future__ import annotations

from ..ir import Graph


def origins(graph: Graph) -> dict[str, str]:
    """Name of a value -> tensor of the original model, only for names that would mislead."""
    flat = graph.attrs.get("origins", ())
    return dict(zip(flat[::2], flat[1::2], strict=False))


def origin_of(graph: Graph, name: str) -> str:
    """The tensor that the value of that name equals; of an ONNX name its part before the last _."""
    known = origins(graph).get(name)
    return known or (name.rpartition("_")[0] if graph.attrs.get("platform") == "ONNX" else name)


def note_origin(graph: Graph, name: str, tensor: str) -> None:
    """The value `name` equals `tensor` of the model."""
    table = {**origins(graph), name: tensor}
    graph.attrs["origins"] = tuple(s for pair in table.items() for s in pair)


def forget_unused(graph: Graph) -> None:
    """Drop the entries of values that are no longer there."""
    names = {v.name for v in graph.values()}
    table = {n: t for n, t in origins(graph).items() if n in names}
    graph.attrs.pop("origins", None)
    if table:
        graph.attrs["origins"] = tuple(s for pair in table.items() for s in pair)


def readers(graph: Graph) -> dict[str, str]:
    """Name of every value that another reads -> result of its first reader."""
    found: dict[str, str] = {}
    for op in graph.ops:
        for v in op.operands:
            if v is not None and not v.is_const:
                found.setdefault(v.name, op.results[0].name)
    return found


def note_fused(graph: Graph, before: dict[str, str]) -> None:
    """before: `readers` of the graph before the passes. Sets the attribute `fused`."""
    left = {v.name for v in graph.values()}
    pairs: list[str] = []
    for name in before:
        end: str | None = name
        while end is not None and end not in left:
            end = before.get(end)
        if end is not None and end != name:
            pairs += [name, end]
    graph.attrs.pop("fused", None)
    if pairs:
        graph.attrs["fused"] = tuple(pairs)


def fused(graph: Graph) -> dict[str, str]:
    """Name of a value that is no longer there -> the value it became part of."""
    flat = graph.attrs.get("fused", ())
    return dict(zip(flat[::2], flat[1::2], strict=False))
