"""Random chains of layers in few groups, with random numbers of tiles along n, h and w, and results
in the middle that leave the group in other forms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
from net_cases import Sampler
from rolled import any_layer
from tpuforge.compiler.chip import Chip
from tpuforge.compiler.ir import Graph, Value
from tpuforge.compiler.schedule.search.quick import Quick
from tpuforge.compiler.schedule.search.search import Search

SIZES = (1, 5, 8, 9, 15, 16, 17, 31, 33)


def tiled_graph(name: str, chip: Chip) -> Graph:
    """2 to 5 layers; the last value is an output, some of the others too: as they are, as floats,
    or after a softmax."""
    net = Sampler(chip, f"tiled-{name}")
    n, c, h, w = net.pick((1, 1, 2)), net.pick((1, 3, 8, 9)), net.pick(SIZES), net.pick(SIZES)
    floats = net.chance(0.2)
    x = net.input(n, c, h, w, dtype="f32" if floats else "i8")
    values = [net.quantize(x) if floats else x]
    for _ in range(int(net.rng.integers(2, 6))):
        values.append(any_layer(net, values))
    inner = [v for v in values[1:-1] if net.chance()]
    return net.done(*(leaving(net, v) for v in (*inner, values[-1])))


def leaving(net: Sampler, x: Value) -> Value:
    kind = net.pick(("plain", "float", "float", "softmax"))
    return {"plain": lambda v: v, "float": net.dequantize, "softmax": net.softmax}[kind](x)


@contextmanager
def tiled(seed: int) -> Iterator[None]:
    """Groups are as long as may be, each cut into a random number of tiles."""
    rng = np.random.default_rng(seed)
    drawn: dict[Quick, tuple[int, ...]] = {}

    def tilings(search: Search, quick: Quick, part: int) -> Iterator[tuple[int, int, int]]:
        if quick not in drawn:
            sizes = [min(t.shape[i] for t in quick.sinks) for i in (0, 2, 3)]
            drawn[quick] = tuple(int(rng.integers(1, min(most, 9) + 1)) for most in sizes)
        yield drawn[quick]

    with (
        patch.object(Search, "tilings", tilings),
        patch("tpuforge.compiler.schedule.search.cover.GROUP_CYCLES", 1e8),
        patch("tpuforge.compiler.schedule.search.search.GROUP_CYCLES", 1e8),
    ):
        yield
