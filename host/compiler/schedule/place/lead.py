"""When each load should be issued: as late as it still arrives in time.

Going backwards through all steps: the loads of step k must have arrived when computation k begins;
the TDMA does one thing at a time and in order, so a load must begin before the loads and stores
that follow it. Times are those of the computations back to back. A load is wanted in the slot whose
computation begins a margin before that moment: not earlier, because everything issued earlier keeps
stores and more urgent loads waiting.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from ..program import Backend, Step
from ..times import step_times
from .timeline import action_times

MARGIN = 1.5  # times the load's own duration ...
MARGIN_CYCLES = 1500.0  # ... and this many cycles
LONGEST_DRAIN = 8


def set_lead(steps: list[Step], backend: Backend, exact: bool = False) -> dict[int, float]:
    """Set `lead` of every loaded buffer (how many steps before its use it should be issued) and
    `drain` of every stored one.
    exact: constants take the time they do as they are stored; else that of plain bytes, so that
    they come earlier. Result: the exact cycles of every action by its id()."""
    exact_times = step_times(steps, backend, set(), exact=True)
    compute, loads, stores = exact_times if exact else step_times(steps, backend, set())
    begin = [0.0]
    for c in compute:
        begin.append(begin[-1] + c)
    for k, s in enumerate(steps):
        done = begin[k + 1] + 1.2 * sum(stores[k])
        for store in s.stores:
            store.tile.buffer.drain = max(1, min(LONGEST_DRAIN, bisect_left(begin, done) - k - 1))
    free = begin[-1]  # the TDMA must be free from here on for what comes later
    for k in range(len(steps) - 1, -1, -1):
        for time in stores[k]:
            free = min(free, begin[-1]) - time
        for load, (_, time) in zip(reversed(steps[k].loads), reversed(loads[k]), strict=True):
            free = min(free, begin[k]) - time
            moment = free - MARGIN * time - MARGIN_CYCLES
            slot = bisect_right(begin, moment) - 1
            load.buffer.lead = k - min(k, max(0, slot))
    return action_times(steps, *exact_times)
