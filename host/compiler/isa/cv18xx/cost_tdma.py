"""Cycles and DDR traffic of single TDMA instructions on plain numbers: hw/cv18xx.md section 9.2."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ...chip import Chip
from ...errors import InternalError

PAGE = 4096  # no burst crosses a multiple of it
BEAT = 16  # bytes per beat of a burst
UNIT = 64  # DDR moves whole units
BURST_BEATS = 16
TRANSPOSE_BURST_BEATS = 8  # c/w-transposed store
LOAD_GAP = 16  # bytes between neighbouring rows or planes that a load reads over
ASSUMED_COMPRESSION = (4, 5)  # time of a compressed load, as a share of the plain bytes
TILE_ROWS, TILE_BYTES = 8, 128  # transposed matrix load


def tdma_cycles(chip: Chip, *, ddr_bytes: float, local_words: int) -> float:
    """max(DDR bytes / bytes per cycle, local words), plus the chip's latency per command.

    ddr_bytes: traffic of the command as `ddr_traffic` counts it; local_words: see `local_words`.
    """
    return max(ddr_bytes / chip.ddr_bytes_per_cycle, local_words) + chip.tdma_command_cycles


def local_words(*, n: int, c: int, h: int, w: int, elem_bytes: int = 1, packed: bool = True) -> int:
    """Accesses of 16 bytes in local memory: n * c * ceil(h * w * e / 16) when the rows of a plane
    are packed, else n * c * h * ceil(w * e / 16).
    """
    if packed:
        return n * c * -(-h * w * elem_bytes // BEAT)
    return n * c * h * -(-w * elem_bytes // BEAT)


def ddr_traffic(
    row_bytes: int,
    rows: int = 1,
    row_stride: int = 0,
    planes: int = 1,
    plane_stride: int = 0,
    batches: int = 1,
    batch_stride: int = 0,
    *,
    start: int = 0,
    store: bool = False,
    burst_beats: int = BURST_BEATS,
) -> int:
    """DDR bytes that a transfer of batches x planes x rows pieces of row_bytes really moves.

    Rows merge when the gap between them is at most 16 bytes (load) or 0 (store), then planes, then
    batches. Every piece left is cut at multiples of 4096 and, from its first 16-byte beat on, into
    bursts of `burst_beats` beats; each burst counts as the 64-byte units that cover it. Strides in
    bytes; start: address of the first byte (only its position in a 4096-byte page matters).
    """
    dims = ((rows, row_stride), (planes, plane_stride), (batches, batch_stride))
    gap = 0 if store else LOAD_GAP
    piece = row_bytes
    level = 0
    for count, stride in dims:
        if count > 1:
            if not 0 <= stride - piece <= gap:
                break
            piece += (count - 1) * stride
        level += 1
    if level == 3:
        return int(piece_traffic(start % PAGE, piece, burst_beats))
    rest = tuple((c, s % PAGE) for c, s in dims[level:] if c > 1)
    return _repeated(start % PAGE, piece, rest, burst_beats)


def piece_traffic(start: Any, length: int, burst_beats: int = BURST_BEATS) -> Any:
    """The same for one contiguous piece; start may be an int or an int array of pieces."""
    beat = start % BEAT
    length = length + beat  # from the beginning of the first beat
    start = (start - beat) % PAGE
    room = PAGE - start
    first = np.minimum(length, room) if isinstance(start, np.ndarray) else min(length, room)
    burst = burst_beats * BEAT
    offset = start % UNIT
    last = (first - 1) // burst  # whole bursts before the last one
    units = last * ((offset + burst + UNIT - 1) // UNIT)
    units = units + (offset + first - last * burst + UNIT - 1) // UNIT
    return (units + (length - first + UNIT - 1) // UNIT) * UNIT


@lru_cache(maxsize=1 << 16)
def _repeated(start: int, piece: int, dims: tuple[tuple[int, int], ...], burst_beats: int) -> int:
    """Sum of `piece_traffic` over pieces at start + sum of i * stride for every (count, stride)."""
    at = np.array([start])
    for count, stride in dims:
        at = (at[:, None] + np.arange(count) * stride).ravel()
    return int(piece_traffic(at % PAGE, piece, burst_beats).sum())


def transposed_matrix_traffic(rows: int, cols: int, row_stride: int, *, start: int = 0) -> int:
    """DDR bytes of a transposed matrix load: it reads tiles of 8 rows x 128 bytes, row by row."""
    total = 0
    for column in range(0, cols, TILE_BYTES):
        width = min(TILE_BYTES, cols - column)
        total += ddr_traffic(
            width, 1, 0, rows, max(row_stride, width + LOAD_GAP + 1), start=start + column
        )
    return total


def compressed_traffic(plain_bytes: int) -> int:
    """DDR bytes assumed for the *time* of a compressed load: floor(0.8 * plain bytes), no bursts.

    The factor is the old compiler's constant; with it (and only with it) the TDMA times of
    zoo/baseline.json come out. Byte counts of a stream use the real size, see `compressed_bytes`.
    """
    return plain_bytes * ASSUMED_COMPRESSION[0] // ASSUMED_COMPRESSION[1]


def compressed_bytes(payload_bytes: int, elements: int) -> int:
    """Real size of a compressed stream: 16-byte header, block map (one byte per 16 elements, padded
    to 16), payload of the size in the header's bits 0..23 (hw/cv18xx-tdma.md section 6.1).
    """
    if elements < 1:
        raise InternalError(f"a compressed load of {elements} elements")
    blocks = -(-elements // 16)
    return 16 + -(-blocks // 16) * 16 + payload_bytes
