"""Random single instructions on our simulator and on the vendor's: all of local memory and DDR
compared. TPUFORGE_SIM_CASES sets the number per kind and chip.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from sim.cases import Maker
from sim.compare import TDMA_KINDS, TIU_KINDS, exists, first_difference, tdma_case, tiu_case
from sim.simlib import Sim, SimError, compiler
from sim.vendor_rt import VendorAbortError, VendorTpu
from tpuforge.compiler.chip import CHIPS

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(compiler() is None, reason="no C compiler"),
]
CASES = int(os.environ.get("TPUFORGE_SIM_CASES", "6"))
SEED = int(os.environ.get("TPUFORGE_SIM_SEED", "1"))


@pytest.fixture(scope="module")
def vendors(oracle) -> Iterator[dict[str, VendorTpu]]:
    found = {name: VendorTpu(oracle.vendor_library_dir(), name) for name in CHIPS}
    yield found
    for vendor in found.values():
        vendor.close()


def check(chip_name: str, kind: str, case, vendor: VendorTpu) -> None:
    """Same bytes, or refused by both (a shape that happens to leave the lane)."""
    chip = CHIPS[chip_name]
    m = Maker(np.random.default_rng([SEED, list(CHIPS).index(chip_name)]), chip)
    sim, changed = Sim(chip_name), 0
    for i in range(CASES):
        stream, memory, fields = case(kind, m)
        ours, refused = memory.copy(), ""
        try:
            sim.run(stream, {k: ours for k in range(8)})
        except SimError as error:
            refused = str(error)
        try:
            theirs = np.frombuffer(vendor.run(stream, memory.tobytes()), np.uint8)
        except VendorAbortError as abort:
            assert refused, f"case {i}: only the vendor refuses ({abort}): {fields}"
            continue
        assert not refused, f"case {i}: only we refuse ({refused}): {fields}"
        difference = first_difference(ours, theirs, chip)
        assert not difference, f"case {i}: {difference}: {fields}"
        changed += int((ours != memory).any())
    assert changed > CASES // 2


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("kind", TIU_KINDS)
def test_compute(chip: str, kind: str, vendors: dict[str, VendorTpu]) -> None:
    if not exists(kind, CHIPS[chip]):
        pytest.skip(f"{chip} has no {kind}")
    check(chip, kind, tiu_case, vendors[chip])


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("kind", TDMA_KINDS)
def test_transfer(chip: str, kind: str, vendors: dict[str, VendorTpu]) -> None:
    check(chip, kind, tdma_case, vendors[chip])
