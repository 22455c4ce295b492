"""What the lowering functions share: the graph under construction, scales, requantised copies; the
registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ... import tpu
from ...chip import Chip
from ...errors import UnsupportedError
from ...ir import Graph, Op, Value
from ...tpu.arith import multiplier_and_shift

Lowering = Callable[["Context", Any], Value]
LOWERINGS: dict[type[Op], Lowering] = {}
_WEIGHED = (tpu.Conv, tpu.MatMul)
_KEEPS_MEANS = (tpu.Add, tpu.AvgPool, tpu.Concat, tpu.Requant, tpu.Reshape)

F = TypeVar("F", bound=Lowering)


def lowers(*ops: type[Op]) -> Callable[[F], F]:
    """Decorator: this function lowers these Top ops; it returns the value of the op's (only)
    result."""

    def add(function: F) -> F:
        LOWERINGS.update(dict.fromkeys(ops, function))
        return function

    return add


def shape4(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """(n, c, h, w): trailing ones are added; more dimensions than four are merged into the last."""
    n, c, h, *w = (*shape, 1, 1, 1)[: max(4, len(shape))]
    return n, c, h, int(np.prod(w))


def constant_data(op: Any, name: str) -> NDArray[Any]:
    """The data of the operand declared under this name; UnsupportedError if it is computed."""
    v = op.operand(name)
    if v is None or v.data is None:
        raise UnsupportedError(f"{op.name} is a {type(op).__name__} whose {name} is not a constant")
    return v.data


class Context:
    """graph: the Tpu graph; thresholds: Top name -> threshold; values: Top value -> Tpu value;
    centred: Tpu values with a mean near zero: weighed sums that no relu has cut, and what keeps
    their means."""

    def __init__(self, top: Graph, chip: Chip, thresholds: dict[str, float]):
        self.top, self.chip, self.thresholds = top, chip, thresholds
        self.graph = Graph(top.name, **top.attrs)
        self.values: dict[Value, Value] = {}
        self.centred: set[Value] = set()
        self._copies: dict[tuple[Value, float], Value] = {}

    def scale(self, v: Value) -> float:
        """threshold / 127 of a Top value: real = q * scale."""
        return self.thresholds[v.name] / 127.0

    def get(self, v: Value, scale: float | None = None) -> Value:
        """The int8 value of a Top value; in another scale it is a Requant of it (one per scale,
        shared)."""
        value = self.values[v]
        if scale is None or value.type.scale == scale:
            return value
        if (value, scale) not in self._copies:
            name = f"{value.name}_requant" + (f"{n}" if (n := self._copies_of(value)) else "")
            self._copies[value, scale] = self.requant(value, scale, name)
        return self._copies[value, scale]

    def _copies_of(self, value: Value) -> int:
        return sum(v is value for v, _ in self._copies)

    def requant(
        self, x: Value, scale: float, name: str, gain: float = 1.0, relu: bool = False
    ) -> Value:
        """round(gain * x * s_x / scale) as Q(x * f, m, s), m / 2^(31+s) = |gain * s_x / scale / f|.

        f = +-127 keeps seven fraction bits between the two roundings of Q, so that they do not add
        up.
        """
        assert x.type.scale is not None
        ratio = gain * x.type.scale / scale
        factor = 127 if ratio >= 0 else -127
        if abs(ratio) >= 127:
            raise UnsupportedError(
                f"{name}: the result scale is {abs(ratio):.3g} times finer than the input's "
                "(limit 127); check the calibration table"
            )
        m, s = multiplier_and_shift(abs(ratio) / 127) if ratio else (0, 0)
        return self.add(
            tpu.Requant, [x], name, scale, factor=factor, multiplier=m, shift=s, do_relu=relu
        )

    def add(
        self,
        cls: type[Op],
        operands: Sequence[Value | None],
        name: str,
        scale: float | None,
        **attrs: Any,
    ) -> Value:
        """Append an op whose int8 result has this scale."""
        value = self.graph.add(cls, operands, name, **attrs)
        value.type = tpu.i8(value.shape, scale)
        computed = {v for v in operands if v is not None and v.data is None}
        is_centred = cls in _WEIGHED or (cls in _KEEPS_MEANS and computed <= self.centred)
        if is_centred and not attrs.get("do_relu"):
            self.centred.add(value)
        return value

    def const(self, name: str, data: Any, dtype: Any) -> Value:
        return self.graph.const(name, np.ascontiguousarray(data, dtype))

    def placeholder(self, v: Value) -> Value:
        """Stands for a value that could not be lowered, so that the search for problems can go
        on."""
        return Value(v.name, tpu.i8(shape4(v.shape), self.thresholds.get(v.name, 1.0) / 127.0))
