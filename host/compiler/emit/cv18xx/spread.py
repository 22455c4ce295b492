"""How the columns of a matrix lie in the lanes (hw/cv18xx.md section 4.5)."""

from __future__ import annotations

from ...chip import align16


def spread(columns: int, lanes: int) -> tuple[int, int]:
    """(channels, columns per channel) of 8-bit rows: all lanes and their 16 units get work."""
    if columns < 16:
        return 1, columns
    width = 16 * -(-columns // (16 * lanes))
    return -(-columns // width), width


def row_bytes(columns: int, lanes: int) -> int:
    """Bytes per lane of one row."""
    return align16(spread(columns, lanes)[1])
