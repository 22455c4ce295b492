"""A pickle reader for untrusted files: it builds numbers, strings, tuples, lists and dicts, and
asks its owner for the rest.

Only the opcodes of protocol 2 that such data needs are known. Nothing is imported or called; memory
is bounded by the size of the file, since no opcode can make more than it carries (a memo is a dict,
a string must lie in the file).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from ...compiler.errors import UserInputError

#: REDUCE(name, args) and persistent id -> object
Make = Callable[[str, tuple], Any]
_MARK = object()
_SMALL = {b"N": None, b"\x88": True, b"\x89": False}
_EMPTY: dict[bytes, Callable[[], Any]] = {b"}": dict, b"]": list, b")": tuple}
_TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}


class Global:
    """A name that the pickle mentions; it stays a name."""

    def __init__(self, name: str):
        self.name = name


class PlainUnpickler:
    """Reads pickles that stand one behind the other in `data`. make(name, args): the object of a
    REDUCE of the global `name`; persistent(args): the object of a persistent id, a tuple. Both
    raise UserInputError for what they do not know."""

    def __init__(self, data: bytes, make: Make, persistent: Callable[[tuple], Any]):
        self.data, self.make, self.persistent = data, make, persistent
        self.at = 0

    def load(self) -> Any:
        """The next object. UserInputError: damaged, or not plain data."""
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        try:
            while (op := self._take(1)) != b".":
                self._step(op)
            value = self.stack.pop()
        except (IndexError, KeyError, TypeError, ValueError, RecursionError) as e:
            raise UserInputError(f"damaged at byte {self.at} ({type(e).__name__})") from None
        if self.stack or value is _MARK:
            raise UserInputError(f"damaged before byte {self.at}")
        return value

    def _take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise UserInputError(f"ends within an object, at byte {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def _number(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._take(size), "little", signed=signed)

    def _line(self) -> str:
        end = self.data.find(b"\n", self.at, self.at + 200)
        return self._take(end + 1 - self.at)[:-1].decode() if end >= 0 else self._take(-1).decode()

    def _since_mark(self) -> list[Any]:
        at = next(i for i in range(len(self.stack) - 1, -2, -1) if i < 0 or self.stack[i] is _MARK)
        if at < 0:
            raise IndexError("no mark")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def _step(self, op: bytes) -> None:
        push = self.stack.append
        if op in _SMALL:
            push(_SMALL[op])
        elif op in _EMPTY:
            push(_EMPTY[op]())
        elif op == b"(":
            push(_MARK)
        elif op == b"\x80":  # PROTO
            if self._number(1) != 2:
                raise UserInputError("is not of pickle protocol 2")
        elif op in b"KMJ":  # BININT1, BININT2, BININT
            push(self._number({b"K": 1, b"M": 2, b"J": 4}[op], signed=op == b"J"))
        elif op == b"\x8a":  # LONG1
            push(self._number(self._number(1), signed=True))
        elif op == b"X":  # BINUNICODE
            push(self._take(self._number(4)).decode())
        elif op in b"qr":  # BINPUT, LONG_BINPUT
            self.memo[self._number(1 if op == b"q" else 4)] = self.stack[-1]
        elif op in b"hj":  # BINGET, LONG_BINGET
            push(self.memo[self._number(1 if op == b"h" else 4)])
        else:
            self._build(op)

    def _build(self, op: bytes) -> None:
        """Containers, globals and what is made of them."""
        stack = self.stack
        if op == b"t":
            stack.append(tuple(self._since_mark()))
        elif op in _TUPLES:
            items = [stack.pop() for _ in range(_TUPLES[op])]
            stack.append(tuple(reversed(items)))
        elif op in b"ea":  # APPENDS, APPEND
            items = self._since_mark() if op == b"e" else [stack.pop()]
            list.extend(stack[-1], items)
        elif op in b"us":  # SETITEMS, SETITEM
            items = self._since_mark() if op == b"u" else [stack.pop(-2), stack.pop()]
            dict.update(stack[-1], zip(items[::2], items[1::2], strict=True))
        elif op == b"c":
            stack.append(Global(f"{self._line()}.{self._line()}"))
        elif op == b"Q":  # BINPERSID
            stack.append(self.persistent(stack.pop()))
        elif op == b"R":  # REDUCE
            args, name = stack.pop(), stack.pop()
            if not isinstance(name, Global) or not isinstance(args, tuple):
                raise UserInputError(f"damaged at byte {self.at}")
            stack.append(self.make(name.name, args))
        elif op == b"b":  # BUILD: attributes of an object, which plain data has no use for
            stack.pop()
        else:
            known = pickle.__dict__  # the name of the opcode, for the message
            name = next((k for k, v in known.items() if k.isupper() and v == op), op.hex())
            raise UserInputError(f"pickle opcode {name} is none of plain data (byte {self.at})")
