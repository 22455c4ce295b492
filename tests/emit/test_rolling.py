"""Kept halo rows: the same bytes as the references, for any tiles along h."""

from __future__ import annotations

import pytest
from rolled import rolled, rolled_graph
from tpuforge.compiler.chip import CHIPS, chip_named
from voices import check, simulate


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("first", [0, 10, 20])
def test_forced(first: int, chip: str) -> None:
    c, done = chip_named(chip), 0
    for number in range(first, first + 10):
        with rolled(number) as plans:
            check(rolled_graph(str(number), c), c, simulate)
        done += len(plans)
    assert done >= 3
