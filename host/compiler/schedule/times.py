"""How long the engines take for the parts of steps."""

from __future__ import annotations

from .program import Backend, Buffer, Load, Region, Step, Tile, WeightSlice


def listed(step: Step, constants: set[Buffer]) -> list[Load]:
    """The loads of a step that `step_times` lists."""
    if not constants:
        return step.loads
    return [load for load in step.loads if load.buffer not in constants]


def step_times(
    steps: list[Step], backend: Backend, constants: set[Buffer], exact: bool = False
) -> tuple[list[float], list, list]:
    """Cycles of every step: computation; (bytes, cycles) of its loads; cycles of its stores.
    exact: constants as they are stored, not as plain bytes."""
    compute, loads, stores = [], [], []
    for s in steps:
        c = s.compute
        compute.append(
            0.0
            if c is None
            else backend.compute_cycles(
                c.kind, c.layer, c.out_region.shape, c.ins[0][1].shape[1], c.partial != "only"
            )
        )
        row = []
        for load in listed(s, constants):
            if load.weights is not None:
                row.append((load.buffer.size, constant_cycles(backend, load.weights, exact)))
            elif load.tile is not None and load.source is not None:
                size = 0 if load.buffer.loaded and row else load.buffer.size
                row.append((size, copying_cycles(backend, load.tile, load.part)))
            elif load.tile is not None:
                row.append((load.buffer.size, moving_cycles(backend, load.tile, load.part, False)))
        loads.append(row)
        stores.append(
            [
                moving_cycles(backend, x.tile, x.region, True)
                if x.into is None
                else copying_cycles(backend, x.tile, x.region)
                for x in s.stores
            ]
        )
    return compute, loads, stores


def constant_cycles(backend: Backend, piece: WeightSlice, exact: bool) -> float:
    """Time of loading a slice of constants; a matrix may leave lanes empty."""
    size = piece.size
    if piece.layer.kind == "fc":
        elements = (piece.ic[1] - piece.ic[0]) * (piece.oc[1] - piece.oc[0])
        size = -(-elements // backend.lanes)
    return backend.constant_cycles(piece.layer, size) if exact else backend.weight_cycles(size)


def moving_cycles(backend: Backend, tile: Tile, region: Region, store: bool) -> float:
    """Time of moving a region between a tile and DDR."""
    if tile.width:
        return backend.matrix_cycles(region.shape)
    return backend.transfer_cycles(region.shape, tile.tensor, store)


def copying_cycles(backend: Backend, tile: Tile, region: Region) -> float:
    """Time of moving a region from tile to tile."""
    return backend.copy_cycles(region.shape, tile.itemsize)
