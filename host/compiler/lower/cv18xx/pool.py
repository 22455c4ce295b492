"""Pooling.

MaxPool keeps the scale; ceil_mode becomes padding (fill -128 never wins against data). The maximum
over a window that is larger than the memory of a lane is taken over strips of a whole picture, or
over the rows of another window, then over these maxima.

AvgPool: y = sum(x) / count -> y_q = Q(f * sum(x_q), m, s), m / 2^(31+s) = s_in / s_out / count / f
One (m, s) per count. f = 127 keeps fraction bits between the two roundings of Q; it is smaller
where 128 * f * count would not fit 31 bits.

The average over a window that is larger than the memory of a lane is a matrix product, which sums
up in 32 bits over as many pieces as it takes: rows (n*c, h*w) times (h*w, oh*ow), whose column of a
window has f inside and 0 outside. Windows that count differently, or make a matrix of more than
64 MB, stay AvgPool.

Where the ratio s_in / s_out / count is k / 2^s with k < 256, and one for all windows, the plain
form is exact, takes no parameters and has one rounding: y_q = R(k * sum(x_q), s). `plain_threshold`
moves a threshold that nobody depends on there.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ... import top, tpu
from ...errors import UnsupportedError
from ...ir import Value
from ...tpu.arith import multiplier_and_shift
from ...tpu.kernels import window_counts
from .context import Context, lowers

SMALL_PARTS = 64  # bytes of a lane beside the picture: results and parameters
STRIP = 15  # rows of a strip: the largest stride of all chips
MOST_CONSTANTS = 1 << 26  # bytes of the matrix of an average


@lowers(top.MaxPool)
def lower_max_pool(ctx: Context, op: top.MaxPool) -> Value:
    scale, pads = ctx.scale(op.results[0]), effective_pads(op)
    x, kernel, strides = ctx.get(op.x, scale), tuple(op.kernel_shape), tuple(op.strides)
    if _too_large(ctx, x, kernel):
        if kernel != x.shape[2:] or any(pads):
            return _by_rows(ctx, op, x, pads)
        h, w = kernel
        count = -(-h // STRIP)
        x = ctx.add(
            tpu.MaxPool, [x], f"{op.name}_strips", scale, kernel_shape=(STRIP, w),
            strides=(STRIP, 1), pads=(0, 0, count * STRIP - h, 0),
        )  # fmt: skip
        kernel, strides = (count, 1), (1, 1)
    return ctx.add(
        tpu.MaxPool, [x], op.name, scale, kernel_shape=kernel, strides=strides, pads=pads,
        do_relu=op.do_relu,
    )  # fmt: skip


def _by_rows(ctx: Context, op: top.MaxPool, x: Value, pads: tuple[int, int, int, int]) -> Value:
    """The maximum of each row of a window, then of these along the columns."""
    t, left, b, right = pads
    (h, w), (sy, sx) = op.kernel_shape, op.strides
    rows = ctx.add(
        tpu.MaxPool, [x], f"{op.name}_rows", x.type.scale, kernel_shape=(1, w), strides=(1, sx),
        pads=(0, left, 0, right),
    )  # fmt: skip
    return ctx.add(
        tpu.MaxPool, [rows], op.name, x.type.scale, kernel_shape=(h, 1), strides=(sy, 1),
        pads=(t, 0, b, 0), do_relu=op.do_relu,
    )  # fmt: skip


def _too_large(ctx: Context, x: Value, kernel: tuple[int, ...]) -> bool:
    """Is what a window covers of the picture larger than the memory of a lane?"""
    covered = min(kernel[0], x.shape[2]) * min(kernel[1], x.shape[3])
    return covered + SMALL_PARTS > ctx.chip.lane_bytes


@lowers(top.AvgPool)
def lower_avg_pool(ctx: Context, op: top.AvgPool) -> Value:
    x, scale, pads = ctx.get(op.x), ctx.scale(op.results[0]), effective_pads(op)
    assert x.type.scale is not None
    counted = op.pads if op.count_include_pad else (0, 0, 0, 0)
    counts = np.unique(
        window_counts(x.shape[2:], op.kernel_shape, op.strides, pads, counted)
    ).tolist()
    too_large = _too_large(ctx, x, tuple(op.kernel_shape))
    area = op.kernel_shape[0] * op.kernel_shape[1]
    ratio = x.type.scale / scale / counts[0]
    k, shift = plain_pair(ratio)
    if is_exact(ratio, k, shift) and not (
        len(counts) > 1 or op.do_relu or too_large or 128 * k * area >= 2**31
    ):
        return ctx.add(
            tpu.AvgPool, [x], op.name, scale, kernel_shape=op.kernel_shape, strides=op.strides,
            pads=pads, counted_pads=counted, factor=k, counts=counts, shifts=[shift],
        )  # fmt: skip
    factor = min(127, (2**31 - 1) // (128 * area))
    ratios = [x.type.scale / scale / count / factor for count in counts]
    if factor < 1 or max(ratios) >= 1:
        raise UnsupportedError(
            f"{op.name}: window {op.kernel_shape} with scales {x.type.scale:.3g} -> {scale:.3g} "
            "can not be averaged in INT8"
        )
    pairs = [multiplier_and_shift(r) for r in ratios]
    if too_large and len(counts) == 1:
        inside = _windows(op, x, pads)
        if inside.size <= MOST_CONSTANTS:
            return _as_matrix(ctx, op, x, inside, factor, *pairs[0])
    return ctx.add(
        tpu.AvgPool, [x], op.name, scale, kernel_shape=op.kernel_shape, strides=op.strides,
        pads=pads, counted_pads=counted,
        factor=factor, counts=counts, multipliers=[m for m, _ in pairs], shifts=[s for _, s in
        pairs], do_relu=op.do_relu,
    )  # fmt: skip


def _windows(op: top.AvgPool, x: Value, pads: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """(h, w, oh, ow): does the window of an output position cover the input position?"""
    covered = []
    for axis in (0, 1):
        size, kernel, stride = x.shape[2 + axis], op.kernel_shape[axis], op.strides[axis]
        count = (size + pads[axis] + pads[2 + axis] - kernel) // stride + 1
        at = np.arange(size)[:, None] - (np.arange(count) * stride - pads[axis])
        covered.append((at >= 0) & (at < kernel))
    rows, columns = covered
    return rows[:, None, :, None] & columns[None, :, None, :]


def _as_matrix(
    ctx: Context,
    op: top.AvgPool,
    x: Value,
    inside: NDArray[np.bool_],
    factor: int,
    multiplier: int,
    shift: int,
) -> Value:
    """The same integers as rows (n*c, h*w) @ (h*w, oh*ow)."""
    n, c, _, _ = x.shape
    h, w, oh, ow = inside.shape
    scale, in_scale = ctx.scale(op.results[0]), x.type.scale
    rows = ctx.add(tpu.Reshape, [x], f"{op.name}_rows", in_scale, shape=(n * c, h * w, 1, 1))
    data = inside.reshape(h * w, oh * ow) * np.int8(factor)
    right = ctx.const(f"{op.name}_right", data, np.int8)
    sums = ctx.add(
        tpu.MatMul, [rows, right, None], f"{op.name}_column", scale, multiplier=multiplier,
        shift=shift, do_relu=op.do_relu,
    )  # fmt: skip
    return ctx.add(tpu.Reshape, [sums], op.name, scale, shape=(n, c, oh, ow))


def plain_pair(ratio: float) -> tuple[int, int]:
    """(k, s): k / 2^s nearest to the ratio, 128 <= k < 256, 0 <= s <= 31 (k is smaller for ratios
    beyond these, and 0 where there is no such pair)."""
    s = min(31, max(0, 7 - math.floor(math.log2(ratio))))
    k = round(ratio * 2.0**s)
    if k == 256 and s:
        k, s = 128, s - 1
    return (k, s) if k < 256 else (0, 0)


def is_exact(ratio: float, k: int, s: int) -> bool:
    """Is the ratio k / 2^s but for the rounding of float64?"""
    return k > 0 and abs(ratio * 2.0**s / k - 1) < 1e-12


def plain_threshold(op: top.AvgPool, threshold_in: float, threshold: float) -> float:
    """The threshold next to this one with which the plain form is exact (by at most 0.4 %);
    unchanged where the windows differ or the result has a relu."""
    counts = set(op.counts(0)), set(op.counts(1))
    if op.do_relu or any(len(c) > 1 for c in counts):
        return threshold
    count = counts[0].pop() * counts[1].pop()
    k, s = plain_pair(threshold_in / threshold / count)
    near = threshold_in / count * 2.0**s / k if k else threshold
    return near if abs(near / threshold - 1) < 1 / 255 else threshold


def effective_pads(op: top.Pool) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) so that rounding down gives the declared result: ceil_mode
    enlarges bottom and right."""
    shape = op.results[0].shape if op.keepdims else (*op.results[0].shape, 1, 1)
    pads = list(op.pads)
    for i in (0, 1):
        needed = (
            (shape[2 + i] - 1) * op.strides[i] + op.kernel_shape[i] - op.x.shape[2 + i] - pads[i]
        )
        pads[2 + i] = max(pads[2 + i], needed)
    return pads[0], pads[1], pads[2], pads[3]
