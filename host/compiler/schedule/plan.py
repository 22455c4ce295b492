"""A plan: how one group of consecutive layers is cut.

A group runs tile by tile (parts of n, h and w); everything between its layers stays in local
memory. Constants are loaded once per group ("resident") or again for every tile ("streamed"), whole
or in slices of output channels. A group whose convolutions read only tensors from DDR may also be
cut along its output channels, inside or outside the loop over the tiles. A single convolution may
be cut along its input channels, with 32-bit partial sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from .layers import Layer, Tensor
from .regions import Interval


@dataclass
class WeightUse:
    """How the constants of one layer come in: slices of output channels (of a group that is not cut
    along channels);
    resident: loaded once for all tiles."""

    slices: list[Interval]
    resident: bool


class Estimate(NamedTuple):
    """What a plan costs. time: cycles; tdma, tiu: busy times of the engines; ddr: that of transfers
    to and from DDR; peak: bytes of local memory; risk: factor for what the time does not see."""

    time: float = 0.0
    tdma: float = 0.0
    ddr: float = 0.0
    tiu: float = 0.0
    peak: int = 0
    risk: float = 1.0

    def cycles(self, price: float) -> float:
        """The time with the price of a cycle of transfers to and from DDR: they cost something even
        when they are hidden behind computation."""
        return (self.time + price * self.ddr) * self.risk


@dataclass(eq=False)
class Plan:
    """tiles: parts along n, h, w. channels: parts of the output channels of the whole group (empty:
    not cut);
    channels_first: they are the outer loop. ic_slices: input-channel slices of a single
    convolution or fully connected layer. sums: number of the convolution or fully connected layer
    that sums up over `channels`, which then are parts of its input channels ("bottleneck").
    rolling: rows that neighbouring tiles along h share are kept, not computed or loaded again
    (rolling.py). bands: the first layer computes its rows in so many parts, each as soon as its own
    tile of the input has arrived.

    cycles: estimated time with the price of the transfers; estimate: where it comes from."""

    layers: list[Layer]
    tiles: tuple[int, int, int] = (1, 1, 1)
    weights: dict[Layer, WeightUse] = field(default_factory=dict)
    channels: list[Interval] = field(default_factory=list)
    channels_first: bool = False
    ic_slices: list[Interval] = field(default_factory=list)
    sums: int = -1
    rolling: bool = False
    bands: int = 1
    cycles: float = 0.0
    estimate: Estimate = field(default_factory=Estimate)

    @property
    def cuts(self) -> tuple:
        """The same for equal plans."""
        uses = tuple((x, tuple(u.slices), u.resident) for x, u in self.weights.items())
        cuts = tuple(self.channels), self.channels_first, tuple(self.ic_slices)
        return (tuple(self.layers), self.tiles, uses, *cuts, self.sums, self.rolling, self.bands)

    @property
    def is_nothing(self) -> bool:
        """A concat whose inputs lie in it already: no work."""
        return self.tiles == (0, 0, 0)


def group_tensors(layers: list[Layer]) -> tuple[list[Tensor], list[Tensor]]:
    """(tensors read from DDR, tensors written to DDR) of a group, each in order of first
    appearance."""
    members = set(layers)
    inside = {layer.output for layer in layers}
    sources = dict.fromkeys(x for layer in layers for x in layer.inputs if x not in inside)
    sinks = dict.fromkeys(layer.output for layer in layers if leaves_group(layer.output, members))
    return list(sources), list(sinks)


def leaves_group(t: Tensor, members: set[Layer]) -> bool:
    """A tensor must be written to DDR if somebody outside reads it: a layer, an alias or view, the
    caller."""
    return t.is_output or t.renamed or not t.consumers or any(c not in members for c in t.consumers)


CHANNELWISE = {
    "depthwise",
    "maxpool",
    "avgpool",
    "add",
    "mul",
    "requant",
    "relu",
    "leaky_relu",
    "prelu",
    "quantize",
    "dequantize",
}


SUMMING = ("conv", "fc")  # kinds whose every result needs all channels of the input


def channels_can_be_cut(layers: list[Layer]) -> bool:
    """May the group be cut along its output channels? Then channel c of every result needs channel
    c only, except in convolutions, which need all channels of their input and so must not read a
    result of the group."""
    inside = {layer.output for layer in layers}
    if len({t.shape[1] for t in inside}) > 1:
        return False
    for layer in layers:
        if layer.kind == "conv":
            if layer.inputs[0] in inside:
                return False
        elif layer.kind not in CHANNELWISE:
            return False
    return True


def summing_layer(layers: list[Layer]) -> int:
    """The number of the one convolution or fully connected layer that may sum up over parts of the
    channels that the layers before it make: they compute channel by channel, or are convolutions of
    tensors from DDR, and only they and it use their results. Nothing follows a fully connected
    layer, whose result is a matrix. -1: none."""
    inside = {layer.output: i for i, layer in enumerate(layers)}
    found = [
        i for i, layer in enumerate(layers) if layer.kind in SUMMING and layer.inputs[0] in inside
    ]
    if len(found) != 1 or found[0] == 0:
        return -1
    k = found[0]
    if layers[k].kind == "fc" and k < len(layers) - 1:
        return -1
    width = layers[k].inputs[0].shape[1]
    for i, layer in enumerate(layers):
        if i < k:
            if layer.output.shape[1] != width or not (
                layer.kind == "conv" or layer.kind in CHANNELWISE
            ):
                return -1
            if leaves_group(layer.output, set(layers[: k + 1])):
                return -1
        elif i > k and layer.kind not in CHANNELWISE:
            return -1
    return k


def channel_slices(channels: int, step: int, count: int) -> list[Interval]:
    """Cut channels into at most `count` slices of equal length, a multiple of `step`; the last may
    be shorter."""
    units = -(-channels // step)
    length = -(-units // count) * step
    return [(a, min(a + length, channels)) for a in range(0, channels, length)]
