"""Typed attributes of operations: declared once in the class of the op, checked when an op is made
or changed.

class Conv(Op):
    kernel_shape = ints()                 # required
    strides = ints(default=(1, 1))
    do_relu = bool_(default=False)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_REQUIRED = object()


class Attr:
    """A declared attribute. kind is the word used by the text form: int, float, bool, str, ints,
    floats, bytes.
    """

    name: str = ""

    def __init__(self, kind: str, convert: Callable[[Any], Any], default: Any = _REQUIRED):
        self.kind, self.convert = kind, convert
        self.default = default if default is _REQUIRED or default is None else convert(default)

    @property
    def required(self) -> bool:
        return self.default is _REQUIRED

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, op: Any, owner: type) -> Any:
        return self if op is None else op.attrs[self.name]

    def __set__(self, op: Any, value: Any) -> None:
        op.attrs[self.name] = self.check(value, type(op).__name__)

    def check(self, value: Any, owner: str) -> Any:
        """The value in its stored form; TypeError/ValueError names the op and the attribute."""
        if value is None and self.default is None:
            return None
        try:
            return self.convert(value)
        except (TypeError, ValueError) as e:
            raise type(e)(f"{owner}.{self.name}: {value!r} is not {self.kind}") from None


def _int(v: Any) -> int:
    if isinstance(v, float) and v != int(v):
        raise ValueError
    return int(v)


def _bool(v: Any) -> bool:
    if v not in (True, False):
        raise ValueError
    return bool(v)


def _str(v: Any) -> str:
    if not isinstance(v, str):
        raise TypeError
    return v


def int_(default: Any = _REQUIRED) -> Any:
    return Attr("int", _int, default)


def float_(default: Any = _REQUIRED) -> Any:
    return Attr("float", float, default)


def bool_(default: Any = _REQUIRED) -> Any:
    return Attr("bool", _bool, default)


def str_(default: Any = _REQUIRED) -> Any:
    return Attr("str", _str, default)


def ints(default: Any = _REQUIRED) -> Any:
    return Attr("ints", lambda v: tuple(_int(x) for x in v), default)


def floats(default: Any = _REQUIRED) -> Any:
    return Attr("floats", lambda v: tuple(float(x) for x in v), default)


def bytes_(default: Any = _REQUIRED) -> Any:
    return Attr("bytes", bytes, default)
