"""The arithmetic of the chip in numpy, exact to the bit (hw/cv18xx-tiu.md sections 3 and 4).

Everything integer works on int32 accumulators that wrap modulo 2^32. Multipliers and shifts may be
scalars or arrays that broadcast against the accumulator (per-channel parameters are passed as (c,
1, 1)).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.generic]


# ---- integers
def wrap32(x: ArrayLike) -> NDArray[np.int32]:
    """x modulo 2^32 as a signed 32-bit integer."""
    return (np.asarray(x, np.int64) & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


def saturate(x: Array, bits: int = 8, signed: bool = True, relu: bool = False) -> Array:
    """max(x, 0) if relu, then clip to the range of the result type; int8, uint8, int16 or
    uint16."""
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    dtype = np.dtype(f"{'' if signed else 'u'}int{bits}")
    return np.clip(x, 0 if relu else low, high).astype(dtype)


def shift_round(acc: ArrayLike, s: int) -> NDArray[np.int32]:
    """R(acc, s), arithmetic, rounding: s = 0: acc; else ((acc >> (s - 1)) + 1) >> 1, the + 1 wraps
    (section 3.1)."""
    x = np.asarray(acc, np.int32)
    if s == 0:
        return x
    with np.errstate(over="ignore"):
        return ((x >> (s - 1)) + np.int32(1)) >> 1


def shift_floor(acc: ArrayLike, s: int) -> NDArray[np.int32]:
    """R(acc, s), arithmetic, floor: acc >> s (section 3.1)."""
    return np.asarray(acc, np.int32) >> s


def requantise(acc: ArrayLike, multiplier: ArrayLike, shift: ArrayLike) -> NDArray[np.int64]:
    """Q(acc, m, s) of section 3.2, before relu and saturation.

    s < 0: acc = wrap32(acc << -s), s = 0            (generation B)
    q = round(acc * m / 2^31), ties up    (= + 2^30 or 1 - 2^30, then truncation)
    result = round(q / 2^s), ties away from 0
    """
    a = np.asarray(acc, np.int32).astype(np.int64)
    s = np.asarray(shift, np.int64)
    if (s < 0).any():
        a = wrap32(a << np.maximum(-s, 0)).astype(np.int64)
        s = np.maximum(s, 0)
    a = a * np.asarray(multiplier, np.int64)
    a += 1 << 30
    a >>= 31
    if not s.any():
        return a
    half = np.where(s > 0, np.int64(1) << np.maximum(s - 1, 0), 0)
    minus = (a >> 63) & np.where(s > 0, np.int64(-1), np.int64(0))
    a += half
    a += minus
    a >>= s
    return a


# ---- multipliers
def multiplier_and_shift(scale: float) -> tuple[int, int]:
    """(m, s) with m / 2^(31 + s) = scale as near as possible, 2^30 <= m < 2^31, 0 <= s <= 31; 0 <
    scale < 1.

    A scale below 2^-32 / 2 can not be expressed with s <= 31: then m shrinks (also to 0); a scale
    that rounds to 1 gets the largest multiplier.
    """
    f, e = math.frexp(scale)
    m, s = round(f * (1 << 31)), -e
    if m == 1 << 31:
        m, s = 1 << 30, s - 1
    if s > 31:
        return round(scale * 2.0**62), 31
    return (m, s) if s >= 0 else ((1 << 31) - 1, 0)


# ---- floating point
def bf16_from_f32(x: ArrayLike) -> NDArray[np.uint16]:
    """float32 -> bf16 pattern, round to nearest even (finite values; section 4)."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def significant(x: float, count: int) -> float:
    """The float32 with `count` significant bits nearest to x (ties to even); 0 < x < 2^127."""
    f, e = math.frexp(float(np.float32(x)))
    return math.ldexp(round(math.ldexp(f, count)), e - count)


