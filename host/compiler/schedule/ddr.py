"""Addresses of the activations in DDR: first fit over the life of every root tensor, counted in
groups."""

from __future__ import annotations

from .layers import Layer, Tensor
from .plan import group_tensors

ALIGN = 16


def allocate(groups: list[list[Layer]], elsewhere: set[Tensor]) -> tuple[dict[Tensor, int], int]:
    """(offset of every root tensor that groups exchange through DDR, bytes in total).

    elsewhere: roots that need no place here (graph inputs and outputs, what never leaves local
    memory)."""
    life: dict[Tensor, tuple[int, int]] = {}
    for g, layers in enumerate(groups):
        sources, sinks = group_tensors(layers)
        for t in (*sources, *sinks):
            root = t.root
            first, last = life.get(root, (g, g))
            life[root] = (min(first, g), max(last, g))
    placed: list[tuple[int, int, int, int]] = []
    offsets: dict[Tensor, int] = {}
    for root in sorted((t for t in life if t not in elsewhere), key=lambda t: (-t.nbytes, life[t])):
        first, last = life[root]
        size = -(-root.nbytes // ALIGN) * ALIGN
        offset = 0
        for a, e, f, z in sorted(placed):
            if f <= last and z >= first:
                if a - offset >= size:
                    break
                offset = max(offset, e)
        placed.append((offset, offset + size, first, last))
        offsets[root] = offset
    return offsets, max((e for _, e, _, _ in placed), default=0)
