"""Tensor types: shape, element type and, for quantised tensors, the scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

#: element type -> numpy type that stores it (bf16 is stored as its 16-bit pattern)
DTYPES: dict[str, type] = {
    "f32": np.float32, "bf16": np.uint16, "i8": np.int8, "u8": np.uint8, "i16": np.int16,
    "u16": np.uint16, "i32": np.int32, "u32": np.uint32, "i64": np.int64,
}  # fmt: skip


@dataclass(frozen=True)
class TensorType:
    """A static tensor. scale: real = integer * scale, for quantised types; None otherwise."""

    shape: tuple[int, ...]
    dtype: str = "f32"
    scale: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(d) for d in self.shape))
        if self.dtype not in DTYPES:
            raise ValueError(f"unknown element type {self.dtype!r}: one of {', '.join(DTYPES)}")

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        return np.dtype(DTYPES[self.dtype]).itemsize

    @property
    def nbytes(self) -> int:
        return self.count * self.itemsize

    def with_shape(self, shape: tuple[int, ...]) -> TensorType:
        return TensorType(shape, self.dtype, self.scale)

    def __str__(self) -> str:
        scale = "" if self.scale is None else f" scale {self.scale:.9g}"
        return f"{'x'.join(map(str, self.shape))}x{self.dtype}{scale}"
