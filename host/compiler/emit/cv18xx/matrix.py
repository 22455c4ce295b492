"""Matrices as operands: rows x columns are (rows, c, 1, w) (hw/cv18xx.md section 4.5)."""

from __future__ import annotations

from ...schedule.program import Tile
from .operand import Operand
from .spread import row_bytes, spread


def matrix_operand(offset: int, rows: int, columns: int, lanes: int) -> Operand:
    """A matrix at this byte of every lane."""
    channels, width = spread(columns, lanes)
    stride, plane = row_bytes(columns, lanes), -(-width // 16) * 16
    return Operand(
        (rows, channels, 1, width),
        0,
        offset,
        (stride, plane, width, 1),
        (offset, offset + rows * stride),
    )


def rows_operand(tile: Tile) -> Operand:
    """The rows that a tile holds."""
    rows, columns, _, _ = tile.region.shape
    stride = tile.groups * tile.plane
    shape = (rows, -(-columns // tile.width), 1, tile.width)
    return Operand(
        shape,
        0,
        tile.addr,
        (stride, tile.plane, tile.width, 1),
        (tile.addr, tile.addr + rows * stride),
    )
