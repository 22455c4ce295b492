"""Which consecutive layers form a group, and with which plan: dynamic programming over the layer order.

best[j] = min over i of best[i] + cost(group of layers i .. j - 1). A group is tried with more and more tiles until it
fits local memory, then with a few more. Deterministic: the same graph gives the same plans.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import DoesNotFitError
from .cost import evaluate
from .layers import Layer, LayerGraph, is_placed
from .plan import Plan, WeightUse, channel_slices, group_tensors
from .program import Backend

MAX_GROUP = {0: 1, 1: 6, 2: 10, 3: 16}
GROUP_CYCLES = 300.0  # latency between groups: a store, the wait for it, the first load


class Search:
    """Finds the plans of a layer graph for one backend."""

    def __init__(self, graph: LayerGraph, backend: Backend, opt: int = 2):
        self.graph, self.backend, self.opt = graph, backend, opt
        self.limit = float(backend.local_bytes)
        self.cache: dict[tuple, Plan | None] = {}

    def run(self) -> list[Plan]:
        """The plans in execution order; they cover all layers."""
        layers = self.graph.layers
        for layer in layers:
            self.backend.check(layer)
        best: list[tuple[float, Plan | None, int]] = [(0.0, None, 0)]
        for j in range(1, len(layers) + 1):
            choice: tuple[float, Plan | None, int] | None = None
            misses = 0
            for i in range(j - 1, max(-1, j - 1 - MAX_GROUP[self.opt]), -1):
                group = layers[i:j]
                if not self.legal(group):
                    if group[0].kind == "concat" and len(group) > 1 and not self.inside(group[0], group):
                        break
                    continue
                plan = self.plan(group)
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
                f"layer {layer.name} ({layer.kind}, output {layer.output.shape}): no tile of it fits the "
                f"{self.backend.local_bytes} bytes of local memory per lane"
            )
        return plan

    # ---- legality
    def inside(self, concat: Layer, group: list[Layer]) -> bool:
        """All inputs of a concat are computed in the group."""
        return all(x.producer in group for x in concat.inputs)

    def legal(self, group: list[Layer]) -> bool:
        """May these layers be one group?

        A reader of an alias or view can not share a group with the writer of the bytes: they meet in DDR. A concat whose
        inputs come from outside and lie in it already is no work, and its readers belong to later groups."""
        if len(group) == 1:
            return True
        members = set(group)
        roots = {layer.output for layer in group}
        batch = group[0].output.shape[0]
        for layer in group:
            if layer.output.shape[0] != batch or (layer.kind == "conv" and layer.groups > 1):
                return False
            for x in layer.inputs:
                parent = x.parent
                while parent is not None:
                    if parent in roots and not (x.producer in members):
                        return False
                    parent = parent.parent
                if x.parent is not None and x.producer is None and any(
                    c.output.root is x.root for c in group if c is not layer):
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
            self.cache[key] = self.best_of(self.candidates(group, limit), limit)
        found = self.cache[key]
        return None if found is None else transfer(found, group)

    def best_of(self, plans: Iterator[Plan | None], limit: float) -> Plan | None:
        best = None
        for p in plans:
            if p is not None and (best is None or p.cycles < best.cycles):
                best = p
        return best

    def candidates(self, group: list[Layer], limit: float) -> Iterator[Plan | None]:
        """Plans that fit, evaluated."""
        if len(group) == 1 and group[0].kind == "conv":
            yield from self.single(group[0], limit)
            return
        for target in (0, 4096, 10240):
            found = False
            for tiles in self.tilings(group):
                weights = self.weights(group, tiles, target)
                plan = evaluate(Plan(group, tiles, weights), self.backend, limit)
                if plan is not None:
                    found = True
                    yield plan
            if not found and target == 0 and len(group) > 1 and not any(self.backend.weight_bytes(g, 1, 1) for g in group):
                return

    def tilings(self, group: list[Layer]) -> Iterator[tuple[int, int, int]]:
        """Tile counts, few tiles first; a height that does not fit is followed by about 1.5 times as many tiles."""
        _, sinks = group_tensors(group)
        batch = sinks[0].shape[0]
        height = min(t.shape[2] for t in sinks)
        width = min(t.shape[3] for t in sinks)
        for tw in [w for w in (1, 2, 4, 8, 16, 32) if w == 1 or width // w >= 4]:
            for tn in sorted({1, batch}):
                for th in heights(height):
                    if tn < batch and th > 1:
                        continue
                    if tw > 1 and height // th > 16:
                        continue
                    yield (tn, th, tw)

    def weights(self, group: list[Layer], tiles: tuple[int, int, int], target: int) -> dict[Layer, WeightUse]:
        """Constants: resident and whole when there are several tiles; streamed in slices of about `target` bytes for one
        tile (0: whole)."""
        many = tiles != (1, 1, 1)
        uses = {}
        for layer in group:
            step = self.backend.channel_step(layer)
            oc, ic = layer.output.shape[1], layer.inputs[0].shape[1]
            size = self.backend.weight_bytes(layer, oc, ic)
            if not size:
                continue
            count = 1 if not step or not target else min(-(-size // target), -(-oc // step))
            if many and target and size <= target:
                count = 1
            uses[layer] = WeightUse(channel_slices(oc, step or oc, count), many and (not target or size <= target))
        return uses

    # ---- one convolution alone
    def single(self, layer: Layer, limit: float) -> Iterator[Plan | None]:
        oc, ic = layer.output.shape[1], layer.inputs[0].shape[1]
        step = self.backend.channel_step(layer)
        units = -(-oc // step)
        counts = sorted({min(units, c) for c in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512, units)})
        found = False
        for tiles in self.tilings([layer]):
            for count in counts:
                size = self.backend.weight_bytes(layer, -(-units // count) * step, ic)
                if size > limit:
                    continue
                if count < units and size < 512 and count > 4:
                    break
                slices = channel_slices(oc, step, count)
                for first in (False, True) if count > 1 and tiles != (1, 1, 1) else (False,):
                    resident = first or count == 1
                    plan = Plan([layer], tiles, {layer: WeightUse(slices, resident)}, slices_first=first)
                    plan = evaluate(plan, self.backend, limit)
                    found |= plan is not None
                    yield plan
        if not found or ic * layer.window.kernel[0] * layer.window.kernel[1] > 2048:
            yield from self.partial_sums(layer, limit)

    def partial_sums(self, layer: Layer, limit: float) -> Iterator[Plan | None]:
        """Slices of input channels with 32-bit partial sums."""
        oc, ic = layer.output.shape[1], layer.inputs[0].shape[1]
        step = self.backend.channel_step(layer)
        units = -(-oc // step)
        for parts in (2, 3, 4, 6, 8, 12, 16, 32, 64, 128):
            pieces = channel_slices(ic, 2 * self.backend.lanes, parts)
            if len(pieces) < 2:
                continue
            for tiles in self.tilings([layer]):
                for count in sorted({min(units, c) for c in (1, 2, 4, 8, 16, 32, 64, 128, 256, units)}):
                    size = self.backend.weight_bytes(layer, -(-units // count) * step, pieces[0][1])
                    if size > limit:
                        continue
                    use = WeightUse(channel_slices(oc, step, count), False)
                    yield evaluate(Plan([layer], tiles, {layer: use}, ic_slices=pieces), self.backend, limit)


def heights(height: int) -> list[int]:
    """Numbers of row tiles worth trying, ascending: one per distinct tile height, sparser for many small tiles."""
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
    return (layer.kind, tuple(x.shape for x in layer.inputs), tuple(x.itemsize for x in layer.inputs), layer.output.shape,
            layer.output.itemsize, layer.window, layer.groups, len(op.operands) > 2 and op.operands[2] is None)  # fmt: skip


def links(group: list[Layer]) -> tuple:
    """How the layers of a group are connected, and which results leave it."""
    number = {layer.output: i for i, layer in enumerate(group)}
    sources, sinks = group_tensors(group)
    ids = {t: -1 - i for i, t in enumerate(sources)}
    return (tuple(tuple(number.get(x, ids.get(x)) for x in layer.inputs) for layer in group), tuple(number[t] for t in sinks))


def transfer(plan: Plan, group: list[Layer]) -> Plan:
    """The same plan for another group of equal signature."""
    if plan.layers == group:
        return plan
    to = dict(zip(plan.layers, group, strict=True))
    weights = {to[k]: v for k, v in plan.weights.items()}
    return Plan(group, plan.tiles, weights, plan.slices_first, plan.ic_slices, plan.cycles, plan.tdma, plan.tiu, plan.peak)
