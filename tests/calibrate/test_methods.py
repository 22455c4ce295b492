"""Threshold methods, against slow statements of cli.md section 13.3 on all samples at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tpuforge.compiler.calibrate.methods import (
    METHODS,
    AbsPercentile,
    Largest,
    make_statistic,
    method_named,
    percent_of,
    tail_that_uses_max,
)
from tpuforge.compiler.errors import OptionError

KINDS = ("normal", "relu", "ones", "spiky")


def samples(kind: str, count: int = 4, size: int = 3000) -> list[np.ndarray]:
    rng = np.random.default_rng(KINDS.index(kind))
    made = {
        "normal": lambda: rng.standard_normal(size),
        "relu": lambda: np.maximum(rng.standard_normal(size), 0),
        "ones": lambda: np.ones(size),
        "spiky": lambda: rng.standard_normal(size) ** 5,
    }
    return [made[kind]().astype(np.float32) for _ in range(count)]


def gather(method: str, data: list[np.ndarray], index: int = 3, tensors: int = 10) -> float:
    s = make_statistic(
        method, bins=2048, index=index, tensors=tensors, expected=sum(x.size for x in data)
    )
    for x in data:
        s.add(x, float(x.min()), float(x.max()))
    return s.threshold(abs_max(data))


def abs_max(data: list[np.ndarray]) -> float:
    return float(max(np.abs(x).max() for x in data))


def stated_mse(x: np.ndarray) -> float:
    a = np.abs(x.astype(np.float64))
    u = 4 if abs(x.min()) < 1e-6 else 1
    s = a[a > 0].mean()
    for _ in range(20):
        inner = (a <= s).sum() * 4.0**-8 / 3 / u
        new = a[a > s].sum() / (inner + (a > s).sum())
        stop = abs(new - s) < 1e-6
        s = new
        if stop:
            break
    return s


@pytest.mark.parametrize("kind", KINDS)
def test_mse(kind):
    data = samples(kind)
    expected = min(np.mean([stated_mse(x) for x in data]), abs_max(data))
    assert gather("mse", data) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_aciq_laplace(kind):
    data = samples(kind)
    means = [9.89675982 * np.abs(x - x.mean(dtype=np.float64)).mean() for x in data]
    assert gather("aciq_laplace", data) == pytest.approx(
        min(np.mean(means), abs_max(data)), rel=1e-5, abs=1e-9
    )


@pytest.mark.parametrize("kind", KINDS)
def test_aciq_gauss(kind):
    data = samples(kind)
    k = 3.92403337 * 0.175 * (1 + math.sqrt(math.pi * math.log(4))) / math.sqrt(2 * math.log(3000))
    means = [k * (float(x.max()) - float(x.min())) for x in data]
    assert gather("aciq_gauss", data) == pytest.approx(
        min(np.mean(means), abs_max(data)), rel=1e-6, abs=1e-9
    )


@pytest.mark.parametrize("kind", KINDS)
def test_max(kind):
    data = samples(kind)
    assert gather("max", data) == abs_max(data)


@pytest.mark.parametrize("count", [1, 4, 20])
def test_percentile(count):
    data = samples("normal", count, 4000)
    everything = np.sort(np.concatenate(data).astype(np.float64))
    p, n = percent_of(3, 10), everything.size
    k, phi = int(n * (1 - p / 100)) + 1, (p / 100 * (n - 1)) % 1

    def beyond(v: np.ndarray) -> float:
        t = v[-k:]
        return t[0] if k == 1 else t[0] + phi * (t[1] - t[0])

    s = make_statistic("percentile9999", bins=2048, index=3, tensors=10, expected=n)
    for x in data:
        s.add(x, float(x.min()), float(x.max()))
    hi, lo = beyond(everything), -beyond(-everything[::-1])
    assert s.range() == pytest.approx((lo, hi)) and s.threshold(99) == pytest.approx(max(hi, -lo))


def test_percentile_keeps_only_what_it_needs():
    data = samples("normal", 50, 4000)
    s = make_statistic("percentile9999", bins=2048, index=0, tensors=10, expected=200_000)
    for x in data:
        s.add(x, float(x.min()), float(x.max()))
        assert s.top.kept.size <= 21 and s.bottom.kept.size <= 21


@pytest.mark.parametrize("k", [1, 2, 7, 100])
def test_largest_of_a_stream(k):
    rng = np.random.default_rng(k)
    keep, everything = Largest(k), []
    for size in (1, 5, 300, 2, 80):
        x = rng.integers(-50, 50, size).astype(np.float32)
        keep.add(x, float(x.max()))
        everything += x.tolist()
        assert sorted(keep.kept.tolist()) == sorted(everything)[-k:]


def test_saturated_tensors_reach_their_maximum_in_the_percentile():
    x = np.minimum(np.abs(samples("normal", 1, 50_000)[0]), 1).astype(np.float32)
    a = AbsPercentile(99.99, x.size)
    a.add(x, 0.0, 1.0)
    assert a.is_max(1.0)
    b = AbsPercentile(99.99, x.size)
    y = np.abs(samples("spiky", 1, 50_000)[0])
    b.add(y, 0.0, float(y.max()))
    assert not b.is_max(float(y.max()))


@pytest.mark.parametrize(
    ("kinds", "is_max", "expected"),
    [
        ("MatMul Reshape AvgPool", "1 1 1", 1), ("Reshape AvgPool Add Conv Add", "1 1 1 1 1", 4),
        ("Add Add Add Add Add Add", "1 1 1 1 1 1", 5), ("Add Add Add", "1 0 1", 1),
        ("Add", "0", 0), ("", "", 0),
    ],
)  # fmt: skip
def test_end_of_the_graph(kinds, is_max, expected):
    assert tail_that_uses_max(kinds.split(), [v == "1" for v in is_max.split()]) == expected


def test_names_of_methods():
    assert [method_named(m.upper()) for m in METHODS] == list(METHODS)
    assert method_named("use_percentile9999") == method_named("percentile") == "percentile9999"
    assert method_named("aciq") == "aciq_laplace"
    with pytest.raises(OptionError, match="kl, max, mse"):
        method_named("entropy")