def bf16_truncated(x: ArrayLike) -> NDArray[np.uint16]:
    """The upper half of a float32: what a load of its high 16 bits gives."""
    return (np.ascontiguousarray(x, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def f32_from_bf16(pattern: ArrayLike) -> NDArray[np.float32]:
    """bf16 pattern -> float32, exactly."""
    return (np.ascontiguousarray(pattern, np.uint16).astype(np.uint32) << 16).view(np.float32)


def bf16_mul(a: NDArray[np.uint16], b: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """TIU bf16 product (section 4): denormals read as +0, exact product, |p| < 2^-126 -> +0, round
    to nearest even; infinity, NaN or overflow in an operand or the result -> 0x7F7F."""
    x, y = f32_from_bf16(a), f32_from_bf16(b)
    bad = ((a & 0x7F80) == 0x7F80) | ((b & 0x7F80) == 0x7F80)
    x = np.where((a & 0x7F80) == 0, np.float32(0), x)
    y = np.where((b & 0x7F80) == 0, np.float32(0), y)
    with np.errstate(all="ignore"):
        p = x.astype(np.float64) * y.astype(np.float64)
        bad = bad | (np.abs(p) >= 2.0**128)
        p32 = np.where(np.abs(p) < 2.0**-126, 0.0, p).astype(np.float32)
    r = bf16_from_f32(np.where(bad, np.float32(0), p32))
    return np.where(bad | ((r & 0x7F80) == 0x7F80), np.uint16(0x7F7F), r).astype(np.uint16)


def f32_add_truncated(a: ArrayLike, b: ArrayLike) -> NDArray[np.float32]:
    """fp32 sum rounded towards zero (section 4), for finite sums; nothing is flushed.

    The float64 sum has its own rounding error, which is computed exactly and decides where the
    float64 sum is a float32.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    total = x + y
    back = total - x
    error = (x - (total - back)) + (y - back)
    nearest = total.astype(np.float32)
    beyond = total - nearest
    beyond = np.where(beyond == 0, error, beyond)
    outward = (beyond * np.sign(nearest)) < 0
    return np.where(outward, np.nextafter(nearest, np.float32(0)), nearest)


def int8_from_bf16(pattern: ArrayLike) -> NDArray[np.int8]:
    """The TDMA conversion with int8_rnd_mode 0: nearest, ties to even, saturated (hw/cv18xx-tdma.md
    section 5.2)."""
    x = np.nan_to_num(f32_from_bf16(pattern), nan=0.0, posinf=1e9, neginf=-1e9)
    return np.clip(np.rint(x), -128, 127).astype(np.int8)


FLOOR = 1.5 * 2.0**23  # z + FLOOR in fp32, rounded towards zero, is floor(z) + FLOOR: |z| < 2^22


def quantise_factors(factor: float) -> tuple[list[float], list[float], list[float]]:
    """bf16 numbers (low, middle, high) with which the pieces of x are multiplied, most important
    ones last; `quantise_f32_tpu` is the sum.

    k1 + k2 + k3 = factor * (1 + 1.25 * 2^-23), each of 8 significant bits: enough above the float32
    factor that truncated sums round ties away from zero. Products below 2^-24 of x * factor are
    left out: a factor of 8 bits has 1, 1, 2 numbers, others 1, 2, 3.
    """
    exact = float(np.float32(factor))
    rest, k = exact * (1 + 1.25 * 2.0**-23), []
    for _ in range(3):
        k.append(math.copysign(significant(abs(rest), 8), rest) if rest else 0.0)
        rest -= k[-1]
    few = [abs(x) < limit * exact for x, limit in zip(k, (0, 2.0**-16, 2.0**-24), strict=True)]
    return [k[0]], [k[0]] if few[1] else [k[1], k[0]], k[1::-1] if few[2] else k[::-1]


def quantise_f32_tpu(x: ArrayLike, factor: float) -> NDArray[np.int8]:
    """clamp(round(x * factor), -128, 127), ties away from zero, as a chip without CPU routines
    computes it (emit/cv18xx/quantize.py): x = hi + m1 + m0 (8 significant bits each), k1 + k2 + k3
    (`quantise_factors`), and fp32 additions that are truncated:

        z = (((((m0*k1 + m1*k2) + m1*k1) + hi*k3) + hi*k2) + hi*k1) + 1/2 + FLOOR - FLOOR

    Beside quantise_f32 one of about 150,000 numbers differs, by 1, next to a tie; no tie does.
    Denormal x: 0; infinite or NaN x, and overflow: 127.
    """
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    hi = bf16_truncated(bits.view(np.float32))
    base = hi & np.uint16(0xFF80)
    m1, m0 = (bf16_mul(bf16_from_f32((bits >> s & 0xFF).astype(np.float32)), base) for s in (8, 0))
    hi = np.where((hi & 0x7F80) == 0x7F80, np.uint16(0x7F7F), hi)
    hi = np.where((hi & 0x7F80) == 0, np.uint16(0), hi)
    low, middle, high = quantise_factors(factor)
    rows = [(m0, k * 2.0**-23) for k in low] + [(m1, k * 2.0**-15) for k in middle]
    rows += [(hi, k) for k in high]
    rows += [(np.full(bits.shape, 0x3F80, np.uint16), k) for k in (0.5, FLOOR, -FLOOR)]
    z, bad = np.zeros(bits.shape, np.float32), np.zeros(bits.shape, bool)
    with np.errstate(all="ignore"):
        for plane, k in rows:
            p = f32_from_bf16(plane).astype(np.float64) * k
            bad |= np.abs(p) >= 2.0**128
            z = f32_add_truncated(z, np.where(np.abs(p) < 2.0**-126, 0.0, p))
            z = np.where(np.abs(z) < 2.0**-126, np.float32(0), z)
            bad |= ~(np.abs(z) < np.finfo(np.float32).max)
            z = np.where(bad, np.float32(0), z)
        bad |= np.abs(z) >= 2.0**128 - 2.0**119  # has no bf16
    return np.where(bad, 127, np.clip(z, -128, 127)).astype(np.int8)


def quantise_f32(x: ArrayLike, factor: float) -> NDArray[np.int8]:
    """The runtime's CPU routine `quant`: clamp(round_half_away(f32(x * factor)), -128, 127); NaN ->
    0 (api/cvi_nn.md)."""
    with np.errstate(all="ignore"):
        p = np.asarray(x, np.float32) * np.float32(factor)
    p = np.clip(np.nan_to_num(p.astype(np.float64), nan=0.0, posinf=1e9, neginf=-1e9), -1e9, 1e9)
    return np.clip(np.copysign(np.floor(np.abs(p) + 0.5), p), -128, 127).astype(np.int8)
