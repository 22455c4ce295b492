"""Byte ranges of local memory, watched in units of 16 bytes."""

from __future__ import annotations

import numpy as np

UNIT = 16
#: (first byte, end), or (first, end, stride, length): so many bytes every `stride` ones, a multiple
#: of UNIT
Range = tuple[int, ...]


def part(units: np.ndarray, r: Range) -> np.ndarray:
    """The units that a range touches, as a view; there must be room for a stride behind its end."""
    first, end = r[0] // UNIT, -(-r[1] // UNIT)
    if len(r) == 2:
        return units[first:end]
    stride, length = r[2] // UNIT, -(-(r[0] % UNIT + r[3]) // UNIT)
    count = -(-(end - first) // stride)
    return units[first : first + count * stride].reshape(count, stride)[:, :length]
