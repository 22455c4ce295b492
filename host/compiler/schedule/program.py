"""What the scheduler hands to the emitter: buffers, tiles, and the serial list of transfers and
computations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from .layers import Layer, LayerGraph, Tensor, Window
from .plan import Plan
from .regions import Interval


@dataclass(eq=False, slots=True)
class Buffer:
    """A range of local memory, the same in all lanes.

    size: bytes per lane. temp: further bytes behind it that are used from step `first` to
    `temp_last`. first, last: the steps of the first and the last computation that touches it. slot:
    the step before which its load is issued (<= first);
    ready: the first slot in which its source is complete in DDR; lead: how many steps before
    `first` the load should be issued; constants may be issued out of turn. drain: how many steps
    behind its last one its store may still be running. loaded: all of it comes by loads; filled:
    some rows of a result do.
    """

    name: str
    size: int
    first: int
    last: int
    loaded: bool = False
    filled: bool = False
    temp: int = 0
    temp_last: int = -1
    long_lived: bool = False
    stored: bool = False
    constant: bool = False
    ready: int = 0
    lead: int = 0
    drain: int = 1
    slot: int = -1
    addr: int = -1

    def __post_init__(self) -> None:
        if self.temp_last < self.first:
            self.temp_last = self.first

    def extent(self, step: int) -> int:
        """Bytes in use during a step of its life."""
        return self.size + self.temp if step <= self.temp_last else self.size

    def move(self, steps: int) -> None:
        """Shift its life by a number of steps."""
        self.first += steps
        self.last += steps
        self.temp_last += steps


class Region(NamedTuple):
    """Half-open intervals of n, c, h, w of a tensor."""

    n: Interval
    c: Interval
    h: Interval
    w: Interval

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (
            self.n[1] - self.n[0],
            self.c[1] - self.c[0],
            self.h[1] - self.h[0],
            self.w[1] - self.w[0],
        )

    def inside(self, outer: Region) -> Region:
        """This one, whose intervals count from the beginning of `outer`."""
        own, begin = (self.n, self.c, self.h, self.w), (outer.n, outer.c, outer.h, outer.w)
        return Region(*((a + o[0], b + o[0]) for (a, b), o in zip(own, begin, strict=True)))


@dataclass(eq=False, slots=True)
class Tile:
    """A region of a tensor in local memory: aligned layout at byte `offset` of a buffer. groups:
    channel groups per image of the buffer it lies in (its n stride in units of the plane size);
    itemsize in local memory. width: columns per channel if it holds rows of a matrix (matrix.py),
    else 0."""

    tensor: Tensor
    region: Region
    buffer: Buffer
    offset: int
    plane: int
    groups: int
    itemsize: int = 1
    width: int = 0

    @property
    def addr(self) -> int:
        return self.buffer.addr + self.offset


def span(tile: Tile, region: Region, lanes: int) -> tuple[int, int]:
    """Bytes (first, end) of its buffer that a region of a tile lies in: whole channel groups of one
    image; of several images, of a matrix and of what is not int8 the whole buffer."""
    if tile.region.shape[0] > 1 or tile.width or tile.itemsize > 1:
        return 0, tile.buffer.size
    a, b = region.c[0] - tile.region.c[0], region.c[1] - tile.region.c[0]
    return tile.offset + a // lanes * tile.plane, tile.offset + -(-b // lanes) * tile.plane


@dataclass(eq=False, slots=True)
class WeightSlice:
    """Constants of a layer for output channels oc and input channels ic, as one block per lane."""

    layer: Layer
    oc: Interval
    ic: Interval
    size: int

    @property
    def last(self) -> bool:
        """It ends with the last input channel: bias and parameters come with it."""
        return self.ic[1] == self.layer.inputs[0].shape[1]


@dataclass(eq=False, slots=True)
class Load:
    """DDR -> local: a tile of a tensor (or its part `region`), or a weight slice. ready: the first
    slot in which its source is complete in DDR; free: the first in which its bytes in local memory
    are, if that is later than for its buffer. source: a tile in local memory that the part comes
    from instead (rolling.py)."""

    buffer: Buffer
    tile: Tile | None = None
    weights: WeightSlice | None = None
    region: Region | None = None
    ready: int = 0
    free: int = 0
    source: Tile | None = None

    @property
    def part(self) -> Region:
        """The region of a tile that is loaded."""
        assert self.tile is not None
        return self.region or self.tile.region

    @property
    def far(self) -> bool:
        """From DDR?"""
        return self.source is None

    @property
    def slot(self) -> int:
        """The slot in which it is issued."""
        return max(self.buffer.slot, self.ready, self.free)

    def span(self, lanes: int) -> tuple[int, int]:
        """Bytes (first, end) of its buffer that it writes."""
        return (0, self.buffer.size) if self.tile is None else span(self.tile, self.part, lanes)


@dataclass(eq=False, slots=True)
class Store:
    """Local -> DDR: the region of the tensor, out of the tile. into: a tile in local memory that it
    goes to instead (rolling.py)."""

    tile: Tile
    tensor: Tensor
    region: Region
    into: Tile | None = None

    @property
    def far(self) -> bool:
        """To DDR?"""
        return self.into is None


def feeds(store: Store, t: Tensor, region: Region) -> bool:
    """May the store write bytes of a region of t? Exact for one tensor and channel views, cautious
    where an alias renames the bytes."""
    other, a = store.tensor, store.region
    shift = 0
    if store.into is not None:
        return False
    if other is not t:
        if other.root is not t.root:
            return False
        x, y = other.root_channel, t.root_channel
        if x is None or y is None:
            return True
        shift = x - y
    return (
        a.c[0] + shift < region.c[1]
        and region.c[0] < a.c[1] + shift
        and a.h[0] < region.h[1]
        and region.h[0] < a.h[1]
        and a.w[0] < region.w[1]
        and region.w[0] < a.w[1]
        and a.n[0] < region.n[1]
        and region.n[0] < a.n[1]
    )


@dataclass(eq=False, slots=True)
class Compute:
    """One computation: region `out_region` of tile `out`, from regions of the input tiles.

    kind: the layer's kind, or "copy" (moves a region between tiles). oc, ic: channel intervals of
    this slice;
    partial: position in a sum over input-channel slices: "only", "first", "middle", "last"."""

    kind: str
    layer: Layer
    out: Tile
    out_region: Region
    ins: list[tuple[Tile, Region]]
    weights: WeightSlice | None = None
    weight_buffer: Buffer | None = None
    partial: str = "only"


Action = Load | Compute | Store


@dataclass(eq=False, slots=True)
class Step:
    """A computation with the transfers it introduces: loads that must be complete before it, stores
    after it."""

    compute: Compute | None
    loads: list[Load] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)
    group: int = 0

    @property
    def transfers(self) -> Iterator[Load | Store]:
        yield from self.loads
        yield from self.stores


def step_buffers(steps: list[Step]) -> list[Buffer]:
    """The buffers of the steps in order of first use."""
    found: dict[Buffer, None] = {}
    for s in steps:
        for load in s.loads:
            found[load.buffer] = None
        if s.compute is not None:
            found[s.compute.out.buffer] = None
        for store in s.stores:
            if store.into is not None:
                found[store.into.buffer] = None
    return list(found)


@dataclass
class Program:
    """actions: loads, computations and stores in the order in which the engines get them.
    local: tensors that are handed from group to group in local memory and have no place in DDR."""

    graph: LayerGraph
    steps: list[Step]
    actions: list[Action]
    groups: list[list[Layer]]
    plans: list[Plan] = field(default_factory=list)
    local: set[Tensor] = field(default_factory=set)


class Backend(Protocol):
    """What the scheduler asks about a chip. Sizes are bytes per lane, times are cycles."""

    local_bytes: int
    lanes: int
    alignment: int  # bytes: of planes and blocks, so of all buffers
    max_dim: int  # most channels, rows or columns of an operand of a computation
    prices: tuple[float, ...]  # of a cycle of DDR transfers; plans are looked for with each of them

    def plane_bytes(self, h: int, w: int) -> int:
        """A channel of 8-bit elements."""

    def tile_planes(self, tensor: Tensor, c: int, h: int, w: int) -> tuple[int, int]:
        """(planes, bytes of one) of an image of a tile: usually a plane per `lanes` channels."""

    def weight_bytes(self, layer: Layer, oc: int, ic: int, last: bool = True) -> int:
        """Bytes per lane of the constants of `oc` output and `ic` input channels; 0: the layer has
        none. last: with what only the last part of the input channels needs."""

    def channel_step(self, layer: Layer) -> int:
        """Output channels may be cut at multiples of this; 0: not at all."""

    def temp_bytes(self, layer: Layer, shape: tuple[int, int, int, int]) -> int:
        """Bytes that a computation needs behind its output tile of that shape while it runs."""

    def compute_cycles(
        self, kind: str, layer: Layer, out: tuple[int, int, int, int], ic: int, partial: bool
    ) -> float: ...

    def transfer_cycles(
        self, shape: tuple[int, int, int, int], tensor: Tensor, store: bool
    ) -> float:
        """Time of moving a tile of that shape between DDR and local memory."""

    def copy_cycles(self, shape: tuple[int, int, int, int], itemsize: int) -> float:
        """Time of a transfer of that shape inside local memory."""

    def weight_cycles(self, size: int) -> float: ...

    def constant_cycles(self, layer: Layer, size: int) -> float:
        """As weight_cycles, as the constants of this layer are stored."""

    def spread(self, columns: int) -> tuple[int, int]:
        """(channels, columns per channel) of the rows of a matrix in local memory; at most `lanes`
        channels."""

    def matrix_cycles(self, shape: tuple[int, int, int, int]) -> float:
        """Time of moving that many rows and columns (n, c) of a matrix between DDR and local
        memory."""

    def window(self, layer: Layer) -> Window:
        """The window as the chip does it (a dilated kernel may be spread with zeros)."""

    def can_sum(self, layer: Layer) -> bool:
        """Can the layer add parts of its input channels to sums in local memory?"""

    def check(self, layer: Layer) -> None:
        """Raise UnsupportedError or DoesNotFitError if no tiling can make the chip do this
        layer."""
