"""Loads and stores -> TDMA commands."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from ...chip import Chip
from ...schedule.layers import Tensor
from ...schedule.plan import channel_slices
from ...schedule.program import Load, Region, Store, Tile
from .compute import Emitter
from .matrix import blocks, right_operand, rows_operand
from .operand import Operand, operand
from .quantize import FloatPart, float_operand, is_quantised, tile_parts
from .tdma import IN_LOCAL, LOAD, STORE, Global
from .weights import TABLE_KINDS, Segment

WEIGHT_BASE = 1
PIECE_CYCLES = 400  # of a store that is cut


class Places:
    """Where the tensors and constants lie in DDR: (base register, byte offset) of every root
    tensor."""

    def __init__(self) -> None:
        self.roots: dict[Tensor, tuple[int, int]] = {}

    def of(self, tensor: Tensor, region: Region) -> Global:
        """The region of a tensor as a place in DDR."""
        root, offset, n_stride = tensor.placement()
        base, start = self.roots[root]
        _, _, h, w = tensor.shape
        e = tensor.itemsize
        start += (
            offset
            + region.n[0] * n_stride
            + ((region.c[0] * h + region.h[0]) * w + region.w[0]) * e
        )
        return Global(base, start, (n_stride, h * w * e, w * e))


def load_tile(e: Emitter, load: Load, places: Places) -> None:
    """A region of a tensor into its tile, or a part of it; or that part of another tile."""
    tile = load.tile
    assert tile is not None
    if load.source is not None:
        copy_rows(e, load.source, tile, load.part)
        return
    if tile.width:
        for block, region in blocks(tile, e.chip.lanes):
            source = places.of(tile.tensor, region)
            e.tdma.load_matrix(source, block, source.strides[0], region.shape[1])
        return
    if is_quantised(tile.tensor):
        load_floats(e, tile, places)
        return
    source, dest = places.of(tile.tensor, load.part), operand(tile, load.part, e.chip)
    shape = merge_rows(source, dest, load.part.shape)
    e.tdma.copy(LOAD, source, dest, shape)


def copy_rows(e: Emitter, source: Tile, dest: Tile, region: Region) -> None:
    """A region from tile to tile of one tensor."""
    a, b = operand(source, region, e.chip), operand(dest, region, e.chip)
    n, c, h, w = region.shape
    if a.strides[2] == b.strides[2] == w * a.strides[3]:
        h, w = 1, h * w
    e.tdma.copy(IN_LOCAL, a, b, (n, c, h, w * a.strides[3]))


def load_floats(e: Emitter, tile: Tile, places: Places) -> None:
    """The parts of a tile that is quantised (quantize.py), rows that are contiguous in one. All but
    the first are put off until the next computation, so that its commands come between them if it
    is a quantisation, and the first too if other transfers wait."""

    def load(part: FloatPart) -> None:
        box = part.box.inside(tile.region)
        source, dest = places.of(tile.tensor, box), float_operand(tile, part)
        n, c, rows, row = *box.shape[:3], 4 * box.shape[3]
        if source.strides[2] == row and rows * row <= 0xFFFF:
            rows, row = 1, rows * row
        e.tdma.copy(LOAD, source, dest, (n, c, rows, row), dst_shape=dest.shape)

    now = not e.late
    parts = tile_parts(tile, e.chip.lanes)
    e.late += [((tile, part), partial(load, part)) for part in parts]
    e.late_transfers(int(now))


def merge_rows(
    place: Global, local: Operand, shape: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """Rows that are contiguous on both sides become one (shape in bytes along w)."""
    n, c, h, w = shape
    w *= local.strides[3]
    if h > 1 and place.strides[2] == w and local.strides[2] == w and h * w <= 0xFFFF:
        return n, c, 1, h * w
    return n, c, h, w


def load_weights(e: Emitter, load: Load, pieces: list[tuple[Segment, int]]) -> None:
    """The segments of a slice of constants, each from its offset in the weight section; tables lie
    in DDR once and are copied from lane 0 to the other lanes."""
    assert load.weights is not None
    lanes, addr = e.chip.lanes, load.buffer.addr
    for seg, offset in pieces:
        groups = -(-seg.count // lanes)
        first = addr + seg.offset
        packed = int(seg.compressed)
        if load.weights.layer.kind == "fc":
            right = right_operand(first, seg.count, seg.row, lanes)
            e.tdma.load_matrix(
                Global(WEIGHT_BASE, offset, seg.ddr_strides),
                right,
                seg.ddr_strides[1],
                seg.row,
                compress_en=packed,
                cmprs_fmt=packed,
            )
            continue
        span = (first, first + (groups - 1) * seg.stride + seg.row)
        shape = (1, seg.count, seg.runs, seg.row // seg.runs)
        local = Operand(shape, 0, first, (groups * seg.stride, seg.stride, shape[3], 1), span)
        e.tdma.copy(
            LOAD,
            Global(WEIGHT_BASE, offset, seg.ddr_strides),
            local,
            shape,
            compress_en=packed,
            cmprs_fmt=packed,
        )
        if load.weights.layer.kind in TABLE_KINDS and lanes > 1:
            one = Operand((1, 1, lanes - 1, seg.row), 0, first, (0, 0, 0, 1), span)
            rest = Operand((1, lanes - 1, 1, seg.row), 1, first, local.strides, span)
            e.tdma.copy(IN_LOCAL, one, rest, one.shape, dst_shape=rest.shape)


def store(e: Emitter, s: Store, places: Places) -> None:
    """A region of a tile into its tensor, or into another tile."""
    if s.into is not None:
        copy_rows(e, s.tile, s.into, s.region)
        return
    if s.tile.width:
        place = places.of(s.tensor, s.region)
        e.tdma.store_matrix(rows_operand(s.tile), place, place.strides[0], s.region.shape[1])
        return
    dest, source = places.of(s.tensor, s.region), operand(s.tile, s.region, e.chip)
    shape = merge_rows(dest, source, s.region.shape)
    e.tdma.copy(STORE, source, dest, shape)


def store_pieces(s: Store, chip: Chip) -> list[Store]:
    """A store in parts of its channels, some hundred cycles each."""
    _, c, h, w = s.region.shape
    if s.tile.width:
        return [s]
    count = max(1, int(c * h * w * s.tensor.itemsize / chip.ddr_bytes_per_cycle / PIECE_CYCLES))
    first = s.region.c[0]
    return [
        replace(s, region=s.region._replace(c=(first + a, first + b)))
        for a, b in channel_slices(c, chip.lanes, count)
    ]
