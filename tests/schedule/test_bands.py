"""The first layer in bands of rows: it begins before all of the input has arrived."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from net_cases import Sampler
from tpuforge.compiler.calibrate.table import read_table
from tpuforge.compiler.chip import CHIPS, chip_named
from tpuforge.compiler.emit.cv18xx.backend import Cv18xxBackend
from tpuforge.compiler.frontend import transform_graph
from tpuforge.compiler.ir import Graph
from tpuforge.compiler.lower import lower, merge_pairs
from tpuforge.compiler.schedule import bands
from tpuforge.compiler.schedule import schedule as schedule_module
from tpuforge.compiler.schedule.layers import build_layers
from tpuforge.compiler.schedule.regions import band_rows
from tpuforge.compiler.schedule.search.search import Search
from tpuforge.compiler.schedule.settle import Settler
from voices import check, simulate

FIRST = {
    "stem": dict(size=(24, 32), oc=16, kernel=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
    "odd": dict(size=(21, 17), oc=9, kernel=(5, 3), pads=(2, 1, 2, 1)),
    "dilated": dict(size=(19, 16), oc=8, kernel=(3, 3), pads=(2, 0, 0, 2), dilations=(2, 2)),
    "far": dict(size=(20, 8), oc=8, kernel=(1, 1), strides=(3, 3)),
}


def net(name: str, chip: str, batch: int = 1) -> Graph:
    about = dict(FIRST[name])
    sampler = Sampler(chip_named(chip), f"bands {name} {batch}")
    x = sampler.input(batch, 3, *about.pop("size"))
    y = sampler.conv(x, about.pop("oc"), about.pop("kernel"), **about)
    return sampler.done(sampler.conv(y, 32, (1, 1)))


@pytest.mark.parametrize("chip", ["cv183x", "cv182x", "cv181x"])
def test_a_small_network_begins_early(zoo, vendor_dir: Path, chip: str) -> None:
    """cv180x begins with the quantisation, which has its own way."""
    table = read_table(vendor_dir / "tiny_mobilenet_cali_table")
    graph = transform_graph(zoo("tiny_mobilenet"))
    merge_pairs(graph, table.keys(), chip_named(chip))
    result = check(lower(graph, table, chip_named(chip)), chip_named(chip), simulate)
    assert result.program.plans[0].bands > 1


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", FIRST)
def test_bytes(name: str, chip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of bands, also where it does not pay."""
    for count in (2, 3, 7):

        def forced(best, settler, count=count):
            plan = replace(best.plans[0], tiles=(1, 1, 1), bands=count)
            assert bands.can_be_cut(plan)
            return settler.settle([plan, *best.plans[1:]])

        monkeypatch.setattr(schedule_module, "first_in_bands", forced)
        for batch in (1, 2):
            result = check(net(name, chip, batch), chip_named(chip), simulate)
            assert result.program.plans[0].bands == count


@pytest.mark.parametrize("exact", [False, True])
def test_compared_with_the_same_times_of_constants(
    exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plans with bands are settled as those without were, which are not settled again."""
    backend = Cv18xxBackend(chip_named("cv181x"))
    search = Search(build_layers(net("stem", "cv181x"), backend.lanes), backend)
    settler = Settler(search)
    best = settler.settle(search.run(), exact)
    settle, tried = settler.settle, []

    def noted(plans, exact=False):
        tried.append((plans[0].bands, exact))
        return settle(plans, exact)

    monkeypatch.setattr(settler, "settle", noted)
    monkeypatch.setattr(bands, "WORTH", 0.0)
    found = bands.first_in_bands(best, settler)
    assert tried == [(count, exact) for count in bands.COUNTS]
    assert found.exact == exact and found.score <= best.score


@pytest.mark.parametrize("width", [1, 3, 8, 16, 24, 33])
def test_bands_begin_aligned(width: int) -> None:
    for rows in ((0, 1), (0, 24), (5, 70)):
        for count in (1, 2, 3, 9):
            cut = band_rows(rows, width, count, 16)
            assert [a for a, _ in cut[1:]] == [b for _, b in cut[:-1]] and len(cut) <= count
            assert (cut[0][0], cut[-1][1]) == rows
            assert all((a - rows[0]) * width % 16 == 0 for a, _ in cut)
