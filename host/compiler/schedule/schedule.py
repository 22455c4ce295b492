"""schedule(graph, backend) -> Program."""

from __future__ import annotations

from ..errors import InternalError
from ..ir import Graph
from .layers import build_layers
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
    memory = LocalMemory(backend.local_bytes)
    todo, plans, steps = search.run()[::-1], [], []
    while todo:
        plan = todo.pop()
        placed = _place(plan, len(plans), len(steps), memory, search, backend)
        if placed is None:  # give up the group: its layers one by one
            todo += [search.alone(layer) for layer in reversed(plan.layers)]
            continue
        plans.append(placed[0])
        steps += placed[1]
    actions = serialise(steps)
    return Program(layers, steps, actions, [p.layers for p in plans], plans)


def _place(plan: Plan, g: int, start: int, memory: LocalMemory, search: Search,
           backend: Backend) -> tuple[Plan, list[Step]] | None:  # fmt: skip
    """The steps of a group with addresses; if its memory is too fragmented, a plan that needs less is taken."""
    if plan.is_nothing:
        return plan, []
    limit = search.limit
    for _ in range(12):
        steps = _steps(plan, g, start, memory, backend)
        if steps is not None:
            return plan, steps
        limit *= 0.9
        smaller = search.plan(plan.layers, limit)
        if smaller is None:
            break
        plan = smaller
    if len(plan.layers) > 1:
        return None
    steps = _steps(plan, g, start, memory, backend, tight=True)
    if steps is not None:
        return plan, steps
    raise InternalError(f"layer {plan.layers[0].name}: no place in local memory for a plan that fits by size")


def _steps(plan: Plan, g: int, start: int, memory: LocalMemory, backend: Backend, tight: bool = False) -> list[Step] | None:
    """The steps of a plan with addresses; None if a buffer finds no place."""
    steps = StepBuilder(plan, backend, g).build()
    shift(steps, start)
    try:
        place_group(memory, steps, start, tight)
    except NoSpaceError:
        return None
    return steps


def shift(steps: list[Step], start: int) -> None:
    """Number the steps of a group from `start` on."""
    for b in step_buffers(steps):
        b.first += start
        b.last += start
