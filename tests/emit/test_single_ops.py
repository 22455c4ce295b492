"""Single-op networks: emitted commands on the simulator give the bytes of the op's reference, on
every chip. The parity tier asks the vendor's emulator about the same networks and many more.
"""

from __future__ import annotations

import pytest
from net_cases import LARGE, OPS, large, single
from tpuforge.compiler.chip import CHIPS, chip_named
from tpuforge.compiler.ir import OPS as OPS_OF_IR
from voices import check, simulate

# wide or deep enough to be cut, and quick in the numpy reference
LARGE_FAST = (
    "conv_2048_inputs", "conv_5000_outputs", "conv_5000_inputs", "conv_partial_sums",
    "conv_9000_columns", "conv_9000_rows", "conv_1_by_2000", "depthwise_2048", "depthwise_5000",
    "average_2048", "max_1280", "max_of_wide_strips", "rows_behind_the_last_window",
    "add_5000", "mul_2000", "mul_wide", "relu_25088", "prelu_4500", "concat_4000", "concat_wide",
    "quantize_wide", "dequantize_4500", "dequantize_wide",
)  # fmt: skip


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("kind", OPS)
def test_random_geometry(kind: str, chip: str) -> None:
    for number in range(4):
        check(single(kind, number, chip_named(chip)), chip_named(chip), simulate)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", LARGE_FAST)
def test_large_layers(name: str, chip: str) -> None:
    check(large(name, chip_named(chip)), chip_named(chip), simulate, opt=1)


def test_every_op_is_here() -> None:
    made = {
        type(o).__name__
        for kind in OPS
        for number in range(4)
        for chip in CHIPS.values()
        for o in single(kind, number, chip).ops
    }
    assert made == {name.removeprefix("tpu.") for name in OPS_OF_IR if name.startswith("tpu.")}


def test_names_of_large_layers() -> None:
    assert set(LARGE_FAST) < set(LARGE)
