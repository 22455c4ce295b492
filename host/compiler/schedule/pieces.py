"""Loads in pieces: what the group before stores part by part is loaded part by part.

The load of a large tile would have to wait for the last store of its tensor. Cut into pieces, all
but the last are loaded while the group before still computes, where memory allows.
"""

from __future__ import annotations

from .cost import moving_cycles
from .layers import Tensor
from .plan import channel_slices
from .program import Backend, Load, Region, Step, Store, Tile, feeds

MOST = 8  # pieces of a load
PIECE_CYCLES = 1000.0  # a piece takes at least so long
MORE = 1.25  # times as long as the whole, all pieces together


def cut_loads(
    before: list[Step], steps: list[Step], backend: Backend, times: dict[int, float]
) -> None:
    """Cut loads of `steps` that wait for several stores of the group before; `times` (cycles of
    every action by its id()) gets the pieces."""
    stores: dict[Tensor, list[Store]] = {}
    for s in before:
        for x in s.stores:
            stores.setdefault(x.tensor.root, []).append(x)
    for s in steps:
        loads = []
        for load in s.loads:
            pieces = [load]
            if load.tile is not None and load.region is None and not load.tile.width:
                near = stores.get(load.tile.tensor.root, [])
                pieces = _pieces(load, load.tile, near, backend, times)
            loads += pieces
        s.loads = loads


def _pieces(
    load: Load, tile: Tile, stores: list[Store], backend: Backend, times: dict[int, float]
) -> list[Load]:
    whole, r = times[id(load)], tile.region
    count = min(MOST, int(whole / PIECE_CYCLES))
    stores = [x for x in stores if feeds(x, tile.tensor, r)] if count > 1 else []
    if len(stores) < 2:
        return [load]
    cuts = channel_slices(r.c[1] - r.c[0], backend.lanes, count)
    regions = [Region(r.n, (r.c[0] + a, r.c[0] + b), r.h, r.w) for a, b in cuts]
    spent = [moving_cycles(backend, tile, part, False) for part in regions]
    waits = [[x for x in stores if feeds(x, tile.tensor, part)] for part in regions]
    if len(regions) < 2 or sum(spent) > MORE * whole or all(w == waits[0] for w in waits):
        return [load]
    pieces = [Load(load.buffer, tile, region=part) for part in regions]
    for piece, time in zip(pieces, spent, strict=True):
        times[id(piece)] = time
    return pieces
