"""Quantisation of weights and biases, per channel or (matrices) per tensor.

    s_w = max|w| / 127 per channel          w_q = w / s_w rounded (`round_rows`)
    acc = sum(w_q * x_q) + b_q              b_q = round(b / (s_w * s_in))
    y_q = Q(acc, m, s)                      m / 2^(31 + s) = S = s_w * s_in / s_out

All in float64 except the division of the weights. Against the vendor's float32 rules
(hw/cv18xx-quant.md section 1) only the last bits of m differ. s_w is raised where S would need a
shift above 31 or b_q more than 31 bits, also for channels without weights; it is lowered, and the
weights saturate, where S >= 1 (the multiplication can not amplify).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_S_MOST = 1.0 - 2.0**-20
_S_LEAST = 2.0**-32
_BIAS_MOST = 2.0**30
_AT_ONCE = 1 << 20  # weights rounded together, which bounds the memory for it


class Quantised(NamedTuple):
    """weights: int8 of the shape given; bias: int32 [oc] or None; multiplier int32 and shift int8,
    [oc] or [1]."""

    weights: NDArray[np.int8]
    bias: NDArray[np.int32] | None
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int8]


def quantise(
    w: NDArray[Any],
    b: NDArray[Any] | None,
    s_in: float,
    s_out: float,
    *,
    keep_sums: bool,
    per_channel: bool = True,
) -> Quantised:
    """w [oc, ...] float, b [oc] float or None; keep_sums: see `round_rows`; per_channel: a scale
    per output channel, or one for all."""
    flat = np.ascontiguousarray(w, np.float32).reshape(w.shape[0], -1)
    most = np.maximum(flat.max(axis=1), -flat.min(axis=1)).astype(np.float64)
    b64 = np.zeros(1) if b is None else np.asarray(b, np.float64).reshape(-1)
    most_bias = np.abs(b64)
    if not per_channel:
        most, most_bias = most.max(keepdims=True), most_bias.max(keepdims=True)
    ratio = s_in / s_out
    s_w = np.clip(most / 127.0, _S_LEAST / ratio, _S_MOST / ratio)
    s_w = np.clip(np.maximum(s_w, most_bias / (s_in * _BIAS_MOST)), None, _S_MOST / ratio)
    w_q = round_rows(flat * (1.0 / s_w).astype(np.float32)[:, None], keep_sums)
    bias = None
    if np.any(b64):
        bias = np.clip(np.rint(b64 / (s_w * s_in)), -_BIAS_MOST, _BIAS_MOST).astype(np.int32)
    return Quantised(w_q.reshape(w.shape), bias, *multipliers_and_shifts(s_w * ratio))


def round_rows(x: NDArray[np.float32], keep_sums: bool) -> NDArray[np.int8]:
    """x [rows, n], saturated to +-127, to the nearest integers (half to even); with keep_sums to
    integers with |q - x| < 1 and, per row, |sum(q) - sum(x)| <= 1/2.

    The mean of a layer's input times the sum of all that rounding has moved is an error that the
    outputs of a channel share. A mean is far from zero behind relu and in a picture; what is alike
    from pixel to pixel adds to it. There, where the sum of a row has moved by k, the k values that
    moved furthest that way, of equal ones the first, go to the integer on the other side. Elsewhere
    it would only be noise. (efficientnet_lite0, 100 photographs: mean cosine 0.9917 -> 0.9955.)
    """
    out = np.empty(x.shape, np.int8)
    step = max(1, _AT_ONCE // max(1, x.shape[1]))
    for i in range(0, len(x), step):
        part = np.clip(x[i : i + step], -127, 127)
        near = np.rint(part)
        if keep_sums:
            moved = near - part
            excess = np.rint(moved.sum(axis=1, dtype=np.float64))
            sign = np.where(excess < 0, -1, 1).astype(np.float32)[:, None]
            near -= sign * _largest(moved * sign, np.abs(excess).astype(np.intp))
        out[i : i + step] = near
    return out


def _largest(x: NDArray[np.float32], counts: NDArray[np.intp]) -> NDArray[np.bool_]:
    """True for the counts[i] largest values of row i, of equal ones the first."""
    most = int(counts.max(initial=0))
    if most == 0:
        return np.zeros(x.shape, np.bool_)
    top = np.sort(np.partition(x, x.shape[1] - most, axis=1)[:, -most:], axis=1)
    least = np.take_along_axis(top, (most - counts)[:, None] % most, axis=1)
    least[counts == 0] = np.inf
    chosen = x >= least
    surplus = chosen.sum(axis=1) - counts
    for row in np.flatnonzero(surplus):
        chosen[row, np.flatnonzero(x[row] == least[row])[-surplus[row] :]] = False
    return chosen


def multipliers_and_shifts(
    scales: NDArray[np.float64],
) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """(m, s) per element: m / 2^(31 + s) = scale, 2^30 <= m < 2^31, 0 <= s <= 31; 2^-32 <= scale <
    1."""
    f, e = np.frexp(scales)
    m = np.rint(f * 2.0**31)
    carry = m == 2.0**31
    m = np.where(carry & (e < 0), 2.0**30, np.minimum(m, 2.0**31 - 1))
    s = np.where(carry & (e < 0), -e - 1, -e)
    return m.astype(np.int32), s.astype(np.int8)
