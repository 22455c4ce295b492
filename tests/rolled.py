"""Random chains of windows in one group, cut along h into tiles that keep the rows they share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from net_cases import Sampler
from tpuforge.compiler.chip import Chip
from tpuforge.compiler.ir import Graph, Value
from tpuforge.compiler.schedule.plan import Plan, group_tensors, summing_layer
from tpuforge.compiler.schedule.search.search import Search
from tpuforge.compiler.schedule.steps.builder import StepBuilder

HEIGHTS = (7, 9, 17, 33)
CHANNELS = (1, 3, 4, 8, 9, 18)


def rolled_graph(name: str, chip: Chip, most: int = 5) -> Graph:
    """2 to `most` layers with kernels up to 7, strides up to 3, dilations and pads, residual
    branches; the last value is an output, sometimes one of the others too."""
    net = Sampler(chip, f"rolled-{name}")
    x = net.input(net.pick((1, 1, 2, 3)), net.pick(CHANNELS), net.pick(HEIGHTS),
                  net.pick((5, 8, 14, 16, 28)))  # fmt: skip
    values = [x]
    for _ in range(int(net.rng.integers(2, most + 1))):
        values.append(any_layer(net, values))
    others = [v for v in values[1:-1] if net.chance(0.15)]
    return net.done(values[-1], *others)


def any_layer(net: Sampler, values: list[Value]) -> Value:
    x = values[-1]
    alike = [v for v in values[:-1] if v.shape == x.shape]
    kind = net.pick(
        ("conv", "conv", "point", "depthwise", "depthwise", "pool", "add", "unary", "concat")
    )
    if kind == "add" and alike:
        return net.add(x, net.pick(alike), relu=net.chance())
    if kind == "point":
        return net.conv(x, net.pick(CHANNELS), relu=net.chance())
    if kind == "concat":
        parts = [
            net.conv(x, net.pick(CHANNELS)),
            net.conv(x, net.pick(CHANNELS), (3, 3), pads=(1,) * 4),
        ]
        return net.concat(*parts, *([net.depthwise(x, (1, 1))] if net.chance(0.3) else []))
    if kind == "unary":
        return net.pick((net.prelu, net.leaky_relu, net.requant, net.relu))(x)
    if kind == "pool":
        kernel, strides, pads, _ = net.window(x.shape[2:], pads_below_kernel=True)
        return net.pick((net.max_pool, net.avg_pool))(x, kernel, _small(strides), pads)
    k = net.pick([k for k in (3, 3, 5, 7) if k <= min(x.shape[2:])] or [1])
    d = net.pick((1, 1, 2)) if 2 * k - 1 <= min(x.shape[2:]) else 1
    pads = (d * (k // 2),) * 4 if net.chance(0.7) else (0, 0, 0, 0)
    more = {"strides": net.pick(((1, 1), (1, 1), (2, 2), (3, 1))), "pads": pads}
    more |= {"dilations": (d, d), "relu": net.chance()}
    if kind == "depthwise":
        return net.depthwise(x, (k, k), **more)
    return net.conv(x, net.pick(CHANNELS), (k, k), **more)


def _small(strides: tuple[int, int]) -> tuple[int, int]:
    return min(strides[0], 3), min(strides[1], 3)


@contextmanager
def rolled(number: int) -> Iterator[list[Plan]]:
    """Let the scheduler take a whole graph as one group, cut along h into a number of tiles that
    depends on `number`, with kept rows; constants resident or streamed, or parts of the channels
    summed up. The list gets the plan, if its rows can be kept."""
    plans: list[Plan] = []

    def run(self: Search) -> list[Plan]:
        group = self.graph.layers
        height = min(t.shape[2] for t in group_tensors(group)[1])
        batch = group[0].output.shape[0]
        if height < 2 or not self.legal(group):
            return original(self)
        th = 2 + number * 7 % (height - 1)
        tiles = (1 if number % 2 else batch, th, 1)
        plan = self.make(group, tiles, 0, False, (0, 64)[number // 2 % 2], True)
        k = summing_layer(group)
        if k >= 0 and number % 3:
            inner, part = group[k].inputs[0].shape[1], 2 * self.backend.lanes
            plan.channels = [(a, min(a + part, inner)) for a in range(0, inner, part)]
            plan.sums = k
            for layer, use in plan.weights.items():
                use.slices = [(0, layer.output.shape[1])]
        builder = StepBuilder(plan, self.backend)
        if not any(r.head[0] < r.head[1] for tile in builder.rolled for r in tile.values()):
            return original(self)
        plans.append(plan)
        return [plan]

    original = Search.run
    with patch.object(Search, "run", run):
        yield plans
