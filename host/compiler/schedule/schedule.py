"""schedule(graph, backend) -> Program."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InternalError
from ..ir import Graph
from .bands import first_in_bands
from .carry import Carry, find_carries
from .cost import BYTES_WEIGHT
from .layers import Layer, Tensor, build_layers
from .lead import set_lead
from .local import LOOKAHEAD, LocalMemory, NoSpaceError, place_group, serialise
from .pieces import cut_loads, join_loads
from .plan import Plan
from .program import Backend, Compute, Program, Step, step_buffers
from .search import Search
from .slices import fitted
from .steps import StepBuilder
from .tail import spread_tails
from .timeline import group_time


def schedule(graph: Graph, backend: Backend, opt: int = 2) -> Program:
    """Choose groups and tiles, place every buffer in local memory, order transfers and
    computations.

    opt 0: every layer alone; 1, 2, 3: larger groups are tried. Raises DoesNotFitError,
    UnsupportedError."""
    layers = build_layers(graph, backend.lanes)
    for layer in layers.layers:
        layer.window = backend.window(layer)
    search = Search(layers, backend, opt)
    plans = search.run()
    if opt > 1:
        plans = spread_tails(plans, search, lambda some: settle(some, search, backend).score)
    best = settle(plans, search, backend)
    if opt > 1 and sum(map(len, best.groups)) <= FEW_STEPS:
        best = min(best, settle(plans, search, backend, True), key=lambda s: s.score)
    many = sum(map(len, best.groups)) > MANY_STEPS
    best = best if many else finer(best, search, backend)
    for share in () if many and opt < 3 else ROUNDS[opt]:
        best = improve(best, search, backend, share)
    if opt > 1:
        plans = first_in_bands(
            best.plans, backend, lambda some: settle(some, search, backend).score
        )
        best = best if plans == best.plans else settle(plans, search, backend)
    steps = [s for group in best.groups for s in group]
    groups = [p.layers for p in best.plans]
    return Program(layers, steps, serialise(steps, backend.lanes), groups, best.plans, best.local)


MAX_TRIES = 100
FEW_STEPS = 600  # beyond, constants are always loaded as early as if they were not compressed
MANY_STEPS = 6000  # beyond, groups are not planned a second time
ROUNDS = {
    0: (),
    1: (),
    2: (0.85, 0.7),
    3: (0.9, 0.8, 0.7, 0.6),
}  # shares of the memory a slow group gets when tried again
SLOW = 1.06  # a group is slow if placement makes it take so many times what its plan promised


@dataclass
class Settled:
    """Plans whose buffers have places: steps and time of every group, tensors that never leave
    local memory. exact: see set_lead. score: time of the whole, and the price of its transfers."""

    plans: list[Plan]
    groups: list[list[Step]]
    times: list[float]
    local: set[Tensor]
    exact: bool
    score: float = 0.0


def settle(plans: list[Plan], search: Search, backend: Backend, exact: bool = False) -> Settled:
    """Give every buffer a place, group by group; groups for which there is none are planned again
    with less memory. exact: see set_lead."""
    limits: dict[Layer, float] = {}
    memory, start, done = (
        LocalMemory(backend.local_bytes, backend.lanes),
        0,
        Settled([], [], [], set(), exact),
    )
    carried: list[Carry] = []
    todo = [(p, build(p, backend)) for p in plans]
    times = set_lead([s for _, steps in todo for s in steps], backend, exact)
    todo.reverse()
    for _ in range(len(plans) + MAX_TRIES):
        if not todo:
            done.score = score([s for g in done.groups for s in g], times, backend)
            return done
        plan, steps = todo.pop()
        for b in step_buffers(steps):
            b.move(start)
        cut_loads(steps, backend, times)
        further = carries(plan, steps, todo)
        before = [s for g in done.groups[-LOOKAHEAD:] for s in g][-LOOKAHEAD:]
        time = place(memory, before, steps, start, times, carried, further)
        if time is None:
            others = [(p, build(p, backend)) for p in smaller(plan, search, limits)]
            todo += reversed(others)
            times |= set_lead([s for _, g in reversed(todo) for s in g], backend, exact)
            continue
        if not plan.is_nothing:
            done.local |= {c.tile.tensor for c in carried if c.stores}
            carried = further
        join_loads(steps, backend, times)
        start += len(steps)
        for s in steps:
            s.group = len(done.plans)
        done.plans.append(plan)
        done.groups.append(steps)
        done.times.append(time)
    raise InternalError("the buffers of the chosen groups find no place in local memory")


def score(steps: list[Step], times: dict[int, float], backend: Backend) -> float:
    """Cycles of placed steps with the price of their transfers."""
    actions = serialise(steps, backend.lanes)
    moved = sum(times[id(a)] for a in actions if not isinstance(a, Compute))
    return group_time(actions, times, backend.local_bytes, backend.lanes) + BYTES_WEIGHT * moved


def carries(plan: Plan, steps: list[Step], todo: list[tuple[Plan, list[Step]]]) -> list[Carry]:
    """What may stay in local memory for the next group that does something."""
    following = next(((p, s) for p, s in reversed(todo) if not p.is_nothing), None)
    if plan.is_nothing or following is None:
        return []
    return find_carries(steps, plan.layers, following[1], following[0].layers)


def place(
    memory: LocalMemory,
    before: list[Step],
    steps: list[Step],
    start: int,
    times: dict[int, float],
    carried: list[Carry],
    further: list[Carry],
) -> float | None:
    """place_group with tiles carried in and out; they are given up where there is no room (the
    lists are emptied then). None: there is no place without them."""
    for c in further:
        c.apply(steps, start + len(steps), memory)
    for attempt, given_up in enumerate(([], further, carried)):
        if attempt and not given_up:
            continue
        for c in reversed(given_up):
            c.undo(memory, start if given_up is carried else 0)
        given_up.clear()
        try:
            return place_group(memory, before, steps, start, times)
        except NoSpaceError:
            pass
    return None


def build(plan: Plan, backend: Backend) -> list[Step]:
    """The steps of a plan, numbered from 0."""
    return [] if plan.is_nothing else StepBuilder(plan, backend).build()


def finer(best: Settled, search: Search, backend: Backend) -> Settled:
    """Cut constants finer where two slices do not fit beside what neighbours hand over; keep what
    is faster."""
    todo = [(p, build(p, backend)) for p in best.plans]
    taken: list[Carry] = []
    others = []
    for k, (plan, steps) in enumerate(todo):
        if not plan.is_nothing:
            kept = carries(plan, steps, todo[:k:-1])
            plan = fitted(plan, steps, taken, kept, backend)
            taken = kept
        others.append([plan])
    return mixed(best, others, search, backend)


def improve(best: Settled, search: Search, backend: Backend, share: float) -> Settled:
    """Plan slow groups again with a share of the memory they took; keep what is faster."""
    others = []
    for p, t in zip(best.plans, best.times, strict=True):
        slow = not p.is_nothing and t > SLOW * p.cycles
        others.append(search.cover(p.layers, p.peak * share) if slow else [p])
    return mixed(best, others, search, backend)


def mixed(best: Settled, others: list[list[Plan]], search: Search, backend: Backend) -> Settled:
    """The plans of `best`, or for each the other plans of its layers where they take less time."""
    again = [o != [p] for p, o in zip(best.plans, others, strict=True)]
    if not any(again):
        return best
    tried = settle([p for group in others for p in group], search, backend, best.exact)
    cost: dict[Layer, float] = {}
    for p, t in zip(tried.plans, tried.times, strict=True):
        cost |= dict.fromkeys(p.layers, 0.0) | {p.layers[0]: t}
    chosen: list[Plan] = []
    for p, t, differs in zip(best.plans, best.times, again, strict=True):
        other = [q for q in tried.plans if q.layers[0] in set(p.layers)]
        better = differs and sum(cost[x] for x in p.layers) + SWITCH * (len(other) - 1) < 0.98 * t
        chosen += other if better else [p]
    if all(p is q for p, q in zip(chosen, best.plans, strict=False)):
        return best
    return min(best, settle(chosen, search, backend, best.exact), key=lambda s: s.score)


SWITCH = 15000.0  # cycles that a boundary between groups costs beyond what group_time sees


def smaller(plan: Plan, search: Search, limits: dict[Layer, float]) -> list[Plan]:
    """Plans for the layers of a group whose memory is too fragmented, with less memory than it
    took."""
    first = plan.layers[0]
    limit = min(limits.get(first, search.limit), plan.peak * 1.02) * 0.95
    for layer in plan.layers:
        limits[layer] = limit
    if limit < search.limit / 4:
        raise InternalError(
            f"layer {first.name}: no place in local memory for a plan that fits by size"
        )
    return search.cover(plan.layers, limit)
