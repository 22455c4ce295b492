"""Threshold methods as streaming statistics of one tensor (cli.md sections 13.1 to 13.3).

A statistic sees the tensor once per sample (`add`) and gives the threshold at the end; its memory
does not grow with the number of samples (percentile keeps only the largest 0.01 % of the values).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..errors import OptionError
from .histogram import Histogram
from .kl import kl_threshold

METHODS = ("kl", "max", "mse", "percentile9999", "aciq_laplace", "aciq_gauss")
ALIASES = {
    "percentile": "percentile9999",
    "aciq": "aciq_laplace",
    **{f"use_{m}": m for m in METHODS},  # words of --debug_cmd in 2023
}
TUNED = frozenset({"kl", "aciq_laplace", "aciq_gauss"})
SMALLEST = 1e-5
_LAPLACE, _GAUSS = 9.89675982, 3.92403337


def method_named(name: str) -> str:
    """The full name of a method; OptionError lists them."""
    key = name.strip().lower()
    key = ALIASES.get(key, key)
    if key not in METHODS:
        raise OptionError(f"unknown calibration method {name!r}: one of {', '.join(METHODS)}")
    return key


class Statistic(Protocol):
    """What a method gathers of one tensor."""

    def add(self, x: np.ndarray, lo: float, hi: float) -> None:
        """One sample: float32, flat, with its smallest and largest value."""

    def threshold(self, abs_max: float) -> float:
        """The threshold; abs_max is that of all samples."""


class Max:
    def add(self, x: np.ndarray, lo: float, hi: float) -> None:
        pass

    def threshold(self, abs_max: float) -> float:
        return abs_max


class KL:
    def __init__(self, bins: int):
        self.histogram = Histogram(bins)

    def add(self, x: np.ndarray, lo: float, hi: float) -> None:
        self.histogram.add(x, lo, hi)

    def threshold(self, abs_max: float) -> float:
        h = self.histogram
        return kl_threshold(h.counts, h.width, abs_max) if h.range else abs_max


class MeanOfSamples:
    """Mean over the samples of a number computed from each, capped by abs_max."""

    def __init__(self) -> None:
        self.total, self.samples = 0.0, 0

    def add(self, x: np.ndarray, lo: float, hi: float) -> None:
        self.total += self.one(x, lo, hi)
        self.samples += 1

    def threshold(self, abs_max: float) -> float:
        return min(self.total / max(self.samples, 1), abs_max)

    def one(self, x: np.ndarray, lo: float, hi: float) -> float:
        raise NotImplementedError


class MSE(MeanOfSamples):
    """Clipping value with the least squared error, by a fixed point (section 13.3).

    s <- S / (A + B): S, B = sum and count of |x| > s, A = count(|x| <= s) * 4^-8 / 3 / u, u = 4 for
    x >= 0, else 1.
    """

    def one(self, x: np.ndarray, lo: float, hi: float) -> float:
        size = np.abs(x)
        nonzero = np.count_nonzero(size)
        if not nonzero:
            return 0.0
        s: float = float(size.sum(dtype=np.float64)) / int(nonzero)
        inner = 4.0**-8 / 3 / (4 if abs(lo) < 1e-6 else 1)
        # `above`: all values beyond `floor`, enough while s does not fall below it
        floor, above = s, size[size > s]
        for _ in range(20):
            if s < floor:
                floor, above = s, size[size > s]
            outer = above[above > s]
            old, s = s, self._next(outer, x.size, inner)
            floor, above = (old, outer) if s >= old else (floor, above)
            if abs(s - old) < 1e-6:
                break
        return s

    @staticmethod
    def _next(outer: np.ndarray, count: int, inner: float) -> float:
        return float(outer.sum(dtype=np.float64)) / ((count - outer.size) * inner + outer.size)


class AciqLaplace(MeanOfSamples):
    """9.89675982 * mean(|x - mean(x)|)."""

    def one(self, x: np.ndarray, lo: float, hi: float) -> float:
        mean = np.float32(x.mean(dtype=np.float64))
        return _LAPLACE * float(np.abs(x - mean).mean(dtype=np.float64))


class AciqGauss(MeanOfSamples):
    """3.92403337 * (max - min) * 0.175 * (1 + sqrt(pi ln 4)) / sqrt(2 ln N); N = elements of one
    sample.
    """

    def one(self, x: np.ndarray, lo: float, hi: float) -> float:
        if x.size < 2:
            return math.inf
        sigma = (
            (hi - lo)
            * 0.175
            * (1 + math.sqrt(math.pi * math.log(4)))
            / math.sqrt(2 * math.log(x.size))
        )
        return _GAUSS * sigma


class Largest:
    """The k largest values of all samples; k is fixed by the number of values expected."""

    def __init__(self, k: int):
        self.k, self.kept, self.seen = k, np.empty(0, np.float32), 0
        self.floor = -math.inf  # nothing at or below it can matter any more

    def add(self, x: np.ndarray, hi: float) -> None:
        self.seen += x.size
        if hi <= self.floor:
            return
        pool = np.concatenate([self.kept, x[x > self.floor] if self.kept.size == self.k else x])
        if pool.size > self.k:
            pool = np.partition(pool, pool.size - self.k)[pool.size - self.k :]
        self.kept = pool
        if pool.size == self.k:
            self.floor = float(pool.min())

    def percentile(self, p: float) -> float:
        """n = values seen, k = floor(n (1 - p/100)) + 1, phi = frac(p/100 (n-1)): t0 + phi (t1 -
        t0) of the k largest.
        """
        k = count_beyond(self.seen, p)
        t = np.sort(self.kept)[-k:].astype(np.float64)
        if k == 1 or t.size == 1:
            return float(t[0])
        phi = (p / 100 * (self.seen - 1)) % 1.0
        return float(t[0] + phi * (t[1] - t[0]))


def count_beyond(n: int, p: float) -> int:
    """How many of n values lie at or beyond percentile p (one more than an ordinary percentile
    would look at).
    """
    return int(n * (1 - p / 100)) + 1


class Percentile:
    """p-percentile of the values and of the negated values; also the table's min and max."""

    def __init__(self, p: float, expected: int):
        k = count_beyond(expected, p)
        self.p, self.top, self.bottom = p, Largest(k), Largest(k)

    def add(self, x: np.ndarray, lo: float, hi: float) -> None:
        self.top.add(x, hi)
        self.bottom.add(-x, -lo)

    def range(self) -> tuple[float, float]:
        return -self.bottom.percentile(self.p), self.top.percentile(self.p)

    def threshold(self, abs_max: float) -> float:
        lo, hi = self.range()
        return max(abs(lo), abs(hi))


