"""The per-channel affine operations seen alike: y[n,c] = x[n,c] * scale[c] + bias[c], in double
precision.
"""

from __future__ import annotations

import numpy as np

from ..ir import Op
from ..top import AddConst, BatchNorm, MulConst, Scale

AFFINE = (BatchNorm, Scale, MulConst, AddConst)


def coefficients(op: Op) -> tuple[np.ndarray, np.ndarray]:
    """(scale, bias), float64, 0-dimensional (one number for all) or [c]. BatchNorm: scale = gamma /
    sqrt(variance + epsilon).
    """
    if isinstance(op, MulConst):
        return np.array(op.const_val), np.array(0.0)
    if isinstance(op, AddConst):
        return np.array(1.0), np.array(op.const_val)
    data = [op.arg(i).array.reshape(-1).astype(np.float64) for i in range(1, len(op.operands))]
    if isinstance(op, Scale):
        return data[0], data[1]
    assert isinstance(op, BatchNorm)
    mean, variance, gamma, beta = data
    scale = gamma / np.sqrt(variance + op.epsilon)
    return scale, beta - mean * scale
