"""Slices of constants of which two find room: while one is used, the next arrives.

The search does not know what a group takes over from its neighbours in local memory (carry.py) nor
how memory is fragmented, so a streamed slice may leave no place for the next. Then the TIU waits
for every slice. Cut finer, two of them fit; each costs a command more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .layers import Layer
from .place.carry import Carry
from .plan import Plan, WeightUse, channel_slices
from .program import Backend, Step
from .search.cost import live_bytes

SHARE = 0.4


def fitted(
    plan: Plan, steps: list[Step], taken: Iterable[Carry], kept: Iterable[Carry], backend: Backend
) -> Plan:
    """The plan with finer slices where two do not fit. steps: those of the plan, from 0 on; taken,
    kept: the tiles that come from the group before and stay for the next."""
    if plan.channels or plan.ic_slices or not plan.weights:
        return plan
    live = _live(steps, taken, kept)
    weights = dict(plan.weights)
    for layer, use in plan.weights.items():
        step = backend.channel_step(layer)
        if use.resident or not step or layer.kind != "conv":
            continue
        most = _room(layer, steps, live, backend) * SHARE
        channels, inner = layer.output.shape[1], layer.inputs[0].shape[1]
        length = max(b - a for a, b in use.slices)
        while length > step and backend.weight_bytes(layer, length, inner) > most:
            length -= step
        if length < max(b - a for a, b in use.slices):
            weights[layer] = WeightUse(
                channel_slices(channels, step, -(-channels // length)), False
            )
    return plan if weights == plan.weights else replace(plan, weights=weights)


def _live(steps: list[Step], taken: Iterable[Carry], kept: Iterable[Carry]) -> list[int]:
    """Bytes in use in every step."""
    live = live_bytes(steps, set())
    spans = [(c.own.size, 0, c.own.first) for c in taken]
    spans += [(c.source.buffer.size, c.source.buffer.last + 1, len(steps)) for c in kept]
    for size, first, end in spans:
        for t in range(first, end):
            live[t] += size
    return live


def _room(layer: Layer, steps: list[Step], live: list[int], backend: Backend) -> int:
    """Bytes that are free for the constants of a layer while it computes."""
    used = 0
    for t, s in enumerate(steps):
        c = s.compute
        if c is not None and c.layer is layer and c.weight_buffer is not None:
            used = max(used, live[t] - c.weight_buffer.size)
    return backend.local_bytes - used
