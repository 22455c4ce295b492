"""The chip's arithmetic against the tables and the literal formulas of hw/cv18xx-tiu.md section
3."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from tpuforge.compiler.tpu import arith


def to_i32(x: int) -> int:
    x &= 0xFFFFFFFF
    return x - (1 << 32) if x >> 31 else x


def scalar_q(acc: int, m: int, s: int) -> int:
    """Section 3.2 word for word."""
    m = to_i32(m)
    if s < 0:
        acc, s = to_i32(acc << -s), 0
    p = acc * m
    p += (1 << 30) if p >= 0 else 1 - (1 << 30)
    q = p >> 31 if p >= 0 else -((-p) >> 31)
    mask = (1 << s) - 1
    threshold = (mask >> 1) + (1 if q < 0 else 0)
    return (q >> s) + (1 if (q & mask) > threshold else 0)


@pytest.mark.parametrize(
    ("x", "s", "rounded", "floor"),
    [(5, 1, 3, 2), (-5, 1, -2, -3), (7, 2, 2, 1), (-7, 2, -2, -2), (-6, 2, -1, -2),
     (2147483647, 1, -1073741824, 1073741823), (-9, 0, -9, -9)],
)  # fmt: skip
def test_shift_table(x: int, s: int, rounded: int, floor: int) -> None:
    assert int(arith.shift_round(x, s)) == rounded
    assert int(arith.shift_floor(x, s)) == floor


Q_TABLE = [
    (1, 0x40000000, 0, 1), (3, 0x40000000, 0, 2), (-1, 0x40000000, 0, 0), (-3, 0x40000000, 0, -1),
    (1000, 0x55555555, 4, 42), (7, 0x7FFFFFFF, 1, 4), (-1000, 0x55555555, 4, -42), (12345678,
    0x60000000, 20, 9),
    (5, 0x7FFFFFFF, 1, 3), (-5, 0x7FFFFFFF, 1, -3), (100, 0x80000000, 3, -13), (3, 0x40000000, -4,
    24),
]  # fmt: skip


@pytest.mark.parametrize(("acc", "m", "s", "want"), Q_TABLE)
def test_q_table(acc: int, m: int, s: int, want: int) -> None:
    assert scalar_q(acc, m, s) == want
    assert int(arith.requantise(acc, to_i32(m), s)) == want


def test_q_random_against_scalar() -> None:
    rng = np.random.default_rng(1)
    acc = rng.integers(-(2**31), 2**31, 4000) >> rng.integers(0, 31, 4000)
    acc[:4] = [-(2**31), 2**31 - 1, 0, -1]
    m = rng.integers(-(2**31), 2**31, 4000)
    m[::3] = 1 << 30  # ties are frequent
    s = rng.integers(-8, 32, 4000)
    got = arith.requantise(acc.astype(np.int32), m, s)
    want = [scalar_q(int(a), int(b), int(c)) for a, b, c in zip(acc, m, s, strict=True)]
    np.testing.assert_array_equal(got, want)


def test_q_without_shift_and_per_channel() -> None:
    acc = np.arange(-20, 20, dtype=np.int32).reshape(1, 2, 4, 5)
    m = np.array([1 << 30, (1 << 31) - 1]).reshape(2, 1, 1)
    got = arith.requantise(acc, m, np.zeros((2, 1, 1), np.int64))
    for index, a in np.ndenumerate(acc):
        assert got[index] == scalar_q(int(a), int(m[index[1], 0, 0]), 0)


def test_wrap_and_saturate() -> None:
    np.testing.assert_array_equal(arith.wrap32([2**31, -(2**31) - 1, 5]), [-(2**31), 2**31 - 1, 5])
    x = np.array([-300, -128, -5, 0, 127, 128, 255, 40000])
    np.testing.assert_array_equal(arith.saturate(x), [-128, -128, -5, 0, 127, 127, 127, 127])
    np.testing.assert_array_equal(arith.saturate(x, relu=True), [0, 0, 0, 0, 127, 127, 127, 127])
    np.testing.assert_array_equal(arith.saturate(x, signed=False), [0, 0, 0, 0, 127, 128, 255, 255])
    assert arith.saturate(x, bits=16).max() == 32767 and arith.saturate(x).dtype == np.int8


@pytest.mark.parametrize(
    "scale", [0.5, 0.75, 1 / 3, 1e-3, 2.0**-31, 0.9999999999, 1 - 2.0**-53, 0.499999999999]
)
def test_multiplier_and_shift(scale: float) -> None:
    m, s = arith.multiplier_and_shift(scale)
    assert 0 <= s <= 31 and (1 << 30) <= m < (1 << 31)
    assert m / 2.0 ** (31 + s) == pytest.approx(scale, rel=2.0**-30)


def test_multiplier_of_tiny_scales() -> None:
    m, s = arith.multiplier_and_shift(2.0**-40)
    assert (m, s) == (1 << 22, 31)
    assert arith.multiplier_and_shift(1e-30) == (0, 31)


def test_bf16() -> None:
    rng = np.random.default_rng(2)
    x = (rng.standard_normal(2000) * 10.0 ** rng.integers(-30, 30, 2000)).astype(np.float32)
    got = arith.bf16_from_f32(x)
    for v, g in zip(x[:500], got[:500], strict=True):
        bits = struct.unpack("<I", struct.pack("<f", v))[0]
        low, high = bits & 0xFFFF, bits >> 16
        up = low > 0x8000 or (low == 0x8000 and high & 1)
        assert g == high + up
    np.testing.assert_array_equal(arith.f32_from_bf16(got).view(np.uint32) >> 16, got)
    np.testing.assert_array_equal(arith.bf16_truncated(x), x.view(np.uint32) >> 16)


def test_bf16_product_special_values() -> None:
    def bits(*values: float) -> np.ndarray:
        return np.array(values, np.float32).view(np.uint32).__rshift__(16).astype(np.uint16)

    a = bits(1.5, -2.0, np.inf, np.nan, 1e30, 1e-30, 1e-40, 3.0)
    b = bits(2.0, 3.0, 1.0, 1.0, 1e30, 1e-30, 1e30, -0.5)
    got = arith.bf16_mul(a, b)
    np.testing.assert_array_equal(got[[0, 1, 7]], bits(3.0, -6.0, -1.5))
    np.testing.assert_array_equal(got[[2, 3, 4]], 0x7F7F)
    np.testing.assert_array_equal(got[[5, 6]], 0)


def test_int8_conversions() -> None:
    x = np.array([0.5, 1.5, -0.5, -2.5, 126.5, 200.0, -200.0, np.inf, -np.inf], np.float32)
    pattern = arith.bf16_truncated(x)
    np.testing.assert_array_equal(
        arith.int8_from_bf16(pattern), [0, 2, 0, -2, 126, 127, -128, 127, -128]
    )
    x = np.array([0.5, 1.5, -0.5, -2.5, 0.49999997, 1e30, -1e30, np.nan, np.inf], np.float32)
    np.testing.assert_array_equal(arith.quantise_f32(x, 1.0), [1, 2, -1, -3, 0, 127, -128, 0, 127])


def test_factors_of_a_quantisation() -> None:
    """bf16 numbers; a little above the factor; few for a factor of 8 bits."""
    for factor in (127.0, 0.5, 127 / 2.6355782, 127 / 0.0137, 40.75, 1 / 3):
        exact = float(np.float32(factor))
        low, middle, high = arith.quantise_factors(factor)
        for k in (*low, *middle, *high):
            assert arith.f32_from_bf16(arith.bf16_truncated(k)) == k
        assert 1.1 * 2**-23 < sum(high) / exact - 1 < 1.4 * 2**-23
        assert abs(sum(middle) / exact - 1) < 2**-15 and abs(sum(low) / exact - 1) < 2**-8
        short = arith.significant(factor, 8) == exact
        assert [len(k) for k in (low, middle, high)] == ([1, 1, 2] if short else [1, 2, 3])


def test_truncated_sum() -> None:
    from fractions import Fraction

    rng = np.random.default_rng(4)
    a = np.abs(rng.standard_normal(500) * 10.0 ** rng.integers(-12, 12, 500)).astype(np.float32)
    b = np.abs(rng.standard_normal(500) * 10.0 ** rng.integers(-12, 12, 500)).astype(np.float32)
    for x, y, z in zip(a, b, arith.f32_add_truncated(a, b), strict=True):
        exact = Fraction(float(x)) + Fraction(float(y))
        assert Fraction(float(z)) <= exact < Fraction(float(np.nextafter(z, np.float32(np.inf))))
