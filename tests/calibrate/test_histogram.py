"""Growing histogram and KL threshold, against vectors and slow statements of cli.md sections 13.1
and 13.2.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from tpuforge.compiler.calibrate import histogram
from tpuforge.compiler.calibrate.histogram import Histogram, count_bins
from tpuforge.compiler.calibrate.kl import kl_threshold

I = np.arange(2048)  # noqa: E741


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (np.floor(10000 * np.exp(-I / 200)), 19.2),
        (np.floor(50000 * np.exp(-I / 60)), 6.4),
        (2048 - I, 20.48),
        (np.where(I < 400, 1000 - 2 * I, np.where(I % 97 == 0, 3, 0)), 20.48),
    ],
)
def test_vectors_of_the_specification(counts, expected):
    assert kl_threshold(counts, 0.01) == pytest.approx(expected, rel=1e-12)


def stated_kl(counts: np.ndarray, width: float) -> float:
    """Section 13.2 with loops over bins."""
    hist = [float(c) for c in counts] + [0.0] * (-len(counts) % 128)
    total, best, chosen = sum(hist), math.inf, 0
    for m in range(1, len(hist) // 128 + 1):
        i = 128 * m
        p = [h / total for h in hist[:i]]
        p[-1] += sum(hist[i:]) / total
        inside = sum(hist[:i])
        q = [0.0] * i
        for g in range(128):
            group = hist[g * m : g * m + m]
            filled = sum(h > 0 for h in group)
            for j, h in enumerate(group):
                q[g * m + j] = sum(group) / filled / inside if h > 0 else 0.0
        kl = sum(
            float(np.float32(a))
            * (math.log10(np.float32(a) + 1e-30) - math.log10(np.float32(b) + 1e-30))
            for a, b in zip(p, q, strict=True)
        )
        if kl < best - 1e-9:
            best, chosen = kl, m
    return width * 128 * chosen


@pytest.mark.parametrize("seed", range(6))
def test_kl_is_the_stated_rule(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(200, 1100))
    counts = np.floor(
        rng.integers(10, 5000) * np.exp(-np.arange(n) / rng.uniform(30, 300)) * rng.uniform(0, 2, n)
    )
    assert kl_threshold(counts, 0.01) == pytest.approx(stated_kl(counts, 0.01))


def test_threshold_is_at_most_abs_max():
    assert kl_threshold(2048 - I, 0.01, 7.5) == 7.5


def test_long_histograms_are_folded():
    counts = np.zeros(300_000)
    counts[:2000] = 5
    assert 0 < kl_threshold(counts, 1e-4) <= 300_000 * 1e-4


def stated_add(state: dict, x: np.ndarray) -> None:
    """Section 13.1 word by word, float64 indices."""
    x = np.abs(x.astype(np.float64))
    top = x.max()
    if top < 1e-8:
        return
    if not state:
        state.update(range=top, counts=np.zeros(2048))
    elif top > state["range"]:
        nb = len(state["counts"])
        step = state["range"] / nb
        inc = math.floor((top - state["range"]) / step) + 1
        state["counts"] = np.concatenate([state["counts"], np.zeros(inc)])
        state["range"] = inc * step + state["range"]
    width = state["range"] / (len(state["counts"]) - 1)
    for v in x[x > 0]:
        state["counts"][math.floor(v / width + 0.5)] += 1


@pytest.mark.parametrize("seed", range(4))
def test_histogram_is_the_stated_rule(seed):
    rng = np.random.default_rng(seed)
    mine, state = Histogram(), {}
    for sample in range(5):
        x = (rng.standard_normal(700) * rng.uniform(0.5, 3)).astype(np.float32)
        x[rng.integers(0, 700, 100)] = 0
        x = np.maximum(x, 0) if seed % 2 else x
        x = x * 0 if sample == 2 else x
        mine.add(x, float(x.min()), float(x.max()))
        stated_add(state, x)
    assert mine.range == pytest.approx(state["range"], rel=1e-12)
    assert mine.counts.size == state["counts"].size and mine.counts.sum() == state["counts"].sum()
    moved = np.abs(
        np.cumsum(mine.counts - state["counts"])
    )  # float32 division moves few to a neighbour
    assert moved.max() <= 1 and moved.sum() <= 4


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 32768, 32769, 100_001])
@pytest.mark.parametrize("signed", [True, False])
def test_counting_in_chunks(size, signed):
    x = np.random.default_rng(size).integers(-9 if signed else 0, 10, size).astype(np.float32)
    expected = np.bincount(np.abs(x[x != 0]).astype(int), minlength=12)
    assert np.array_equal(count_bins(x, 1.0, 12, signed), expected)


def test_too_many_bins_start_again(monkeypatch):
    monkeypatch.setattr(histogram, "MAX_BINS", 10_000)
    h = Histogram()
    for top in (1e-3, 1e-2, 5.0):
        h.add(np.array([top], np.float32), 0.0, float(np.float32(top)))
    assert h.restarts == 2 and h.counts.size == 2048 and h.counts.sum() == 1
