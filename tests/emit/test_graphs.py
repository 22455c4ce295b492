"""Small random graphs: every optimisation level gives the bytes of the references."""

from __future__ import annotations

import pytest
from net_cases import ODD, odd_graph, random_graph
from tpuforge.compiler.chip import CHIPS, chip_named
from voices import check, local_memory, simulate


@pytest.mark.parametrize("number", range(8))
def test_random_graph(number: int) -> None:
    """Two numbers per level, every chip."""
    for chip in CHIPS.values():
        check(random_graph(f"graph-{number}", chip), chip, simulate, opt=number % 4)


@pytest.mark.parametrize("chip", CHIPS)
def test_all_levels(chip: str) -> None:
    graph = random_graph("levels", chip_named(chip), layers=6)
    groups = {
        opt: len(check(graph, chip_named(chip), simulate, opt=opt).program.groups)
        for opt in range(4)
    }
    assert groups[0] > groups[2], "level 2 makes no groups"


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", ODD)
def test_odd_graphs(name: str, chip: str) -> None:
    for opt in (0, 2):
        check(odd_graph(name, chip_named(chip)), chip_named(chip), simulate, opt=opt)
    with local_memory(2048):
        check(odd_graph(name, chip_named(chip)), chip_named(chip), simulate)
