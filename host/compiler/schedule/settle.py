"""Plans -> places: groups are built and placed one after the other.

A schedule is found by settling many plans that differ from each other in a few groups; what was
found out about a group once is used again (situation.py).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

from ..errors import InternalError
from .layers import Layer, Tensor
from .place.carry import Carry, find_carries
from .place.lead import set_lead
from .place.local import LocalMemory, NoSpaceError, place_group, serialise
from .place.pieces import cut_loads, join_loads
from .place.situation import LOOKAHEAD, Group, Known
from .place.timeline import Timeline
from .plan import Plan
from .program import Action, Backend, Step, step_buffers
from .search.rolling_plans import rolled
from .search.search import Search
from .steps.builder import StepBuilder

MAX_TRIES = 100
MOST_CARRIED = 2  # tiles of a tensor that live on for a group that keeps rows
SLOWER = 1.06  # times what a plan with kept rows promised: what it may cost with less memory


@dataclass
class Settled:
    """Plans whose buffers have places: steps and time of every group, tensors that never leave
    local memory. price: of a cycle of transfers to and from DDR; exact: see set_lead; cycles: of
    every action by its id()."""

    backend: Backend
    price: float
    exact: bool
    cycles: dict[int, float]
    plans: list[Plan] = field(default_factory=list)
    groups: list[list[Step]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    local: set[Tensor] = field(default_factory=set)

    @property
    def count(self) -> int:
        """Number of steps."""
        return sum(map(len, self.groups))

    @cached_property
    def actions(self) -> list[Action]:
        return serialise([s for g in self.groups for s in g], self.backend.lanes)

    @cached_property
    def time(self) -> float:
        """Cycles of the whole."""
        return Timeline(self.cycles, self.backend.lanes).end(self.actions)

    @cached_property
    def moved(self) -> float:
        """Cycles of the transfers to and from DDR."""
        return sum(self.moved_by)

    @cached_property
    def moved_by(self) -> list[float]:
        """The same of every group."""
        far = ((x for s in group for x in s.transfers if x.far) for group in self.groups)
        return [sum(self.cycles[id(x)] for x in some) for some in far]

    @property
    def score(self) -> float:
        """Cycles of the whole with the price of its transfers."""
        return self.time + self.price * self.moved

    def next_group(self, plan: Plan, steps: list[Step], start: int) -> Group:
        """The group that follows these, from step number `start` on."""
        before: list[Step] = []
        plans = [plan]
        for p, group in zip(reversed(self.plans), reversed(self.groups), strict=True):
            if len(before) >= LOOKAHEAD:
                break
            before, plans = group[-LOOKAHEAD:] + before, [p, *plans]
        return Group(tuple(plans), steps, start, before[-LOOKAHEAD:])


class Settler:
    """Gives the buffers of plans their places, for one search."""

    def __init__(self, search: Search):
        self.search, self.backend = search, search.backend
        self.known: dict[tuple, Known | None] = {}

    def build(self, plan: Plan) -> list[Step]:
        """The steps of a plan, numbered from 0."""
        return build(plan, self.backend)

    def settle(self, plans: list[Plan], exact: bool = False) -> Settled:
        """Give every buffer a place, group by group; groups for which there is none are planned
        again with less memory. exact: see set_lead."""
        backend = self.backend
        limits: dict[Layer, float] = {}
        memory, start = LocalMemory(backend.local_bytes, backend.lanes), 0
        carried: list[Carry] = []
        todo = [(p, self.build(p)) for p in plans]
        times = set_lead([s for _, steps in todo for s in steps], backend, exact)
        done = Settled(backend, self.search.price, exact, times)
        todo.reverse()
        for _ in range(len(plans) + MAX_TRIES):
            if not todo:
                return done
            plan, steps = todo.pop()
            for b in step_buffers(steps):
                b.move(start)
            cut_loads(steps, backend, times)
            further = carries(plan, steps, todo)
            group = done.next_group(plan, steps, start)
            time = self.place(memory, group, times, carried, further)
            if time is None:
                others = [(p, self.build(p)) for p in smaller(plan, self.search, limits)]
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

    def score(self, plans: list[Plan]) -> float:
        """That of the settled plans."""
        return self.settle(plans).score

    def place(
        self,
        memory: LocalMemory,
        group: Group,
        times: dict[int, float],
        carried: list[Carry],
        further: list[Carry],
    ) -> float | None:
        """place_group with tiles carried in and out; they are given up where there is no room (the
        lists are emptied then). None: there is no place without them."""
        for c in further:
            c.apply(group.steps, group.start + len(group.steps), memory)
        for attempt, given_up in enumerate(([], further, carried)):
            if attempt and not given_up:
                continue
            for c in reversed(given_up):
                c.undo(memory, group.start if given_up is carried else 0)
            given_up.clear()
            try:
                return place_group(memory, group, times, self.known)
            except NoSpaceError:
                pass
        return None


def build(plan: Plan, backend: Backend) -> list[Step]:
    """The steps of a plan, numbered from 0."""
    return [] if plan.is_nothing else StepBuilder(plan, backend).build()


def carries(plan: Plan, steps: list[Step], todo: list[tuple[Plan, list[Step]]]) -> list[Carry]:
    """What may stay in local memory for the next group that does something."""
    following = next(((p, s) for p, s in reversed(todo) if not p.is_nothing), None)
    if plan.is_nothing or following is None:
        return []
    found = find_carries(steps, plan.layers, following[1], following[0].layers)
    if following[0].rolling:  # its tiles may be those of this group: they would fill the memory
        counts = Counter(c.tile.tensor for c in found)
        found = [c for c in found if counts[c.tile.tensor] <= MOST_CARRIED]
    return found


def smaller(plan: Plan, search: Search, limits: dict[Layer, float]) -> list[Plan]:
    """Plans for the layers of a group whose memory is too fragmented, with less memory than it
    took."""
    first = plan.layers[0]
    limit = min(limits.get(first, search.limit), plan.estimate.peak * 1.02) * 0.95
    for layer in plan.layers:
        limits[layer] = limit
    if limit < search.limit / 4:
        raise InternalError(
            f"layer {first.name}: no place in local memory for a plan that fits by size"
        )
    kept = rolled(search, plan.layers, SLOWER * plan.cycles, limit) if plan.rolling else None
    return [kept] if kept else search.cover(plan.layers, limit)
