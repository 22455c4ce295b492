"""schedule(graph, backend) -> Program."""

from __future__ import annotations

from ..errors import InternalError
from ..ir import Graph
from .layers import Layer, build_layers
from .lead import set_wanted
from .local import LocalMemory, NoSpaceError, place_group, serialise, step_buffers
from .plan import Plan
from .program import Backend, Program, Step
from .search import Search
from .steps import StepBuilder


def schedule(graph: Graph, backend: Backend, opt: int = 2) -> Program:
    """Choose groups and tiles, place every buffer in local memory, order transfers and computations.

    opt 0: every layer alone; 1, 2, 3: larger groups are tried. Raises DoesNotFitError, UnsupportedError."""
    layers = build_layers(graph, backend.lanes)
    for layer in layers.layers:
        layer.window = backend.window(layer)
    search = Search(layers, backend, opt)
    plans = search.run()
    limits: dict[Layer, float] = {}
    for _ in range(MAX_ROUNDS):
        groups = [[] if p.is_nothing else StepBuilder(p, backend, g).build() for g, p in enumerate(plans)]
        failed = place(groups, backend)
        if failed is None:
            steps = [s for group in groups for s in group]
            return Program(layers, steps, serialise(steps), [p.layers for p in plans], plans)
        plans[failed : failed + 1] = smaller(plans[failed], search, limits)
    raise InternalError("the buffers of the chosen groups find no place in local memory")


MAX_ROUNDS = 100


def place(groups: list[list[Step]], backend: Backend) -> int | None:
    """Give addresses to the buffers of all groups; the number of the first group that finds no place, else None."""
    start = 0
    for steps in groups:
        for b in step_buffers(steps):
            b.move(start)
        start += len(steps)
    times = set_wanted([s for steps in groups for s in steps], backend)
    memory, start = LocalMemory(backend.local_bytes), 0
    for g, steps in enumerate(groups):
        try:
            place_group(memory, steps, start, times)
        except NoSpaceError:
            return g
        start += len(steps)
    return None


def smaller(plan: Plan, search: Search, limits: dict[Layer, float]) -> list[Plan]:
    """Plans for the layers of a group whose memory is too fragmented, with less memory than it took."""
    first = plan.layers[0]
    limit = min(limits.get(first, search.limit), plan.peak * 1.02) * 0.95
    for layer in plan.layers:
        limits[layer] = limit
    if limit < search.limit / 4:
        raise InternalError(f"layer {first.name}: no place in local memory for a plan that fits by size")
    return search.cover(plan.layers, limit)
