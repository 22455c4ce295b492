"""A growing histogram of |x|, one sample at a time (cli.md section 13.1)."""

from __future__ import annotations

import numpy as np

_CHUNK = 1 << 15  # elements worked on at a time: the temporaries stay in the processor's cache
MAX_BINS = 8_000_000


class Histogram:
    """Counts of |x| > 0 in bins of equal width; the range grows with the data, old counts are never
    re-binned.

    First sample:  range = abs_max, width = range / (bins - 1), bin = floor(|x| / width + 0.5).
    A sample beyond the range:  step = range / bins, inc = floor((abs_max - range) / step) + 1, bins
    += inc, range += inc * step; old counts stay in the first bins.  Memory: one counter per bin.
    """

    def __init__(self, bins: int = 2048):
        self.first_bins = bins
        self.range = 0.0
        self.counts = np.zeros(bins, np.int64)
        self.restarts = 0

    @property
    def width(self) -> float:
        return self.range / (self.counts.size - 1)

    def add(self, x: np.ndarray, lo: float, hi: float) -> None:
        """A sample: float32, any shape, with its smallest and largest value."""
        top = max(abs(lo), abs(hi))
        if top < 1e-8:
            return
        if not self.range:
            self.range = top
        elif top > self.range:
            self._grow(top)
        self.counts += count_bins(x, self.width, self.counts.size, lo < 0)

    def _grow(self, top: float) -> None:
        step = self.range / self.counts.size
        more = int((top - self.range) / step) + 1
        if self.counts.size + more > MAX_BINS:
            self.restarts += 1
            self.counts, self.range = np.zeros(self.first_bins, np.int64), top
            return
        self.counts = np.concatenate([self.counts, np.zeros(more, np.int64)])
        self.range += more * step


def count_bins(x: np.ndarray, width: float, bins: int, signed: bool = True) -> np.ndarray:
    """counts[floor(|x| / width + 0.5)] for x != 0; int64 of length `bins`. |x| must not exceed
    width * (bins - 1).
    """
    flat = x.reshape(-1)
    counts = np.zeros(bins, np.int64)
    value = np.empty(min(_CHUNK, flat.size), np.float32)
    small, index = np.empty(value.size, np.int32), np.empty(value.size, np.intp)
    width32, half, nonzero = np.float32(width), np.float32(0.5), 0
    for at in range(0, flat.size, _CHUNK):
        part = flat[at : at + _CHUNK]
        v, i, k = value[: part.size], small[: part.size], index[: part.size]
        if signed:
            part = np.abs(part, out=v)
        np.divide(part, width32, out=v)
        nonzero += np.count_nonzero(v > 0)
        np.add(v, half, out=v)
        np.copyto(i, v, casting="unsafe")
        np.copyto(k, i)
        found = np.bincount(k, minlength=bins)
        counts += found[:bins]
    counts[0] -= flat.size - nonzero
    return counts
