"""Matrices as operands: rows x columns are (rows, c, 1, w) (hw/cv18xx.md section 4.5)."""

from __future__ import annotations

from ...schedule.program import Region, Tile
from .operand import Operand
from .spread import row_bytes, spread

MOST_COLUMNS = 0xFFFF  # of a transfer


def matrix_operand(offset: int, rows: int, columns: int, width: int, row: int) -> Operand:
    """A matrix at this byte of every lane; width: columns per channel; row: bytes per row."""
    plane = -(-width // 16) * 16
    shape = (rows, -(-columns // width), 1, width)
    return Operand(shape, 0, offset, (row, plane, width, 1), (offset, offset + rows * row))


def right_operand(offset: int, rows: int, columns: int, lanes: int) -> Operand:
    """A slice of the right matrix, or of it and the bias."""
    width = spread(columns, lanes)[1]
    return matrix_operand(offset, rows, columns, width, row_bytes(columns, lanes))


def rows_operand(tile: Tile) -> Operand:
    """The rows that a tile of one block holds. A tile of one value per channel is a matrix with
    one column per channel."""
    rows, columns, _, _ = tile.region.shape
    row = tile.plane * (1 if tile.width else tile.groups)
    return matrix_operand(tile.addr, rows, columns, tile.width or 1, row)


def blocks(tile: Tile, lanes: int) -> list[tuple[Operand, Region]]:
    """The matrices that make up a tile, with their regions. The blocks of a single row are one."""
    rows, columns, _, _ = tile.region.shape
    if rows == 1 and columns <= MOST_COLUMNS:
        row = tile.groups * tile.plane
        return [(matrix_operand(tile.addr, 1, columns, tile.width, row), tile.region)]
    found = []
    (first, last), step = tile.region.c, tile.width * lanes
    for i in range(tile.groups):
        c = first + i * step, min(first + (i + 1) * step, last)
        place = tile.addr + i * rows * tile.plane
        x = matrix_operand(place, rows, c[1] - c[0], tile.width, tile.plane)
        found.append((x, Region(tile.region.n, c, tile.region.h, tile.region.w)))
    return found
