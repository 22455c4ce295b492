"""Loads in pieces: a large tile arrives as its parts are stored and as its place becomes free.

The load of a large tile would have to wait for the last store of its tensor, and until all of its
place is free. Cut into pieces, all but the last are loaded while earlier steps still compute. What
is loaded in the same slot after all is joined again.
"""

from __future__ import annotations

from ..plan import channel_slices
from ..program import Backend, Load, Step
from ..times import moving_cycles

MOST = 8  # pieces of a load
PIECE_CYCLES = 1000.0  # a piece takes at least so long
MORE = 1.25  # times as long as the whole, all pieces together


def cut_loads(steps: list[Step], backend: Backend, times: dict[int, float]) -> None:
    """Cut the large loads of `steps`; `times` (cycles of every action by its id()) gets the
    pieces."""
    for s in steps:
        loads = []
        for load in s.loads:
            loads += _pieces(load, backend, times)
        s.loads = loads


def _pieces(load: Load, backend: Backend, times: dict[int, float]) -> list[Load]:
    tile = load.tile
    if (
        tile is None
        or load.region is not None
        or tile.width
        or tile.itemsize > 1
        or tile.region.shape[0] > 1
    ):
        return [load]
    whole, r = times[id(load)], tile.region
    count = min(MOST, int(whole / PIECE_CYCLES))
    if count < 2:
        return [load]
    cuts = channel_slices(r.c[1] - r.c[0], backend.lanes, count)
    pieces = [
        Load(load.buffer, tile, region=r._replace(c=(r.c[0] + a, r.c[0] + b))) for a, b in cuts
    ]
    spent = [moving_cycles(backend, tile, x.part, False) for x in pieces]
    if len(pieces) < 2 or sum(spent) > MORE * whole:
        return [load]
    for piece, time in zip(pieces, spent, strict=True):
        times[id(piece)] = time
    return pieces


def join_loads(steps: list[Step], backend: Backend, times: dict[int, float]) -> None:
    """Join neighbouring pieces that are issued in the same slot; `times` gets the new loads."""
    for s in steps:
        loads: list[Load] = []
        for load in s.loads:
            last = loads[-1] if loads else None
            if (
                last is not None
                and last.buffer is load.buffer
                and last.slot == load.slot
                and last.part.c[1] == load.part.c[0]
            ):
                assert last.tile is not None
                region = last.part._replace(c=(last.part.c[0], load.part.c[1]))
                load = Load(
                    last.buffer,
                    last.tile,
                    region=None if region == last.tile.region else region,
                    ready=max(last.ready, load.ready),
                    free=max(last.free, load.free),
                )
                times[id(load)] = moving_cycles(backend, last.tile, region, False)
                loads.pop()
            loads.append(load)
        s.loads = loads
