"""Small random graphs at every optimisation level: references == our simulator == the vendor."""

from __future__ import annotations

from types import ModuleType

import pytest
from net_cases import ODD, odd_graph, random_graph
from rolled import rolled, rolled_graph
from tiled import tiled, tiled_graph
from tpuforge.compiler.chip import CHIPS, chip_named
from voices import Runner, check, local_memory, simulate

pytestmark = pytest.mark.parity


@pytest.fixture
def vendor(oracle: ModuleType) -> Runner:
    def vendor(model: bytes, arrays: dict) -> dict:
        return oracle.vendor_run(model, arrays, timeout=60)

    return vendor


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("opt", range(4))
def test_random_graphs(vendor: Runner, opt: int, chip: str) -> None:
    for number in range(10):
        graph = random_graph(f"vendor-{opt}-{number}", chip_named(chip))
        check(graph, chip_named(chip), simulate, vendor, opt=opt)


@pytest.mark.parametrize("chip", CHIPS)
def test_in_little_memory(vendor: Runner, chip: str) -> None:
    for number in range(8):
        with local_memory(16384):
            graph = random_graph(f"vendor-little-{number}", chip_named(chip))
            check(graph, chip_named(chip), simulate, vendor)


@pytest.mark.parametrize("chip", CHIPS)
def test_kept_rows(vendor: Runner, chip: str) -> None:
    done = 0
    for number in range(30, 50):
        with rolled(number) as plans:
            check(rolled_graph(str(number), chip_named(chip)), chip_named(chip), simulate, vendor)
        done += len(plans)
    assert done >= 8


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", ODD)
def test_odd_graphs(vendor: Runner, name: str, chip: str) -> None:
    for opt in (0, 2):
        check(odd_graph(name, chip_named(chip)), chip_named(chip), simulate, vendor, opt=opt)
    with local_memory(2048):
        check(odd_graph(name, chip_named(chip)), chip_named(chip), simulate, vendor)


@pytest.mark.parametrize("chip", CHIPS)
def test_several_streams(vendor: Runner, chip: str) -> None:
    """Programs with more commands than a stream can number, made short."""
    cut = 0
    for number in range(6):
        graph = random_graph(f"streams-{number}", chip_named(chip), layers=6)
        with local_memory(8192 if number % 2 else None):
            result = check(
                graph, chip_named(chip), simulate, vendor, opt=number % 3, max_commands=40
            )
        cut += len(result.streams) - 1
    assert cut >= 2


@pytest.mark.parametrize("chip", CHIPS)
def test_random_tiles(vendor: Runner, chip: str) -> None:
    for number in range(60, 75):
        with tiled(number):
            check(tiled_graph(str(number), chip_named(chip)), chip_named(chip), simulate, vendor)