class AbsPercentile:
    """Whether the p-percentile of |x| equals abs_max (the end-of-graph rule of section 13.3)."""

    def __init__(self, p: float, expected: int):
        self.p, self.top = p, Largest(count_beyond(expected, p))

    def add(self, x: np.ndarray, lo: float, hi: float) -> None:
        self.top.add(np.abs(x), max(abs(lo), abs(hi)))

    def is_max(self, abs_max: float) -> bool:
        return self.top.percentile(self.p) == abs_max


def percent_of(index: int, tensors: int) -> float:
    """p of tensor number `index` of `tensors`: 99.99 for the first, nearly 99.999999 for the
    last.
    """
    return 99.99 + index * (99.999999 - 99.99) / tensors


def make_statistic(method: str, *, bins: int, index: int, tensors: int, expected: int) -> Statistic:
    """The statistic of tensor number `index`; expected: its elements over all samples."""
    if method == "kl":
        return KL(bins)
    if method == "percentile9999":
        return Percentile(percent_of(index, tensors), expected)
    simple: dict[str, type[Max] | type[MeanOfSamples]] = {
        "max": Max,
        "mse": MSE,
        "aciq_laplace": AciqLaplace,
        "aciq_gauss": AciqGauss,
    }
    return simple[method]()


def tail_that_uses_max(kinds: Sequence[str], is_max: Sequence[bool]) -> int:
    """How many of the last tensors use abs_max with mse and aciq: walking back over at most five,
    until one's percentile is not its maximum, or after a Conv or MatMul output. Both arguments
    describe the tensors from the last backwards.
    """
    count = 0
    for kind, maximal in list(zip(kinds, is_max, strict=True))[:5]:
        if not maximal:
            break
        count += 1
        if kind in ("Conv", "MatMul"):
            break
    return count
