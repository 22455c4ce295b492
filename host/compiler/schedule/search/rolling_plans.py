"""Plans of a group that keep rows (rolling.py)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from ..layers import Layer
from ..plan import Plan
from ..steps.rolling import rolls
from .equal import group_key, transfer
from .quick import Quick
from .search import STREAMS, Search, cheapest, heights

EVALUATED = 2  # of each kind
MORE = 3  # tilings looked at from the fewest tiles on that can fit
Found = tuple[float, Callable[[], Plan]]  # cycles at a glance, plan maker


def rolled(search: Search, group: list[Layer], most: float, limit: float) -> Plan | None:
    """The cheapest plan that keeps rows and costs less than `most`, if one seems to."""
    if not rolls(group):
        return None
    key = (*group_key(group), limit)
    bound, found = search.kept.get(key, (0.0, None))
    if bound < most:
        quick = search.findings.quick(group)
        found = cheapest(
            search.evaluate(plan(), limit)
            for some in (tilings(search, quick, limit), bottlenecks(search, quick, limit))
            for plan in best(some, most)
        )
        search.kept[key] = most, found
    if found is None or found.cycles >= most:
        return None
    return transfer(found, group)


def best(found: Iterable[Found], most: float) -> list[Callable[[], Plan]]:
    """Those that look best, and as if they cost less than `most`."""
    chosen = sorted(found, key=lambda x: x[0])[:EVALUATED]
    return [plan for cycles, plan in chosen if cycles < most]


def tilings(search: Search, quick: Quick, limit: float) -> Iterator[Found]:
    """The fewest tiles along h that can fit, and some more."""
    batch = quick.sinks[0].shape[0]
    options = heights(min(t.shape[2] for t in quick.sinks))[1:]

    def fits(th: int) -> bool:
        return quick.look((batch, th, 1), 0, 1, False, 2048, True).peak <= limit

    begin = bisect_left(options, True, key=fits)
    for th in options[begin : begin + MORE]:
        tiles = (batch, th, 1)
        for stream in STREAMS:
            g = quick.look(tiles, 0, 1, False, stream, True)
            if g.peak <= limit and not (stream and max(quick.blobs) <= stream):
                yield (
                    g.cycles(search.price),
                    partial(search.make, quick.layers, tiles, 0, False, stream, True),
                )


def bottlenecks(search: Search, quick: Quick, limit: float) -> Iterator[Found]:
    """Tiles along h, in each of which one layer sums up over parts of the channels."""
    k = search.summing(quick.layers)
    if k >= 0 and all(layer.window.extent[0] == 1 for layer in quick.layers[k + 1 :]):
        for g, tiles, part in search.sums_glances(quick, k, limit, True):
            yield (
                g.cycles(search.price),
                partial(search.make_sums, quick.layers, quick, k, tiles, part, True),
            )
