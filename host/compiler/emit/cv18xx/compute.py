"""Computations -> TIU commands: one function per kind of layer.

Each says in its docstring which instructions make the value that `tpu/` defines for the op.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from ...chip import align16
from ...errors import InternalError
from ...schedule.layers import POINT, Layer
from ...schedule.program import Compute, Region
from .commands import CommandList
from .dequantize import dequantize
from .matrix import right_operand, rows_operand
from .operand import Operand, operand
from .quantize import quantize
from .softmax import softmax
from .tdma import Tdma
from .tiu import Tiu
from .weights import padded_inputs, parameter_bytes, weights_and_parameters
from .windows import Piece, window_pieces


class Emitter:
    """Turns computations into commands."""

    def __init__(self, commands: CommandList):
        self.commands, self.chip = commands, commands.chip
        self.tiu, self.tdma = Tiu(commands), Tdma(commands)
        self.late: list[tuple[object, Callable[[], None]]] = []  # what is moved, how

    def compute(self, c: Compute) -> None:
        """The commands of a computation. Quantize issues the late transfers between its own."""
        if c.kind != "quantize":
            self.late_transfers(len(self.late))
        KINDS[c.kind](self, c)

    def late_transfers(self, count: int) -> None:
        """Issue the next `count` loads or stores that were put off."""
        for _, transfer in self.late[:count]:
            transfer()
        del self.late[:count]

    def late_transfer_of(self, what: object) -> None:
        """Issue what was put off up to the transfer of `what`."""
        known = [key for key, _ in self.late]
        self.late_transfers(known.index(what) + 1 if what in known else 0)

    # ---- helpers
    def operands(self, c: Compute) -> tuple[Operand, list[Operand]]:
        """(result, inputs) of a computation."""
        out = operand(c.out, c.out_region, self.chip)
        return out, [operand(tile, region, self.chip) for tile, region in c.ins]

    def temp(self, c: Compute, like: Operand) -> Operand:
        """The temporary tile behind the result: same shape and strides in bytes of 8-bit elements,
        aligned."""
        n, ch, h, w = like.shape
        groups, plane = -(-ch // self.chip.lanes), align16(h * w)
        offset = c.out.buffer.addr + c.out.buffer.size
        return Operand(
            like.shape,
            0,
            offset,
            (groups * plane, plane, w, 1),
            (offset, offset + n * groups * plane),
        )

    def blob(self, c: Compute) -> int:
        if c.weight_buffer is None:
            raise InternalError(f"{c.layer.name}: its constants are not in local memory")
        return c.weight_buffer.addr

    def pieces(self, c: Compute, part: Region | None = None) -> Iterator[Piece]:
        """The instructions that compute the output region (or a part of it)."""
        tile, region = c.ins[0]
        return window_pieces(c.layer, c.out, part or c.out_region, tile, region.c, self.chip)


def conv(e: Emitter, c: Compute) -> None:
    """One quantised convolution (tiu page 5.9) on a slice of output and input channels. Where its
    windows lie in the padding there is nothing to sum up: the last slice makes the result."""
    assert c.weights is not None
    layer, base = c.layer, e.blob(c)
    groups = -(-c.out_region.shape[1] // e.chip.lanes)
    places = weights_and_parameters(layer, groups, c.weights.last)
    weights, params = (base + x for x in places)
    for piece in e.pieces(c):
        partial, end = c.partial, c.out.buffer.addr + c.out.buffer.size + c.out.buffer.temp
        if piece.padding and partial in ("first", "middle"):
            continue
        if piece.padding or partial == "only":
            partial, end = "only", piece.out.span[1]
        e.tiu.conv(
            piece.x,
            piece.out,
            piece.window,
            channels=padded_inputs(piece.x.shape[1], e.chip),
            weights=weights,
            params=params,
            with_bias=parameter_bytes(layer) == 9,
            relu=layer.op.attrs["do_relu"],
            partial=partial,
            out_end=end,
            blob=(base, base + c.weights.size),
        )


def fully_connected(e: Emitter, c: Compute) -> None:
    """One quantised matrix multiplication (tiu page 5.11); the bias is the last four rows of the
    right matrix."""
    assert c.weights is not None
    layer, base, (tile, region) = c.layer, e.blob(c), c.ins[0]
    left, out = rows_operand(tile), rows_operand(c.out)
    inner = region.shape[1]
    right = right_operand(base, inner, c.out_region.shape[1], e.chip.lanes)
    e.tiu.matrix(
        left,
        right,
        out,
        bias=right.span[1] if layer.op.operand("bias") is not None else None,
        multiplier=layer.op.attrs["multiplier"],
        shift=layer.op.attrs["shift"],
        relu=layer.op.attrs["do_relu"],
        partial=c.partial,
        last=inner - left.shape[3] * (left.shape[1] - 1),
        out_end=c.out.buffer.addr + c.out.buffer.size + c.out.buffer.temp,
        blob=(base, base + c.weights.size),
    )


def depthwise(e: Emitter, c: Compute) -> None:
    """One quantised depthwise convolution (tiu page 5.8)."""
    assert c.weights is not None
    layer, base = c.layer, e.blob(c)
    groups = -(-c.out_region.shape[1] // e.chip.lanes)
    weights, params = (base + x for x in weights_and_parameters(layer, groups))
    for p in e.pieces(c):
        e.tiu.depthwise(
            p.x,
            p.out,
            p.window,
            weights=weights,
            constant=0,
            params=params,
            with_bias=parameter_bytes(layer) == 9,
            relu=layer.op.attrs["do_relu"],
            blob=(base, base + c.weights.size),
        )


def max_pool(e: Emitter, c: Compute) -> None:
    """One maximum pooling; a fill value of 0 instead of -128 is the relu (tiu page 5.7)."""
    fill = 0 if c.layer.op.attrs["do_relu"] else 0x80 if e.chip.generation == "A" else 0xFF80
    for p in e.pieces(c):
        e.tiu.max_pool(p.x, p.out, p.window, fill=fill)


def avg_pool(e: Emitter, c: Compute) -> None:
    """The plain form is an instruction (tiu page 5.7). Else depthwise convolutions with constant
    weight `factor` and the multiplier of the window's count: one per rectangle of equal counts (one
    in all unless padding is not counted)."""
    layer, a = c.layer, c.layer.op.attrs
    if not a["multipliers"]:
        for p in e.pieces(c):
            e.tiu.average_pool(
                p.x, p.out, p.window, factor=a["factor"], shift=a["shifts"][0],
            )  # fmt: skip
        return
    base = e.blob(c)
    run = align16(-(-c.out_region.shape[1] // e.chip.lanes) * 5)
    assert c.weights is not None
    for part, count in count_rectangles(layer, c.out_region):
        for p in e.pieces(c, part):
            e.tiu.depthwise(
                p.x,
                p.out,
                p.window,
                weights=None,
                constant=a["factor"],
                params=base + a["counts"].index(count) * run,
                with_bias=False,
                relu=a["do_relu"],
                blob=(base, base + c.weights.size),
            )


def count_rectangles(layer: Layer, region: Region) -> list[tuple[Region, int]]:
    """The rectangles of the output region whose windows cover equally many counted positions."""
    counts = np.asarray(layer.op.window_counts())  # type: ignore[attr-defined]
    rows, cols = _runs(counts, region.h, 0), _runs(counts, region.w, 1)
    return [(Region(region.n, region.c, h, w), int(counts[h[0], w[0]])) for h in rows for w in cols]


def _runs(counts: np.ndarray, interval: tuple[int, int], axis: int) -> list[tuple[int, int]]:
    """Cut an interval where the counts change along the axis."""
    a, b = interval
    part = counts[a:b] if axis == 0 else counts[:, a:b].T
    cuts = [a, *(a + i for i in range(1, b - a) if not np.array_equal(part[i], part[i - 1])), b]
    return list(pairwise(cuts))


def add(e: Emitter, c: Compute) -> None:
    """r16 = a * m0 (mul), then sat8(relu(R(b * m1 + r16, shift))) (mac) (tiu page 5.3)."""
    out, (x, y) = e.operands(c)
    a = c.layer.op.attrs
    high = c.out.buffer.size + (c.out.buffer.addr - out.offset)
    e.tiu.multiply_to_16(out, x, a["multipliers"][0], high)
    e.tiu.multiply_add(out, y, a["multipliers"][1], high, a["shift"], a["do_relu"])


def mul(e: Emitter, c: Compute) -> None:
    """One quantised multiplication; the second operand may be one value per channel (strides 0)."""
    out, (x, y) = e.operands(c)
    a = c.layer.op.attrs
    if y.shape != x.shape:
        y = Operand(out.shape, y.lane, y.offset, (y.strides[0], y.strides[1], 0, 0), y.span)
    e.tiu.multiply_quantised(out, x, y, a["multiplier"], a["shift"], a["do_relu"])


def requant(e: Emitter, c: Compute) -> None:
    """One quantised multiplication by the constant factor."""
    out, (x,) = e.operands(c)
    a = c.layer.op.attrs
    e.tiu.multiply_quantised(out, x, a["factor"], a["multiplier"], a["shift"], a["do_relu"])


def relu(e: Emitter, c: Compute) -> None:
    """max(x, 0)."""
    out, (x,) = e.operands(c)
    e.tiu.maximum(out, x, 0)


def leaky_relu(e: Emitter, c: Compute) -> None:
    """Q(x * factor, multiplier, shift), then the maximum with x."""
    out, (x,) = e.operands(c)
    a = c.layer.op.attrs
    e.tiu.multiply_quantised(out, x, a["factor"], a["multiplier"], a["shift"], False)
    e.tiu.maximum(out, x, out)


def prelu(e: Emitter, c: Compute) -> None:
    """t = min(x, 0); result = depthwise 1x1 of t; t = max(x, 0); result |= t (one of the two is
    0)."""
    assert c.weights is not None
    out, (x,) = e.operands(c)
    t, base = e.temp(c, out), e.blob(c)
    groups = -(-out.shape[1] // e.chip.lanes)
    weights, params = (base + x for x in weights_and_parameters(c.layer, groups))
    e.tiu.minimum(t, x, 0)
    e.tiu.depthwise(
        t,
        out,
        POINT,
        weights=weights,
        constant=0,
        params=params,
        with_bias=False,
        relu=False,
        blob=(base, base + c.weights.size),
    )
    e.tiu.maximum(t, x, 0)
    e.tiu.bit_or(out, out, t)


def copy(e: Emitter, c: Compute) -> None:
    """Bytes of a region into another tile."""
    out, (x,) = e.operands(c)
    e.tiu.copy(out, x)


KINDS: dict[str, Callable[[Emitter, Compute], None]] = {
    "conv": conv,
    "fc": fully_connected,
    "depthwise": depthwise,
    "maxpool": max_pool,
    "avgpool": avg_pool,
    "add": add,
    "mul": mul,
    "requant": requant,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "prelu": prelu,
    "copy": copy,
    "quantize": quantize,
    "dequantize": dequantize,
    "softmax": softmax,
}
