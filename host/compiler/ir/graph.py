"""Graph and Value: a straight-line program of operations in topological order, with use lists and
constants.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np

from ..errors import InternalError
from .op import Op
from .types import DTYPES, TensorType

_NUMPY_TO_DTYPE = {np.dtype(t): n for n, t in DTYPES.items() if n != "bf16"}


class Value:
    """A tensor: result of an op, or a constant (owner None, data in `data`). uses: (op, operand
    index) pairs.
    """

    __slots__ = ("data", "name", "owner", "type", "uses")

    def __init__(
        self, name: str, type: TensorType, owner: Op | None = None, data: np.ndarray | None = None
    ):
        self.name, self.type, self.owner, self.data = name, type, owner, data
        self.uses: list[tuple[Op, int]] = []

    @property
    def is_const(self) -> bool:
        return self.owner is None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def array(self) -> np.ndarray:
        """The numbers of a constant."""
        if self.data is None:
            raise InternalError(f"{self.name!r} is not a constant")
        return self.data

    @property
    def users(self) -> list[Op]:
        """The distinct ops that read this value, in order of their first use."""
        return list(dict.fromkeys(op for op, _ in self.uses))

    def __repr__(self) -> str:
        return f"<{'const' if self.is_const else 'value'} {self.name}: {self.type}>"


AnyOp = TypeVar("AnyOp", bound=Op)


class Graph:
    """name, ops (topological order; graph inputs are results of *.Input ops), outputs, attrs
    (module attributes).
    """

    def __init__(self, name: str, **attrs: Any):
        self.name, self.attrs = name, dict(attrs)
        self.ops: list[Op] = []
        self.outputs: list[Value] = []

    # ---- building
    def add(
        self,
        cls: type[AnyOp],
        operands: Iterable[Value | None],
        name: str,
        *,
        types: Any = None,
        index: int | None = None,
        **attrs: Any,
    ) -> Value:
        """Append an op (or insert it at `index`) and return its first result."""
        op = cls(list(operands), [name], types, **attrs)
        self.ops.insert(len(self.ops) if index is None else index, op)
        return op.results[0]

    def const(self, name: str, data: np.ndarray, dtype: str | None = None) -> Value:
        """A constant; dtype names the element type when numpy can not (bf16)."""
        data = np.ascontiguousarray(data)
        dtype = dtype or _NUMPY_TO_DTYPE[data.dtype]
        if data.dtype != DTYPES[dtype]:
            raise InternalError(f"constant {name!r}: {data.dtype} stored as {dtype}")
        return Value(name, TensorType(data.shape, dtype), None, data)

    # ---- changing
    def replace(self, old: Value, new: Value) -> None:
        """Every use of `old`, also as graph output, becomes a use of `new`."""
        for op, i in list(old.uses):
            op.set_operand(i, new)
        self.outputs = [new if v is old else v for v in self.outputs]

    def erase(self, op: Op) -> None:
        """Remove an op whose results nobody uses."""
        if any(r.uses or r in self.outputs for r in op.results):
            raise InternalError(f"{op!r} is still used")
        for i in range(len(op.operands)):
            op.set_operand(i, None)
        self.ops.remove(op)

    # ---- reading
    @property
    def inputs(self) -> list[Value]:
        return [op.results[0] for op in self.ops if type(op).__name__ in ("Input", "InputOp")]

    def values(self) -> list[Value]:
        """All results, in order."""
        return [r for op in self.ops for r in op.results]

    def consts(self) -> list[Value]:
        """All constants in order of their first use."""
        return list(
            dict.fromkeys(v for op in self.ops for v in op.operands if v is not None and v.is_const)
        )

    def verify(self) -> None:
        """Order, use lists, names, types. Raises InternalError."""
        seen: set[int] = set()
        names: set[str] = set()
        for op in self.ops:
            for i, v in enumerate(op.operands):
                if v is None:
                    continue
                if (op, i) not in v.uses:
                    raise InternalError(f"{op!r}: use list of {v.name!r} is wrong")
                if not v.is_const and id(v) not in seen:
                    raise InternalError(f"{op!r} uses {v.name!r} before it is computed")
            op.verify()
            for r in op.results:
                if r.name in names:
                    raise InternalError(f"two results are named {r.name!r}")
                names.add(r.name)
                seen.add(id(r))
        for v in self.outputs:
            if id(v) not in seen:
                raise InternalError(f"output {v.name!r} is not computed in the graph")
