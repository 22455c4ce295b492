"""Element and pixel formats (api/cvi_nn.md section 2.1)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# number -> (name, numpy type). numpy has no bfloat16: its bits are handled as uint16.
FORMATS: dict[int, tuple[str, np.dtype]] = {
    0: ("fp32", np.dtype(np.float32)),
    1: ("int32", np.dtype(np.int32)),
    2: ("uint32", np.dtype(np.uint32)),
    3: ("bf16", np.dtype(np.uint16)),
    4: ("int16", np.dtype(np.int16)),
    5: ("uint16", np.dtype(np.uint16)),
    6: ("int8", np.dtype(np.int8)),
    7: ("uint8", np.dtype(np.uint8)),
}

PIXEL_FORMATS: dict[int, str] = {
    0: "RGB_PACKED",
    1: "BGR_PACKED",
    2: "RGB_PLANAR",
    3: "BGR_PLANAR",
    11: "YUV_NV12",
    12: "YUV_NV21",
    13: "YUV420_PLANAR",
    15: "GRAYSCALE",
    100: "TENSOR",
    1000: "RGBA_PLANAR",
}


def bf16_to_float32(bits: NDArray[Any]) -> NDArray[np.float32]:
    """bfloat16 bits (uint16) as float32, exactly."""
    return (np.ascontiguousarray(bits).view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def float32_to_bf16(values: NDArray[Any]) -> NDArray[np.uint16]:
    """float32 as bfloat16 bits, rounded to nearest even; NaN stays NaN."""
    x = np.ascontiguousarray(values, dtype=np.float32)
    bits = x.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(x), np.uint32(0x7FC0), rounded).astype(np.uint16)


def round_half_away(values: NDArray[Any]) -> NDArray[Any]:
    """Round to the nearest integer, halves away from zero."""
    rounded: NDArray[Any] = np.trunc(values + np.copysign(0.5, values))
    return rounded
