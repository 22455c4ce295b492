"""Exact integer sums over windows: convolution by BLAS, depthwise and pooling by shifted additions.

Why floating point is exact: every partial sum of sum(w * x), |x| <= 128, is an integer of magnitude
<= 128 * sum|w|. When that is below 2^24 (2^53) float32 (float64) represents all of them, so neither
the order of summation nor FMA matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

I8: TypeAlias = NDArray[np.int8]
I32: TypeAlias = NDArray[np.int32]

_COLUMN_BYTES = 8 << 20


def out_size(
    size: int, kernel: int, stride: int, before: int, after: int, dilation: int = 1
) -> int:
    """Output rows (or columns) of a window operation, rounded down (hw/cv18xx-tiu.md section
    5.6)."""
    return (size + before + after - ((kernel - 1) * dilation + 1)) // stride + 1


def pad(x: NDArray, pads: Sequence[int], fill: int) -> NDArray:
    """(n, c, h, w) with pads (top, left, bottom, right)."""
    t, left, b, r = pads
    if not any(pads):
        return x
    return np.pad(x, ((0, 0), (0, 0), (t, b), (left, r)), constant_values=fill)


def taps(x: NDArray, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int],
         out: Sequence[int]) -> Iterator[tuple[int, int, NDArray]]:  # fmt: skip
    """(i, j, view): the input elements that tap (i, j) of the kernel meets, shape (n, c, oh,
    ow)."""
    (kh, kw), (sy, sx), (dy, dx), (oh, ow) = kernel, strides, dilations, out
    for i in range(kh):
        for j in range(kw):
            y0, x0 = i * dy, j * dx
            yield i, j, x[:, :, y0 : y0 + (oh - 1) * sy + 1 : sy, x0 : x0 + (ow - 1) * sx + 1 : sx]


def matmul_exact(a: I8, b: I8) -> I32:
    """a[m, k] @ b[k, n] for int8, exact in 32 bits (k < 2^17), by float32 BLAS in slices of k where
    the bound holds."""
    m, k = a.shape
    bound = 128 * int(np.abs(a, dtype=np.int32).sum(axis=1).max(initial=0))
    step = k if bound < 1 << 24 else 1024
    acc = None
    for k0 in range(0, k, step):
        part = np.matmul(
            a[:, k0 : k0 + step].astype(np.float32), b[k0 : k0 + step].astype(np.float32)
        ).astype(np.int32)
        acc = part if acc is None else acc + part
    return acc if acc is not None else np.zeros((m, b.shape[1]), np.int32)


def conv2d(
    x: I8, w: I8, strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int], group: int
) -> I32:
    """int32 acc(n, o, y, x) = sum of in(n, k, y*sy + i*dy, x*sx + j*dx) * w(o, k, i, j) over
    i, j, k; padding 0."""
    n, _, h, wd = x.shape
    oc, icg, kh, kw = w.shape
    oh = out_size(h, kh, strides[0], pads[0], pads[2], dilations[0])
    ow = out_size(wd, kw, strides[1], pads[1], pads[3], dilations[1])
    xp = pad(x, pads, 0)
    if icg == 1 and oc == group:
        return _depthwise(xp, w, strides, dilations, (oh, ow))
    acc = np.empty((n, oc, oh, ow), np.int32)
    ocg = oc // group
    for b in range(n):
        for g in range(group):
            xg, wg = (
                xp[b : b + 1, g * icg : (g + 1) * icg],
                w[g * ocg : (g + 1) * ocg].reshape(ocg, -1),
            )
            _conv_image(xg, wg, (kh, kw), strides, dilations, acc[b, g * ocg : (g + 1) * ocg])
    return acc


def _conv_image(
    x: I8, w: I8, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], acc: I32
) -> None:
    """One image and group, in slices of output rows whose columns fit a few MB."""
    _, ic, _, _ = x.shape
    ocg, oh, ow = acc.shape
    k = ic * kernel[0] * kernel[1]
    rows = max(1, min(oh, _COLUMN_BYTES // max(1, 4 * k * ow)))
    for y in range(0, oh, rows):
        r = min(rows, oh - y)
        part = x[:, :, y * strides[0] :]
        if tuple(kernel) == (1, 1):
            cols = next(taps(part, kernel, strides, dilations, (r, ow)))[2].reshape(k, r * ow)
        else:
            buf = np.empty((ic, kernel[0], kernel[1], r, ow), np.int8)
            for i, j, view in taps(part, kernel, strides, dilations, (r, ow)):
                buf[:, i, j] = view[0]
            cols = buf.reshape(k, r * ow)
        acc[:, y : y + r] = matmul_exact(w, cols).reshape(ocg, r, ow)


def _depthwise(
    xp: I8, w: I8, strides: Sequence[int], dilations: Sequence[int], out: Sequence[int]
) -> I32:
    n, c = xp.shape[:2]
    acc = np.zeros((n, c, *out), np.int32)
    product = np.empty(acc.shape, np.int32)
    w32 = w.astype(np.int32)
    for i, j, view in taps(xp, w.shape[2:], strides, dilations, out):
        np.multiply(view, w32[:, 0, i, j].reshape(c, 1, 1), out=product, dtype=np.int32)
        acc += product
    return acc


def max_pool(
    x: I8, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], fill: int = -128
) -> I8:
    """Maximum of each window; padding holds `fill`."""
    oh = out_size(x.shape[2], kernel[0], strides[0], pads[0], pads[2])
    ow = out_size(x.shape[3], kernel[1], strides[1], pads[1], pads[3])
    best = None
    for _, _, view in taps(pad(x, pads, fill), kernel, strides, (1, 1), (oh, ow)):
        best = view.copy() if best is None else np.maximum(best, view, out=best)
    assert best is not None
    return best


def sum_pool(x: I8, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int]) -> I32:
    """Sum of each window; padding holds 0."""
    oh = out_size(x.shape[2], kernel[0], strides[0], pads[0], pads[2])
    ow = out_size(x.shape[3], kernel[1], strides[1], pads[1], pads[3])
    if (oh, ow) == (1, 1) and tuple(kernel) == x.shape[2:] and not any(pads):
        return x.sum(axis=(2, 3), keepdims=True, dtype=np.int32)
    acc = np.zeros((*x.shape[:2], oh, ow), np.int32)
    for _, _, view in taps(pad(x, pads, 0), kernel, strides, (1, 1), (oh, ow)):
        acc += view
    return acc


def window_counts(
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    counted: Sequence[int],
) -> NDArray[np.int64]:
    """(oh, ow): how many positions of each window lie in the input enlarged by the counted pads
    (top, left, bottom, right)."""

    def along(axis: int) -> NDArray[np.int64]:
        before, after = pads[axis], pads[axis + 2]
        n = out_size(size[axis], kernel[axis], strides[axis], before, after)
        start = np.arange(n) * strides[axis] - before
        low = np.maximum(start, -counted[axis])
        high = np.minimum(start + kernel[axis], size[axis] + counted[axis + 2])
        return np.maximum(high - low, 0)

    return np.outer(along(0), along(1))
