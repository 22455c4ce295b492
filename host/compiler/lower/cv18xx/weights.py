"""Quantisation of weights and biases, per channel or (matrices) per tensor.

    s_w = max|w| / 127 per channel          w_q = round(w / s_w)
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


class Quantised(NamedTuple):
    """weights: int8 of the shape given; bias: int32 [oc] or None; multiplier int32 [oc]; shift int8
    [oc]."""

    weights: NDArray[np.int8]
    bias: NDArray[np.int32] | None
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int8]


def quantise(w: NDArray[Any], b: NDArray[Any] | None, s_in: float, s_out: float) -> Quantised:
    """w [oc, ...] float, b [oc] float or None."""
    flat = np.ascontiguousarray(w, np.float32).reshape(w.shape[0], -1)
    most = np.maximum(flat.max(axis=1), -flat.min(axis=1)).astype(np.float64)
    ratio = s_in / s_out
    s_w = np.clip(most / 127.0, _S_LEAST / ratio, _S_MOST / ratio)
    bias = None
    if b is not None and np.any(b):
        b64 = np.asarray(b, np.float64).reshape(-1)
        s_w = np.clip(np.maximum(s_w, np.abs(b64) / (s_in * _BIAS_MOST)), None, _S_MOST / ratio)
        bias = np.clip(np.rint(b64 / (s_w * s_in)), -_BIAS_MOST, _BIAS_MOST).astype(np.int32)
    w_q = flat * (1.0 / s_w).astype(np.float32)[:, None]
    np.rint(w_q, out=w_q)
    np.clip(w_q, -127, 127, out=w_q)
    m, s = multipliers_and_shifts(s_w * ratio)
    return Quantised(w_q.astype(np.int8).reshape(w.shape), bias, m, s)


def quantise_whole(w: NDArray[Any], b: NDArray[Any] | None, s_in: float, s_out: float) -> Quantised:
    """The same with one scale for all weights w [k, oc]; multiplier and shift are [1]."""
    most = max(float(w.max(initial=0)), -float(w.min(initial=0)))
    ratio = s_in / s_out
    s_w = float(np.clip(most / 127.0, _S_LEAST / ratio, _S_MOST / ratio))
    bias = None
    if b is not None and np.any(b):
        b64 = np.asarray(b, np.float64).reshape(-1)
        s_w = min(max(s_w, float(np.abs(b64).max()) / (s_in * _BIAS_MOST)), _S_MOST / ratio)
        bias = np.clip(np.rint(b64 / (s_w * s_in)), -_BIAS_MOST, _BIAS_MOST).astype(np.int32)
    w_q = np.asarray(w, np.float32) * np.float32(1.0 / s_w)
    np.rint(w_q, out=w_q)
    np.clip(w_q, -127, 127, out=w_q)
    m, s = multipliers_and_shifts(np.array([s_w * ratio]))
    return Quantised(w_q.astype(np.int8), bias, m, s)


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
