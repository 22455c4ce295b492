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
    layers = build_layers(graph)
    for layer in layers.layers:
        layer.window = backend.window(layer)
    search = Search(layers, backend, opt)
    plans, limits = search.run(), {}
    tight: set[Layer] = set()
    for _ in range(MAX_ROUNDS):
        groups = [[] if p.is_nothing else StepBuilder(p, backend, g).build() for g, p in enumerate(plans)]
        failed = place(groups, backend, {g for g, p in enumerate(plans) if p.layers[0] in tight})
        if failed is None:
            steps = [s for group in groups for s in group]
            return Program(layers, steps, serialise(steps), [p.layers for p in plans], plans)
        plans[failed : failed + 1] = smaller(plans[failed], search, limits, tight)
    raise InternalError("the buffers of the chosen groups find no place in local memory")


MAX_ROUNDS = 100


def place(groups: list[list[Step]], backend: Backend, tight: set[int]) -> int | None:
    """Give addresses to the buffers of all groups; the number of the first group that finds no place, else None.

    tight: numbers of the groups that need nearly all of the memory."""
    start = 0
    for steps in groups:
        for b in step_buffers(steps):
            b.first += start
            b.last += start
        start += len(steps)
    set_wanted([s for steps in groups for s in steps], backend)
    memory, start = LocalMemory(backend.local_bytes), 0
    for g, steps in enumerate(groups):
        try:
            place_group(memory, steps, start, g in tight)
        except NoSpaceError:
            return g
        start += len(steps)
    return None


def smaller(plan: Plan, search: Search, limits: dict[Layer, float], tight: set[Layer]) -> list[Plan]:
    """Plans for a group whose memory is too fragmented: one that needs less, else its layers one by one; a single layer
    becomes one of the `tight` ones."""
    first = plan.layers[0]
    limit = limits.get(first, min(search.limit, plan.peak * 1.02)) * 0.93
    limits[first] = limit
    again = search.plan(plan.layers, limit)
    if again is not None:
        return [again]
    if len(plan.layers) == 1 and first not in tight:
        tight.add(first)
        return [plan]
    if len(plan.layers) == 1:
        raise InternalError(f"layer {first.name}: no place in local memory for a plan that fits by size")
    for layer in plan.layers:
        limits.pop(layer, None)
    return [search.alone(layer) for layer in plan.layers]
