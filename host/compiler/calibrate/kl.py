"""The KL threshold: the range whose 128-level histogram loses least information (cli.md section
13.2).
"""

from __future__ import annotations

import numpy as np

LEVELS = 128
_LONGEST = 131072
_TINY = 1e-30


def kl_threshold(counts: np.ndarray, width: float, abs_max: float | None = None) -> float:
    """width * 128 * m for the first m with the smallest divergence, at most abs_max.

    counts: histogram of |x|, any length >= 1. For m = 1, 2, ..., i = 128 m: P = counts[:i] with the
    mass beyond added to bin i - 1, over the total; Q = counts[:i] summed in 128 groups of m bins,
    each sum spread over the non-empty bins of its group, over the sum of counts[:i]; divergence =
    sum P (log10(P + 1e-30) - log10(Q + 1e-30)); P, Q, the levels of the groups and the running sum
    of counts are float32, the rest float64.
    """
    hist, doubled = _folded(counts)
    if not hist.any():
        return abs_max or 0.0
    threshold = width * doubled * LEVELS * (1 + int(np.argmin(divergences(hist))))
    return threshold if abs_max is None else min(threshold, abs_max)


def divergences(counts: np.ndarray) -> np.ndarray:
    """The divergence for m = 1, 2, ...; infinite where no value lies within the range."""
    hist, _ = _folded(counts)
    exact, inside = np.cumsum(hist), np.cumsum(hist, dtype=np.float32)
    ends = range(LEVELS - 1, hist.size, LEVELS)
    return np.array(
        [
            _divergence(hist[: i + 1], m, inside[i], exact[-1] - exact[i], exact[-1])
            for m, i in enumerate(ends, 1)
        ]
    )


def _folded(counts: np.ndarray) -> tuple[np.ndarray, int]:
    """Padded to a multiple of 128; pairs of bins added while there are more than 131072. The
    factor by which the bins became wider.
    """
    hist, factor = np.asarray(counts, np.float64), 1
    hist = np.concatenate([hist, np.zeros(-hist.size % LEVELS)])
    while hist.size > _LONGEST:
        hist, factor = hist[0::2] + hist[1::2], factor * 2
        hist = np.concatenate([hist, np.zeros(-hist.size % LEVELS)])
    return hist, factor


def _divergence(hist: np.ndarray, m: int, inside: np.float32, beyond: float, total: float) -> float:
    if not inside:
        return float("inf")
    p = hist.astype(np.float32)
    p[-1] = hist[-1] + beyond
    p /= np.float32(total)
    groups = hist.reshape(LEVELS, m)
    filled = groups > 0
    level = groups.sum(axis=1).astype(np.float32) / np.maximum(filled.sum(axis=1), 1)
    level = level.astype(np.float32) / inside
    q = np.where(filled, level[:, None], np.float32(0)).reshape(-1)
    used = p > 0
    p, q = p[used].astype(np.float64), q[used].astype(np.float64)
    return float(np.sum(p * (np.log10(p + _TINY) - np.log10(q + _TINY))))
