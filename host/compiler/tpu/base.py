"""TpuOp: the base of every op of the quantised dialect."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InternalError
from ..ir import Op, TensorType


class TpuOp(Op):
    """An op whose value is stated exactly by `reference`.

    Result types: shape and element type are inferred; the scale of an op that requantises is a
    decision of the lowering and comes with `types=` when the op is added (`i8(shape, scale)`).
    """

    dialect: ClassVar[str] = "tpu"

    def reference(self, *arrays: Any) -> NDArray[Any]:
        """The value, from the arrays of all operands in order (None where an operand is absent)."""
        raise NotImplementedError(self.op_name())

    def require(self, condition: bool, text: str) -> None:
        """InternalError naming this op unless `condition`."""
        if not condition:
            where = self.results[0].name if hasattr(self, "results") else "(new)"
            raise InternalError(f"{self.op_name()} {where!r}: {text}")

    def shape4(self, index: int = 0) -> tuple[int, int, int, int]:
        """Shape of an operand, which must be 4-D."""
        v = self.operands[index]
        assert v is not None
        self.require(len(v.shape) == 4, f"operand {v.name!r} has shape {v.shape}, not 4 dimensions")
        n, c, h, w = v.shape
        return n, c, h, w

    def scale_of(self, index: int = 0) -> float | None:
        v = self.operands[index]
        return None if v is None else v.type.scale


def i8(shape: tuple[int, ...], scale: float | None) -> TensorType:
    """The type of a quantised activation: real = q * scale."""
    return TensorType(shape, "i8", scale)


def per_channel(values: NDArray[Any]) -> NDArray[Any]:
    """[c] -> (c, 1, 1), which broadcasts against (n, c, h, w)."""
    return np.asarray(values).reshape(-1, 1, 1)
