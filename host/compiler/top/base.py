"""What the operations of the Top dialect share: base classes, shape arithmetic, the view that
`to_onnx` gets.
"""

from __future__ import annotations

from typing import Any, NoReturn, Protocol

import numpy as np

from ..errors import InternalError
from ..ir import Op, TensorType, Value, bool_, float_


class ShapeError(InternalError):
    """Operands and attributes of an operation do not fit together. A front end turns it into
    UserInputError.
    """


class OnnxBuilder(Protocol):
    """What an operation needs to state itself in ONNX (top/export.py implements it)."""

    def node(self, op_type: str, inputs: list[str], output: str, **attrs: Any) -> str: ...

    def const(self, value: Value | np.ndarray, hint: str = "") -> str: ...


class TopOp(Op):
    """Base of all Top operations: float32, one result."""

    dialect = "top"

    @property
    def x(self) -> Value:
        """The first operand."""
        v = self.operands[0]
        assert v is not None
        return v

    def bad(self, text: str) -> NoReturn:
        """Raise ShapeError. The result has no name yet while the shape is inferred, so the operand
        is named.
        """
        of = (
            f" of {self._operands[0].name!r}"
            if self._operands and self._operands[0] is not None
            else ""
        )
        raise ShapeError(f"{type(self).__name__}{of}: {text}")

    def result(self, shape: tuple[int, ...]) -> list[TensorType]:
        if any(d <= 0 for d in shape):
            self.bad(f"the result has the shape {list(shape)}")
        return [TensorType(shape)]

    def to_onnx(self, b: OnnxBuilder, ins: list[str], out: str) -> None:
        """Emit nodes that compute `out` (without the fused activation) from the tensors `ins` ("" =
        absent).
        """
        raise NotImplementedError(self.op_name())


class Fusable(TopOp):
    """An operation whose result may pass through min(max(y, 0), relu_limit); relu_limit < 0: no
    upper limit.
    """

    do_relu = bool_(default=False)
    relu_limit = float_(default=-1.0)


MOST_PADDING = 1 << 16


def pads4(pads: tuple[int, ...]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right). ShapeError if they are more than MOST_PADDING."""
    if len(pads) != 4:
        raise ShapeError(f"pads {list(pads)}: four numbers (top, left, bottom, right) are needed")
    if max(pads) > MOST_PADDING:
        raise ShapeError(f"pads {list(pads)}: at most {MOST_PADDING} rows or columns are possible")
    return pads[0], pads[1], pads[2], pads[3]


def window_count(
    size: int,
    kernel: int,
    stride: int,
    before: int,
    after: int,
    dilation: int = 1,
    ceil: bool = False,
) -> int:
    """Number of positions of a sliding window: floor((size + before + after - k) / stride) + 1, k =
    dilation * (kernel - 1) + 1.

    ceil: rounded up instead, but a last window that would begin in the padding behind the data is
    dropped.
    """
    room = size + before + after - (dilation * (kernel - 1) + 1)
    if room < 0 or stride < 1:
        return 0
    if not ceil:
        return room // stride + 1
    n = -(-room // stride) + 1
    return n - 1 if (n - 1) * stride >= size + before else n


def channel_shape(rank: int) -> tuple[int, ...]:
    """Shape that spreads a per-channel vector over a tensor of that rank: (1, -1, 1, ...)."""
    return tuple(-1 if i == 1 else 1 for i in range(rank)) if rank > 1 else (-1,)
