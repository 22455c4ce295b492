"""Single-op networks: references == our simulator == the vendor's runtime and emulator, byte for
byte, on every chip (with the numbers of tests/emit and many more).
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
from net_cases import LARGE, OPS, large, single
from tpuforge.compiler.chip import CHIPS, Chip, chip_named
from tpuforge.compiler.errors import DoesNotFitError
from tpuforge.compiler.ir import Graph
from voices import Runner, check, local_memory, simulate

pytestmark = pytest.mark.parity
NUMBERS = 16


@pytest.fixture
def vendor(oracle: ModuleType) -> Runner:
    def vendor(model: bytes, arrays: dict) -> dict:
        return oracle.vendor_run(model, arrays, timeout=60)

    return vendor


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("kind", OPS)
def test_random_geometry(vendor: Runner, kind: str, chip: str) -> None:
    for number in range(NUMBERS):
        check(single(kind, number, chip_named(chip)), chip_named(chip), simulate, vendor)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", LARGE)
def test_large_layers(vendor: Runner, name: str, chip: str) -> None:
    check(large(name, chip_named(chip)), chip_named(chip), simulate, vendor)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("kind", OPS)
def test_tiles(vendor: Runner, kind: str, chip: str) -> None:
    """Cut as if local memory were small; a number for which nothing fits is left out."""
    c = chip_named(chip)
    done = [
        fits(lambda _, n=number: single(kind, n, c), c, vendor, size, number % 2 == 0)
        for number in range(40, 44)
        for size in (2048, 5120)
    ]
    assert any(done)


def fits(
    make: Callable[[Chip], Graph], chip: Chip, vendor: Runner, size: int, compress: bool
) -> bool:
    """compress=False: slices of constants are loaded out of whole layers."""
    try:
        with local_memory(size):
            check(make(chip), chip, simulate, vendor, compress_weight=compress)
    except DoesNotFitError:
        return False
    return True
