"""Which 1x1 convolutions a chip computes as one."""

from __future__ import annotations

import numpy as np
import pytest
from lower.graphs import Net
from tpuforge.compiler.chip import CHIPS, chip_named
from tpuforge.compiler.lower import merge_pairs
from tpuforge.compiler.top import reference

INVERTED, HEAD = ((32, 16, 96), 14), ((96, 32, 128), 7)  # channels in, between and out; map size


def pair(channels: tuple[int, int, int], size: int) -> Net:
    net = Net(1, channels[0], size, size)
    middle = net.conv(net.x, channels[1], 1, "first")
    net.finish(net.conv(middle, channels[2], 1, "second"))
    return net


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("form", [INVERTED, HEAD])
def test_merged_where_one_takes_no_longer(form, chip: str) -> None:
    """With double_conv a product over 16 channels takes as long as over 32 (at least 16 cycles),
    so that only cv180x gains from the narrow tensor between; in HEAD all chips do."""
    net = pair(*form)
    merge_pairs(net.graph, {"x", "first", "second"}, chip_named(chip))
    one = form is INVERTED and chip != "cv180x"
    assert [op.name for op in net.graph.ops] == (
        ["x", "second"] if one else ["x", "first", "second"]
    )


@pytest.mark.parametrize("chip", CHIPS)
def test_merged_where_the_table_lacks_the_tensor_between(chip: str) -> None:
    net = pair(*HEAD)
    x = {"x": net.random(1, 96, 7, 7)}
    (before,) = reference.run(net.graph, x).values()
    merge_pairs(net.graph, {"x", "second"}, chip_named(chip))
    net.graph.verify()
    assert [op.name for op in net.graph.ops] == ["x", "second"]
    (after,) = reference.run(net.graph, x).values()
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3)


def test_merged_over_strides() -> None:
    """A stride of the second leaves out most of what the first computes."""
    net = Net(1, 64, 16, 16)
    net.finish(net.conv(net.conv(net.x, 64, 1, "first"), 64, 1, "second", strides=(2, 2)))
    merge_pairs(net.graph, {"x", "first", "second"}, chip_named("cv181x"))
    (conv,) = net.graph.ops[1:]
    assert conv.name == "second" and conv.strides == (2, 2)
