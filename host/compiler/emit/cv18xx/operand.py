"""A region of a tile as an operand of an instruction: address, strides, the bytes it touches."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...chip import Chip
from ...schedule.program import Region, Tile
from .ranges import UNIT, Range


@dataclass(frozen=True)
class Operand:
    """A 4-D tensor in local memory: shape, start lane, byte offset, byte strides (hw/cv18xx.md
    section 4.1). span: its first byte and the end; rows: bytes of each plane, if they are only some
    of its rows."""

    shape: tuple[int, int, int, int]
    lane: int
    offset: int
    strides: tuple[int, int, int, int]
    span: tuple[int, int]
    rows: int = 0

    @property
    def range(self) -> Range:
        """The bytes it lies in."""
        return (*self.span, self.strides[1], self.rows) if self.rows else self.span

    def address(self, chip: Chip) -> int:
        return self.lane * chip.lane_bytes + self.offset

    def row(self, y: int) -> Operand:
        """Row y alone (the span stays that of the whole)."""
        n, c, _, w = self.shape
        return replace(self, shape=(n, c, 1, w), offset=self.offset + y * self.strides[2])


def operand(tile: Tile, region: Region, chip: Chip) -> Operand:
    """The region `region` (coordinates of the tile's tensor) of a tile. Channels may begin at any
    lane."""
    e, whole = tile.itemsize, tile.region
    width = whole.shape[3] * e
    n_stride, c_stride = tile.groups * tile.plane, tile.plane
    channel = region.c[0] - whole.c[0]
    offset = (
        tile.addr
        + (region.n[0] - whole.n[0]) * n_stride
        + channel // chip.lanes * c_stride
        + (region.h[0] - whole.h[0]) * width
        + (region.w[0] - whole.w[0]) * e
    )
    n, c, h, w = region.shape
    lane = channel % chip.lanes
    end = (
        offset
        + (n - 1) * n_stride
        + ((lane + c - 1) // chip.lanes) * c_stride
        + (h - 1) * width
        + w * e
    )
    some = n == 1 and c > chip.lanes and h < whole.shape[2] and c_stride % UNIT == 0
    rows = (h - 1) * width + w * e if some else 0
    return Operand(region.shape, lane, offset, (n_stride, c_stride, width, e), (offset, end), rows)
