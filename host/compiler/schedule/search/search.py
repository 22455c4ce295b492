"""Which consecutive layers form a group (cover.py), and with which plan.

A group is tried with more and more tiles until it fits local memory, then with a few more.
Deterministic: the same graph gives the same plans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product

from ...errors import DoesNotFitError
from ..layers import Layer, LayerGraph, is_placed
from ..plan import Plan, WeightUse, channel_slices, channels_can_be_cut, summing_layer
from ..program import Backend
from .cover import GROUP_CYCLES, INFINITE, Groups
from .equal import group_key, transfer
from .findings import Findings
from .matrix_plans import matrix_plans
from .quick import Glance, Quick

MAX_GROUP = {0: 1, 1: 6, 2: 14, 3: 24}  # layers in a group, by optimisation level
SMALL = 24  # a network of at most so many layers may be one group (opt 2, 3)
TRIES = {0: 3, 1: 3, 2: 4, 3: 8}  # row tilings looked at beyond the smallest that fits
KEEP = {0: 3, 1: 3, 2: 4, 3: 12}  # plans of a group that are evaluated
SURE = 0.9  # of what a glance says a plan costs at least
SURE_SUMS = 0.6  # the same for bottlenecks
CUTS = (
    2,
    3,
    4,
    5,
    6,
    8,
    10,
    12,
    16,
    20,
    24,
    32,
    48,
    64,
    96,
    128,
    192,
    256,
    512,
)  # parts of output channels
STREAMS = (0, 3072, 8192)  # bytes of a slice of streamed constants; 0: they are resident, or whole


class Search:
    """Finds the plans of a layer graph for one backend. price: what a cycle of transfers to and
    from DDR costs (the first of the backend); findings: those of searches with another price."""

    def __init__(
        self,
        graph: LayerGraph,
        backend: Backend,
        opt: int = 2,
        price: float | None = None,
        findings: Findings | None = None,
    ):
        self.graph, self.backend, self.opt = graph, backend, opt
        self.price = backend.prices[0] if price is None else price
        self.findings = findings or Findings(backend)
        self.limit = float(backend.local_bytes)
        self.cache: dict[tuple, tuple[float, Plan | float | None]] = {}  # (bound, found)
        self.groups = Groups()  # of the whole graph
        self.kept: dict[tuple, tuple[float, Plan | None]] = {}  # (bound, plan that keeps rows)

    def run(self) -> list[Plan]:
        """The plans in execution order; they cover all layers."""
        for layer in self.graph.layers:
            self.backend.check(layer)
        self.groups = self.look_at(self.graph.layers, self.limit)
        return self.groups.cheapest()

    def cover(self, layers: list[Layer], limit: float | None = None) -> list[Plan]:
        """The cheapest plans that cover consecutive layers with at most `limit` bytes of local
        memory."""
        return self.look_at(layers, limit).cheapest()

    def look_at(self, layers: list[Layer], limit: float | None) -> Groups:
        """The cheapest plan of every group of consecutive layers that may pay."""
        groups = Groups()
        longest = MAX_GROUP[self.opt] if self.opt < 2 or len(layers) > SMALL else SMALL
        for j in range(1, len(layers) + 1):
            best, misses = None, 0
            for i in range(j - 1, max(-1, j - 1 - longest), -1):
                group = layers[i:j]
                if not self.legal(group):
                    continue
                most = INFINITE if best is None else best - groups.before[i] - GROUP_CYCLES
                plan = self.plan(group, limit, most)
                if plan is None:
                    misses += 1
                    if misses > 2 and j - i > 2:
                        break
                    continue
                if isinstance(plan, float):
                    groups.least[i, j] = plan
                    continue
                cost = groups.add(i, j, plan)
                best = cost if best is None else min(best, cost)
            if best is None:
                best = groups.add(j - 1, j, self.alone(layers[j - 1]))
            groups.before.append(best)
        return groups

    def alone(self, layer: Layer) -> Plan:
        """The plan of a layer for itself; DoesNotFitError if there is none."""
        plan = self.plan([layer])
        if not isinstance(plan, Plan):
            raise DoesNotFitError(
                f"layer {layer.name} ({layer.kind}, output {layer.output.shape}): its smallest "
                f"tile needs more than the {self.backend.local_bytes} bytes of local memory of a "
                "lane. Use a smaller input, cut the layer in the model (two poolings instead of a "
                "global one, fewer input channels), or a chip with more lanes"
            )
        return plan

    # ---- legality
    def inside(self, concat: Layer, group: list[Layer]) -> bool:
        """All inputs of a concat are computed in the group."""
        return all(x.producer in group for x in concat.inputs)

    def legal(self, group: list[Layer]) -> bool:
        """May these layers be one group?

        A reader of an alias or view can not share a group with the writer of the bytes: they meet
        in DDR. A concat whose inputs come from outside and lie in it already is no work, and its
        readers belong to later groups."""
        if len(group) == 1:
            return True
        members = set(group)
        roots = {layer.output for layer in group}
        batch = group[0].output.shape[0]
        for layer in group:
            if layer.output.shape[0] != batch or (layer.kind == "conv" and layer.groups > 1):
                return False
            if layer.kind == "fc" and (layer is not group[-1] or summing_layer(group) < 0):
                return False
            for x in layer.inputs:
                parent = x.parent
                while parent is not None:
                    if parent in roots and x.producer not in members:
                        return False
                    parent = parent.parent
                if (
                    x.parent is not None
                    and x.producer is None
                    and any(c.output.root is x.root for c in group if c is not layer)
                ):
                    return False
            if layer.kind == "concat" and not self.inside(layer, group):
                return False
        return True

    # ---- plans of one group
    def evaluate(self, plan: Plan, limit: float) -> Plan | None:
        """The plan with its cost; None if it needs more than `limit` bytes of local memory."""
        found = self.findings.estimate(plan, limit)
        if found is None:
            return None
        plan.estimate, plan.cycles = found, found.cycles(self.price)
        return plan

    def plan(
        self, group: list[Layer], limit: float | None = None, most: float = INFINITE
    ) -> Plan | float | None:
        """The cheapest plan found for a group; None if nothing fits. If none can cost less than
        `most`: what it costs at least."""
        limit = self.limit if limit is None else limit
        if len(group) == 1 and group[0].kind == "concat" and is_placed(group[0]):
            return Plan(group, tiles=(0, 0, 0))
        key = (*group_key(group), limit)
        bound, found = self.cache.get(key, (-1.0, None))
        if bound < most and not (isinstance(found, Plan) and found.cycles < bound):
            plans = [p for p in self.candidates(group, limit, most) if p is not None]
            found = cheapest(p for p in plans if isinstance(p, Plan))
            found = found or min((p for p in plans if isinstance(p, float)), default=None)
            self.cache[key] = most, found
        return transfer(found, group) if isinstance(found, Plan) else found

    def candidates(
        self, group: list[Layer], limit: float, most: float
    ) -> Iterator[Plan | float | None]:
        """The plans that look best, evaluated; partial sums where nothing else fits or reading
        again costs much. For those that can not cost less than `most`: what they cost at least."""
        if len(group) == 1 and group[0].kind == "concat":
            yield from self.moves(group, limit)
            return
        if group[0].kind == "fc":
            yield from matrix_plans(group[0], self.backend, limit, self.evaluate)
            return
        quick = self.findings.quick(group)
        if group[-1].kind == "fc":
            yield from self.bottlenecks(group, quick, len(group) - 1, limit)
            return
        looked = ((g.cycles(self.price), g, plan) for g, plan in self.glances(group, quick, limit))
        found = sorted(looked, key=lambda x: x[0])
        fit = False
        for cycles, glance, plan in found[: KEEP[self.opt]]:
            if fit and cycles > found[0][0] * 1.5:
                break
            if (least := SURE * glance.least(self.price)) >= most:
                fit = True
                yield least
                continue
            done = self.evaluate(plan(), limit)
            fit |= done is not None
            yield done
        if not fit:
            for *_, plan in found[KEEP[self.opt] :]:
                done = self.evaluate(plan(), limit)
                if done is not None:
                    fit = True
                    yield done
                    break
        if self.opt > 0 and (k := self.summing(group)) >= 0:
            yield from self.bottlenecks(group, quick, k, limit, most)
        if len(group) == 1 and group[0].kind == "conv" and self.backend.can_sum(group[0]):
            layer = group[0]
            heavy = quick.blobs[0] * self.backend.lanes > 8 * layer.inputs[0].nbytes or not fit
            if (
                heavy
                or layer.inputs[0].shape[1] * layer.window.kernel[0] * layer.window.kernel[1] > 2048
            ):
                yield from self.partial_sums(layer, limit)

    def summing(self, group: list[Layer]) -> int:
        """`summing_layer`, if the chip can sum up in it."""
        k = summing_layer(group)
        return k if k >= 0 and self.backend.can_sum(group[k]) else -1

    def bottlenecks(
        self, group: list[Layer], quick: Quick, k: int, limit: float, most: float = INFINITE
    ) -> Iterator[Plan | None]:
        """Plans in which layer k sums up over parts of the channels before it."""
        found = sorted(
            self.sums_glances(quick, k, limit, False),
            key=lambda x: (x[0].cycles(self.price), *x[1:]),
        )
        for glance, tiles, part in found[:3]:
            if SURE_SUMS * glance.least(self.price) < most:
                yield self.evaluate(self.make_sums(group, quick, k, tiles, part), limit)

    def make_sums(
        self,
        group: list[Layer],
        quick: Quick,
        k: int,
        tiles: tuple[int, int, int],
        part: int,
        rolling: bool = False,
    ) -> Plan:
        """The plan of a bottleneck with parts of so many channels."""
        inner = group[k].inputs[0].shape[1]
        resident = tiles != (1, 1, 1) and sum(quick.blobs) <= self.limit / 3
        uses = {
            layer: WeightUse([(0, layer.output.shape[1])], resident)
            for layer, size in zip(group, quick.blobs, strict=True)
            if size
        }
        cuts = [(a, min(a + part, inner)) for a in range(0, inner, part)]
        return Plan(group, tiles, uses, cuts, sums=k, rolling=rolling)

    def sums_glances(
        self, quick: Quick, k: int, limit: float, rolling: bool
    ) -> Iterator[tuple[Glance, tuple[int, int, int], int]]:
        """(glance, tiles, channels of a part) of bottlenecks that seem to fit."""
        inner = quick.layers[k].inputs[0].shape[1]
        units, batch = -(-inner // self.backend.lanes), quick.sinks[0].shape[0]
        most = 128 if quick.layers[k].kind == "fc" else 64
        options = heights(min(t.shape[2] for t in quick.sinks))[1 if rolling else 0 :]
        images = [batch] if rolling else sorted({1, batch})
        for cut in sorted({-(-units // c) for c in CUTS if c <= min(units, most)}, reverse=True):
            part, fits = cut * self.backend.lanes, 0
            if part % 2:
                continue
            for tiles in product(images, options, (1,)):
                g = quick.look_sums(tiles, k, part, rolling)
                if g.peak <= limit:
                    yield g, tiles, part
                    fits += 1
                if fits >= 2:
                    break

    def moves(self, concat: list[Layer], limit: float) -> Iterator[Plan | None]:
        """A lone concat passes through local memory in any number of channels: the first tilings
        that fit."""
        n, _, h, w = concat[0].output.shape
        fits = 0
        for tw in (1, 4, 16, 64, w):
            for tn, th in [(1, 1), *((n, th) for th in heights(h))]:
                plan = self.evaluate(Plan(concat, (tn, th, min(tw, w))), limit)
                fits += plan is not None
                yield plan
                if fits >= 3:
                    return

    def glances(
        self, group: list[Layer], quick: Quick, limit: float
    ) -> Iterator[tuple[Glance, Callable[[], Plan]]]:
        """(glance, plan maker) of the tilings that seem to fit."""
        channels = group[0].output.shape[1]
        step = self.backend.lanes
        units = -(-channels // step)
        cuts = [0]
        if channels_can_be_cut(group) and units > 1:
            cuts += sorted({-(-units // c) for c in CUTS if c <= units} | {1}, reverse=True)
        for cut in cuts:
            part = min(cut * step, channels) if cut else 0
            parts = -(-units // cut) if cut else 1
            if parts == 1 and cut:
                continue
            for tiles in self.tilings(quick, part):
                one = tiles == (1, 1, 1)
                for outer in (False,) if one or not part else (False, True):
                    for stream in (0,) if part else STREAMS:
                        g = quick.look(tiles, part, parts, outer, stream)
                        if g.peak > limit:
                            continue
                        if stream and max(quick.blobs) <= stream:
                            continue
                        yield g, partial(self.make, group, tiles, part, outer, stream)

    def tilings(self, quick: Quick, part: int) -> Iterator[tuple[int, int, int]]:
        """Tile counts: the smallest number of row tiles that can fit and a few more, for several
        numbers of columns."""
        batch = quick.sinks[0].shape[0]
        height = min(t.shape[2] for t in quick.sinks)
        width = min(t.shape[3] for t in quick.sinks)
        options = heights(height)
        for tw in [w for w in (1, 2, 4, 8, 16, 32, 64, 128) if w == 1 or width // w >= 4]:
            fits = 0
            for tn in sorted({1, batch}):
                for th in options:
                    if (tn < batch and th > 1) or (tw > 1 and height // th > 24):
                        continue
                    parts = -(-quick.sinks[0].shape[1] // part) if part else 1
                    if (
                        quick.look((tn, th, tw), part, parts, False, 2048 if not part else 0).peak
                        > self.limit
                    ):
                        continue
                    fits += 1
                    yield tn, th, tw
                    if fits >= TRIES[self.opt]:
                        break
                if fits >= TRIES[self.opt]:
                    break
            if fits and th <= height // 4:
                return

    def make(
        self,
        group: list[Layer],
        tiles: tuple[int, int, int],
        part: int,
        outer: bool,
        stream: int,
        rolling: bool = False,
    ) -> Plan:
        """The plan of a tiling: constants resident when they can be used again, streamed in slices
        otherwise."""
        many = tiles != (1, 1, 1)
        channels = group[0].output.shape[1]
        cuts = [(a, min(a + part, channels)) for a in range(0, channels, part)] if part else []
        uses = {}
        for layer in group:
            step = self.backend.channel_step(layer)
            oc, ic = layer.output.shape[1], layer.inputs[0].shape[1]
            size = self.backend.weight_bytes(layer, oc, ic)
            if size:
                count = 1 if not step or not stream else min(-(-size // stream), -(-oc // step))
                resident = outer if part else many and (not stream or size <= stream)
                uses[layer] = WeightUse(
                    channel_slices(oc, step or oc, 1 if resident else count), resident
                )
        return Plan(group, tiles, uses, cuts, outer, rolling=rolling)

    def partial_sums(self, layer: Layer, limit: float) -> Iterator[Plan | None]:
        """Slices of input channels with 32-bit partial sums: few slices, large tiles first."""
        oc, ic = layer.output.shape[1], layer.inputs[0].shape[1]
        step, b = self.backend.channel_step(layer), self.backend
        units = -(-oc // step)
        quick = self.findings.quick([layer])
        for parts in (2, 4, 8, 16, 32, 64, 128):
            pieces = channel_slices(ic, 2 * b.lanes, parts)
            if len(pieces) < parts // 2 + 1:
                break
            for tiles in [
                (layer.output.shape[0], th, 1) for th in heights(layer.output.shape[2])[:6]
            ]:
                rows, cols = quick.lengths(0, tiles[1]), quick.lengths(1, 1)
                width = pieces[0][1] - pieces[0][0]
                tile = -(-width // b.lanes) * b.plane_bytes(
                    rows[quick.ins[0][0]], cols[quick.ins[0][0]]
                )
                result = 4 * b.plane_bytes(rows[quick.outs[0]], cols[quick.outs[0]])
                for count in sorted(
                    {min(units, c) for c in (1, 2, 4, 8, 16, 32, 64, 128, 256, units)}
                ):
                    per = -(-units // count)
                    need = 2 * (tile + b.weight_bytes(layer, per * step, width)) + per * result
                    if need <= limit:
                        use = WeightUse([], False)
                        plan = Plan(
                            [layer],
                            tiles,
                            {layer: use},
                            channel_slices(oc, step, count),
                            False,
                            pieces,
                        )
                        yield self.evaluate(plan, limit)
                        break


def cheapest(plans: Iterable[Plan | None]) -> Plan | None:
    """The plan that costs least; None if there is none."""
    return min((p for p in plans if p is not None), key=lambda p: p.cycles, default=None)


def heights(height: int) -> list[int]:
    """Numbers of row tiles worth trying, ascending: one per distinct tile height, sparser for many
    small tiles."""
    out: list[int] = []
    rows = height
    while rows:
        count = -(-height // rows)
        if not out or count > out[-1]:
            out.append(count)
        rows = min(rows - 1, int(rows * 0.87)) if rows > 1 else 0
    return out
