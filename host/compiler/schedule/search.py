"""Which consecutive layers form a group, and with which plan: dynamic programming over the layer
order.

best[j] = min over i of best[i] + cost(group of layers i .. j - 1). A group is tried with more and
more tiles until it fits local memory, then with a few more. Deterministic: the same graph gives the
same plans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product

from ..errors import DoesNotFitError
from .cost import evaluate
from .layers import Layer, LayerGraph, is_placed
from .matrix_plans import matrix_plans
from .plan import Plan, WeightUse, channel_slices, channels_can_be_cut, group_tensors, summing_layer
from .program import Backend
from .quick import Quick

MAX_GROUP = {0: 1, 1: 6, 2: 14, 3: 24}  # layers in a group, by optimisation level
SMALL = 24  # a network of at most so many layers may be one group (opt 2, 3)
TRIES = {0: 3, 1: 3, 2: 4, 3: 8}  # row tilings looked at beyond the smallest that fits
KEEP = {0: 3, 1: 3, 2: 4, 3: 12}  # plans of a group that are evaluated
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
GROUP_CYCLES = 300.0  # latency between groups: a store, the wait for it, the first load


class Search:
    """Finds the plans of a layer graph for one backend."""

    def __init__(self, graph: LayerGraph, backend: Backend, opt: int = 2):
        self.graph, self.backend, self.opt = graph, backend, opt
        self.limit = float(backend.local_bytes)
        self.cache: dict[tuple, Plan | None] = {}

    def run(self) -> list[Plan]:
        """The plans in execution order; they cover all layers."""
        for layer in self.graph.layers:
            self.backend.check(layer)
        return self.cover(self.graph.layers)

    def cover(self, layers: list[Layer], limit: float | None = None) -> list[Plan]:
        """The cheapest plans that cover consecutive layers with at most `limit` bytes of local
        memory."""
        best: list[tuple[float, Plan | None, int]] = [(0.0, None, 0)]
        most = MAX_GROUP[self.opt] if self.opt < 2 or len(layers) > SMALL else SMALL
        for j in range(1, len(layers) + 1):
            choice: tuple[float, Plan | None, int] | None = None
            misses = 0
            for i in range(j - 1, max(-1, j - 1 - most), -1):
                group = layers[i:j]
                if not self.legal(group):
                    continue
                plan = self.plan(group, limit)
                if plan is None:
                    misses += 1
                    if misses > 2 and j - i > 2:
                        break
                    continue
                cost = best[i][0] + plan.cycles + GROUP_CYCLES
                if choice is None or cost < choice[0]:
                    choice = (cost, plan, i)
            if choice is None:
                choice = (0.0, self.alone(layers[j - 1]), j - 1)
            best.append(choice)
        plans, j = [], len(layers)
        while j:
            _, plan, i = best[j]
            assert plan is not None
            plans.append(plan)
            j = i
        return plans[::-1]

    def alone(self, layer: Layer) -> Plan:
        """The plan of a layer for itself; DoesNotFitError if there is none."""
        plan = self.plan([layer])
        if plan is None:
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
    def plan(self, group: list[Layer], limit: float | None = None) -> Plan | None:
        """The cheapest plan found for a group; None if nothing fits."""
        limit = self.limit if limit is None else limit
        if len(group) == 1 and group[0].kind == "concat" and is_placed(group[0]):
            return Plan(group, tiles=(0, 0, 0))
        key = (tuple(signature(layer) for layer in group), links(group), limit)
        if key not in self.cache:
            self.cache[key] = self.best_of(self.candidates(group, limit))
        found = self.cache[key]
        return None if found is None else transfer(found, group)

    def best_of(self, plans: Iterator[Plan | None]) -> Plan | None:
        best = None
        for p in plans:
            if p is not None and (best is None or p.cycles < best.cycles):
                best = p
        return best

    def candidates(self, group: list[Layer], limit: float) -> Iterator[Plan | None]:
        """The plans that look best, evaluated; partial sums where nothing else fits or reading
        again costs much."""
        if len(group) == 1 and group[0].kind == "concat":
            yield from self.moves(group, limit)
            return
        if group[0].kind == "fc":
            yield from matrix_plans(group[0], self.backend, limit)
            return
        quick = Quick(group, self.backend)
        if group[-1].kind == "fc":
            yield from self.bottlenecks(group, quick, len(group) - 1, limit)
            return
        found = sorted(self.glances(group, quick, limit), key=lambda x: x[0])
        fit = False
        for time, plan in found[: KEEP[self.opt]]:
            if fit and time > found[0][0] * 1.5:
                break
            done = evaluate(plan(), self.backend, limit)
            fit |= done is not None
            yield done
        if not fit:
            for _, plan in found[KEEP[self.opt] :]:
                done = evaluate(plan(), self.backend, limit)
                if done is not None:
                    fit = True
                    yield done
                    break
        if (k := summing_layer(group)) >= 0 and self.opt > 0:
            yield from self.bottlenecks(group, quick, k, limit)
        if len(group) == 1 and group[0].kind == "conv":
            layer = group[0]
            heavy = quick.blobs[0] * self.backend.lanes > 8 * layer.inputs[0].nbytes or not fit
            if (
                heavy
                or layer.inputs[0].shape[1] * layer.window.kernel[0] * layer.window.kernel[1] > 2048
            ):
                yield from self.partial_sums(layer, limit)

    def bottlenecks(
        self, group: list[Layer], quick: Quick, k: int, limit: float
    ) -> Iterator[Plan | None]:
        """Plans in which layer k sums up over parts of the channels before it."""
        b = self.backend
        inner, batch = group[k].inputs[0].shape[1], group[0].output.shape[0]
        most = 128 if group[k].kind == "fc" else 64
        units = -(-inner // b.lanes)
        found: list[tuple[float, tuple[int, int, int], int]] = []
        for cut in sorted({-(-units // c) for c in CUTS if c <= min(units, most)}, reverse=True):
            part, fits = cut * b.lanes, 0
            if part % 2:
                continue
            rows = heights(min(t.shape[2] for t in quick.sinks))
            for tiles in product(sorted({1, batch}), rows, (1,)):
                g = quick.look_sums(tiles, k, part)
                if g.peak <= limit:
                    found.append((g.time, tiles, part))
                    fits += 1
                if fits >= 2:
                    break
        for _, tiles, part in sorted(found)[:3]:
            uses = {}
            for i, layer in enumerate(group):
                if quick.blobs[i]:
                    resident = tiles != (1, 1, 1) and sum(quick.blobs) <= limit / 3
                    uses[layer] = WeightUse([(0, layer.output.shape[1])], resident)
            cuts = [(a, min(a + part, inner)) for a in range(0, inner, part)]
            yield evaluate(Plan(group, tiles, uses, cuts, sums=k), b, limit)

    def moves(self, concat: list[Layer], limit: float) -> Iterator[Plan | None]:
        """A lone concat passes through local memory in any number of channels: the first tilings
        that fit."""
        n, _, h, w = concat[0].output.shape
        fits = 0
        for tw in (1, 4, 16, 64, w):
            for tn, th in [(1, 1), *((n, th) for th in heights(h))]:
                plan = evaluate(Plan(concat, (tn, th, min(tw, w))), self.backend, limit)
                fits += plan is not None
                yield plan
                if fits >= 3:
                    return

    def glances(
        self, group: list[Layer], quick: Quick, limit: float
    ) -> Iterator[tuple[float, Callable[[], Plan]]]:
        """(quick time, plan maker) of the tilings that seem to fit."""
        streams = (0, 3072, 8192)
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
                    for stream in (0,) if part else streams:
                        g = quick.look(tiles, part, parts, outer, stream)
                        if g.peak > limit:
                            continue
                        if stream and max(quick.blobs) <= stream:
                            continue
                        yield g.time, partial(self.make, group, tiles, part, outer, stream)

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
        self, group: list[Layer], tiles: tuple[int, int, int], part: int, outer: bool, stream: int
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
        return Plan(group, tiles, uses, cuts, outer)

    def partial_sums(self, layer: Layer, limit: float) -> Iterator[Plan | None]:
        """Slices of input channels with 32-bit partial sums: few slices, large tiles first."""
        oc, ic = layer.output.shape[1], layer.inputs[0].shape[1]
        step, b = self.backend.channel_step(layer), self.backend
        units = -(-oc // step)
        quick = Quick([layer], b)
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
                        yield evaluate(plan, b, limit)
                        break


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


def signature(layer: Layer) -> tuple:
    """What the cost of a layer depends on."""
    op = layer.op
    return (
        layer.kind,
        tuple(x.shape for x in layer.inputs),
        tuple(x.itemsize for x in layer.inputs),
        layer.output.shape,
        layer.output.itemsize,
        layer.window,
        layer.groups,
        len(op.operands) > 2 and op.operands[2] is None,
        len(op.attrs.get("multipliers", ())),
    )


def links(group: list[Layer]) -> tuple:
    """How the layers of a group are connected, and which results leave it."""
    number = {layer.output: i for i, layer in enumerate(group)}
    sources, sinks = group_tensors(group)
    ids = {t: -1 - i for i, t in enumerate(sources)}
    return (
        tuple(tuple(number.get(x, ids.get(x)) for x in layer.inputs) for layer in group),
        tuple(number[t] for t in sinks),
    )


def transfer(plan: Plan, group: list[Layer]) -> Plan:
    """The same plan for another group of equal signature."""
    if plan.layers == group:
        return plan
    to = dict(zip(plan.layers, group, strict=True))
    weights = {to[k]: v for k, v in plan.weights.items()}
    return replace(plan, layers=group, weights=weights)
