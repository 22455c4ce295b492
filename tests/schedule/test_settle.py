"""Groups that meet what they met before are not judged again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tpuforge.compiler.schedule.place.local as local
from nets import Net
from tpuforge.compiler.chip import CHIPS, Chip
from tpuforge.compiler.emit.cv18xx.backend import Cv18xxBackend
from tpuforge.compiler.schedule.layers import build_layers
from tpuforge.compiler.schedule.plan import Plan
from tpuforge.compiler.schedule.program import step_buffers
from tpuforge.compiler.schedule.search.search import Search
from tpuforge.compiler.schedule.settle import Settled, Settler


def settler(chip: Chip, channels: int = 128, size: int = 56) -> tuple[Settler, list[Plan]]:
    """For a row of convolutions, and a plan for each of them."""
    net = Net(chip, 1)
    x = net.input(1, 16, size, size)
    for _ in range(5):
        x = net.conv(x, channels, (3, 3), pads=(1, 1, 1, 1))
    backend = Cv18xxBackend(chip)
    layers = build_layers(net.done(x), backend.lanes)
    search = Search(layers, backend)
    return Settler(search), [search.alone(x) for x in layers.layers]


def places(settled: Settled, k: int) -> list[tuple[int, int]]:
    """Addresses and slots of all buffers of the groups from number `k` on."""
    start = sum(map(len, settled.groups[:k]))
    steps = [s for g in settled.groups[k:] for s in g]
    return [(b.addr, b.slot - start) for b in step_buffers(steps)]


@pytest.mark.parametrize("chip", ["cv181x", "cv180x"])
def test_only_what_changes_is_judged(chip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a group of more steps in front, those behind it lie where they lay, only later: the
    second still meets what the first leaves behind."""
    s, plans = settler(CHIPS[chip])
    judge, groups = local._choose, []

    def noted(memory, group, *args):
        groups.append(group.plans[-1])
        return judge(memory, group, *args)

    monkeypatch.setattr(local, "_choose", noted)
    first = s.settle(plans)
    assert list(dict.fromkeys(groups)) == plans
    count = len(groups)
    again = s.settle(plans)
    assert len(groups) == count
    assert (again.score, again.times, places(again, 0)) == (
        first.score, first.times, places(first, 0),
    )  # fmt: skip
    rows = plans[0].tiles[1] + 1
    other = [replace(plans[0], tiles=(1, rows, 1)), *plans[1:]]
    moved = s.settle(other)
    assert len(moved.groups[0]) > len(first.groups[0])
    assert set(groups[count:]) == set(other[:2])
    fresh = Settler(s.search).settle(other)
    assert (moved.score, moved.times, places(moved, 0)) == (
        fresh.score, fresh.times, places(fresh, 0),
    )  # fmt: skip
