"""What makes two groups equal: then they get the same plan."""

from __future__ import annotations

from dataclasses import replace

from ..layers import Layer
from ..plan import Plan, group_tensors


def group_key(group: list[Layer]) -> tuple:
    """The same for equal groups."""
    return tuple(signature(layer) for layer in group), links(group)


def signature(layer: Layer) -> tuple:
    """What the cost of a layer depends on."""
    op = layer.op
    return (
        layer.kind,
        tuple(x.shape for x in layer.inputs),
        tuple(x.itemsize for x in layer.inputs),
        layer.output.shape,
        layer.output.itemsize,
        layer.window,
        layer.groups,
        len(op.operands) > 2 and op.operands[2] is None,
        len(op.attrs.get("multipliers", ())),
    )


def links(group: list[Layer]) -> tuple:
    """How the layers of a group are connected, and which results leave it."""
    number = {layer.output: i for i, layer in enumerate(group)}
    sources, sinks = group_tensors(group)
    ids = {t: -1 - i for i, t in enumerate(sources)}
    return (
        tuple(tuple(number.get(x, ids.get(x)) for x in layer.inputs) for layer in group),
        tuple(number[t] for t in sinks),
    )


def transfer(plan: Plan, group: list[Layer]) -> Plan:
    """The same plan for another group of equal signature."""
    if plan.layers == group:
        return plan
    to = dict(zip(plan.layers, group, strict=True))
    weights = {to[k]: v for k, v in plan.weights.items()}
    return replace(plan, layers=group, weights=weights)
