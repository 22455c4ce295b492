"""What a chip can not do ends in an error that names the layer, the limit and the actual value."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from net_cases import Sampler
from nets import Net
from tpuforge.compiler.chip import CHIPS, chip_named
from tpuforge.compiler.errors import DoesNotFitError, TpuforgeError, UnsupportedError
from tpuforge.compiler.ir import Value
from voices import check, compiled, simulate

Build = Callable[[Sampler], Value]
REFUSED: dict[str, tuple[Build, type[TpuforgeError], str]] = {
    "stride": (lambda n: n.conv(n.input(1, 3, 70, 70), 4, (3, 3), (32, 1)), UnsupportedError, "32"),
    "pads": (
        lambda n: n.conv(n.input(1, 3, 9, 9), 4, (33, 33), pads=(16, 16, 16, 16)),
        UnsupportedError,
        "16",
    ),
    "pads and stride": (
        lambda n: n.conv(n.input(1, 3, 9, 9), 4, (1, 1), (1, 16), pads=(0, 0, 0, 16)),
        UnsupportedError,
        "16",
    ),
    "dilation": (
        lambda n: n.conv(n.input(1, 3, 70, 70), 4, (3, 3), dilations=(16, 1)),
        UnsupportedError,
        "16",
    ),
    "pool stride": (
        lambda n: n.max_pool(n.input(1, 3, 70, 70), (2, 2), (1, 32)),
        UnsupportedError,
        "32",
    ),
    "average of a huge map": (
        lambda n: n.avg_pool(n.input(1, 5, 200, 200), (200, 200)),
        DoesNotFitError,
        "32768",
    ),
}


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_reason(name: str, chip: str) -> None:
    build, error, number = REFUSED[name]
    net = Sampler(chip_named(chip), name)
    result = build(net)
    with pytest.raises(error) as caught:
        compiled(net.done(result), chip_named(chip))
    text = str(caught.value)
    assert result.name in text and number in text and len(text.splitlines()) == 1, text


@pytest.mark.parametrize("chip", CHIPS)
def test_the_largest_stride_pad_and_dilation_work(chip: str) -> None:
    c = chip_named(chip)
    s = c.max_stride
    net = Net(c, "limits")
    x = net.input(1, 3, 2 * s + 1, 40)
    a = net.conv(x, 5, (1, 1), (s, s))
    b = net.conv(x, 5, (15, 15), (s, s), (15, 15, 15, 15))
    d = net.conv(net.input(1, 2, 33, 33), 3, (3, 3), dilations=(15, 15))
    check(net.done(a, b, d), c, simulate)


@pytest.mark.parametrize("chip", CHIPS)
def test_padding_beyond_the_field(chip: str) -> None:
    """More than 15 rows: the windows there have instructions of their own."""
    net = Net(chip_named(chip), "padding")
    x = net.input(1, 70, 20, 20)
    a = net.conv(x, 8, (3, 3), pads=(16, 17, 18, 20))
    b = net.depthwise(x, (15, 1), strides=(3, 15), pads=(100, 16, 0, 99))
    c = net.max_pool(x, (2, 3), (2, 1), (0, 30, 16, 0))
    check(net.done(a, b, c), chip_named(chip), simulate)


def test_stride_between_the_generations() -> None:
    """16 to 31: generation B only (hw/cv18xx-tiu.md section 1.3)."""
    for chip in CHIPS.values():
        net = Net(chip, "stride 20")
        graph = net.done(net.conv(net.input(1, 3, 41, 41), 4, (2, 2), (20, 20)))
        if chip.generation == "B":
            check(graph, chip, simulate)
        else:
            with pytest.raises(UnsupportedError, match="15"):
                compiled(graph, chip)
