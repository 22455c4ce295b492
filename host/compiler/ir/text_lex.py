"""The tokens of MLIR text, and its small parts: strings, types, attributes, locations."""

from __future__ import annotations

import re
import struct
from typing import Any, NoReturn

from ..errors import UnsupportedError, UserInputError
from .types import TensorType

# After the blanks one alternative always matches, so that matching never backtracks over them.
_TOKEN = re.compile(
    r"\s*(?://[^\n]*\s*)*("
    r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"?'
    r"|tensor<[^<>]*(?:<[^<>]*>[^<>]*)?>"
    r"|->"
    r"|[%^][\w$.-]+(?:#\d+)?"
    r"|[#@!][\w$.-]+"
    r"|0x[0-9a-fA-F]+"
    r"|-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"
    r"|[A-Za-z_][\w$.]*"
    r"|\S|\Z)",
    re.ASCII,
)
_NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?\Z|0x[0-9a-fA-F]+\Z", re.ASCII)
_ESCAPE = re.compile(rb"\\([0-9a-fA-F]{2}|.)", re.DOTALL)
_ELEMENTS = {
    "f32": "f32",
    "bf16": "bf16",
    "i8": "i8",
    "si8": "i8",
    "ui8": "u8",
    "i16": "i16",
    "si16": "i16",
    "ui16": "u16",
    "i32": "i32",
    "si32": "i32",
    "ui32": "u32",
    "i64": "i64",
    "si64": "i64",
    "u8": "u8",
    "u16": "u16",
    "u32": "u32",
}
_QUANT = re.compile(
    r"!quant\.uniform<\s*(\w+)(?:<[^<>]*>)?\s*:\s*f32\s*,\s*([^\s>:]+)(?::(-?\d+))?\s*>\Z"
)
_CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">"}
MAX_DEPTH = 50
Location = list[Any]  # names (str) and aliases (("alias", name))


class Opaque(str):
    """An attribute value we do not interpret (its text)."""


class Lexer:
    """A list of tokens, a position in it, and what can be read there: strings, types, attributes,
    locations.

    Errors are UserInputError with file and line.
    """

    def __init__(self, text: str, where: str):
        self.text, self.where = text, where
        self.tokens: list[str] = _TOKEN.findall(text)
        self.tokens.append("")  # two ends, so that one may look ahead
        self.i = 0
        self.types: dict[str, TensorType | None] = {"none": None}

    # ---- tokens
    def line(self, token: int) -> int:
        for k, m in enumerate(_TOKEN.finditer(self.text)):
            if k >= token:
                return self.text.count("\n", 0, m.start(1)) + 1
        return self.text.count("\n") + 1

    def fail(self, message: str, token: int | None = None) -> NoReturn:
        token = self.i if token is None else token
        raise UserInputError(f"{self.where}, line {self.line(token)}: {message}")

    def expected(self, what: str) -> NoReturn:
        got = self.tokens[self.i]
        self.fail(
            f"expected {what}, found {got[:40]!r}" if got else f"expected {what}, but the text ends"
        )

    def take(self, token: str) -> None:
        if self.tokens[self.i] != token:
            self.expected(repr(token))
        self.i += 1

    def accept(self, token: str) -> bool:
        if self.tokens[self.i] == token:
            self.i += 1
            return True
        return False

    def next(self) -> str:
        token = self.tokens[self.i]
        if not token:
            self.expected("more")
        self.i += 1
        return token

    def string(self) -> str:
        token = self.tokens[self.i]
        if token[:1] != '"':
            self.expected("a string")
        if len(token) < 2 or token[-1] != '"':
            self.fail("a string does not end")
        self.i += 1
        if "\\" not in token:
            return token[1:-1]
        known = {b"n": b"\n", b"t": b"\t", b'"': b'"', b"\\": b"\\"}
        raw = _ESCAPE.sub(
            lambda m: bytes.fromhex(m[1].decode()) if len(m[1]) == 2 else known.get(m[1], m[1]),
            token[1:-1].encode(),
        )
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.fail("a string is not UTF-8", self.i - 1)

    def symbol(self) -> str:
        """@name or @"name"."""
        token = self.next()
        if token == "@":
            return self.string()
        if token[0] != "@":
            self.i -= 1
            self.expected("a symbol")
        return token[1:]

    def skip_balanced(self) -> str:
        """Skip one bracket with everything in it; returns its text."""
        start, stack = self.i, [_CLOSING[self.next()]]
        while stack:
            token = self.next()
            if token in _CLOSING:
                stack.append(_CLOSING[token])
            elif token == stack[-1]:
                stack.pop()
        return " ".join(self.tokens[start : self.i])

    # ---- types
    def type(self) -> TensorType | None:
        token = self.tokens[self.i]
        self.i += 1
        try:
            return self.types[token]
        except KeyError:
            self.types[token] = t = self.tensor_type(token)
            return t

    def tensor_type(self, token: str) -> TensorType:
        at = self.i - 1
        if not token.startswith("tensor<"):
            self.i -= 1
            self.expected("a tensor type")
        body = token[7:-1].replace(" ", "")
        dims, _, quant = body.partition("!")
        *shape, element = dims.split("x") if not quant else [*dims.rstrip("x").split("x"), ""]
        scale = None
        if quant:
            m = _QUANT.match("!" + quant)
            if not m or m[3] not in (None, "0"):
                raise UnsupportedError(
                    f"{self.where}, line {self.line(at)}: the type {token} is not supported"
                )
            element, scale = m[1], self.float_literal(m[2], at)
        if any(not d.isascii() or not d.isdigit() or len(d) > 12 for d in shape if d or not quant):
            self.fail(f"{token} is not a tensor of fixed shape", at)
        if element not in _ELEMENTS:
            raise UnsupportedError(
                f"{self.where}, line {self.line(at)}: the element type of {token} is not supported"
            )
        return TensorType(tuple(int(d) for d in shape if d), _ELEMENTS[element], scale)

    def float_literal(self, token: str, at: int) -> float:
        if token.startswith("0x") and len(token) == 18:
            return float(struct.unpack("<d", bytes.fromhex(token[2:])[::-1])[0])
        if len(token) > 60 or not _NUMBER.match(token):
            self.fail(f"{token[:60]!r} is not a number", at)
        return float(token)

    def type_list(self) -> list[TensorType | None]:
        """(type, type, ...)"""
        self.take("(")
        types: list[TensorType | None] = []
        while not self.accept(")"):
            if types:
                self.take(",")
            types.append(self.type())
        return types

    def results(self) -> list[TensorType | None]:
        return self.type_list() if self.tokens[self.i] == "(" else [self.type()]

    # ---- attributes
    def attributes(self, out: dict[str, Any]) -> None:
        """{name = value, flag, ...}"""
        self.take("{")
        while not self.accept("}"):
            name = self.string() if self.tokens[self.i][:1] == '"' else self.next()
            out[name] = self.attribute() if self.accept("=") else True
            if not self.accept(","):
                self.take("}")
                return

    def attribute(self, depth: int = 0) -> Any:
        token = self.tokens[self.i]
        first = token[:1]
        if first == '"':
            return self.string()
        if first == "[":
            return self.list_items(depth)
        if token == "true" or token == "false":
            self.i += 1
            return token == "true"
        if first and first in "-0123456789" and _NUMBER.match(token):
            self.i += 1
            kind = ""
            if self.tokens[self.i] == ":":
                kind = self.tokens[self.i + 1]
                self.i += 2
            return self.number(token, kind)
        if first == "{":
            nested: dict[str, Any] = {}
            if depth > MAX_DEPTH:
                self.fail("nested too deeply")
            self.attributes(nested)
            return nested
        if token == "array" and self.tokens[self.i + 1] == "<":
            return self.array()
        return self.opaque()

    def list_items(self, depth: int) -> list[Any]:
        if depth > MAX_DEPTH:
            self.fail("nested too deeply")
        self.i += 1
        if (numbers := self.whole_numbers()) is not None:
            return numbers
        items: list[Any] = []
        while not self.accept("]"):
            if items:
                self.take(",")
            items.append(self.attribute(depth + 1))
        return items

    def whole_numbers(self) -> list[int] | None:
        """The rest of a list if it is short, plain whole numbers: nearly all lists are."""
        tokens, start = self.tokens, self.i
        for end in range(start + 1, start + 18, 2):
            separator = tokens[end] if end < len(tokens) else ""
            if separator == "]":
                try:
                    numbers = [int(t) for t in tokens[start:end:2]]
                except ValueError:
                    return None
                self.i = end + 1
                return numbers
            if separator != ",":
                return None
        return None

    def number(self, token: str, kind: str) -> Any:
        if len(token) > 60:
            self.fail("a number is too long", self.i - 1)
        if token.startswith("0x"):
            if kind in ("f64", "f32"):
                form, size = ("<d", 8) if kind == "f64" else ("<f", 4)
                return struct.unpack(
                    form, (int(token, 16) & (1 << 8 * size) - 1).to_bytes(size, "little")
                )[0]
            return int(token, 16)
        if kind[:1] == "f" or "." in token or "e" in token or "E" in token:
            return float(token)
        return int(token)

    def array(self) -> list[Any]:
        """array<i64: 1, 2>"""
        self.i += 2
        kind = self.next()
        items: list[Any] = []
        if self.accept(":"):
            while self.tokens[self.i] != ">":
                if items:
                    self.take(",")
                token = self.next()
                if token in ("true", "false"):
                    items.append(token == "true")
                elif _NUMBER.match(token):
                    items.append(self.number(token, kind))
                else:
                    self.fail(f"{token!r} is not a number", self.i - 1)
        self.take(">")
        return items

    def opaque(self) -> Opaque:
        """Something else: a type, a symbol, dense<...> : type, #dialect.attr<...>."""
        text = self.next()
        if text in (")", "}", "]", ",", "=", ":", ">"):
            self.i -= 1
            self.expected("the value of an attribute")
        if text in _CLOSING:
            self.i -= 1
            text = self.skip_balanced()
            if self.accept("->"):  # a function type
                result = self.skip_balanced() if self.tokens[self.i] == "(" else self.next()
                return Opaque(f"{text} -> {result}")
            return Opaque(text)
        if self.tokens[self.i] == "<":
            text += self.skip_balanced()
            if self.accept(":"):
                text += " : " + self.next()
        return Opaque(text)

    # ---- locations
    def location(self) -> Location:
        """loc(...), or nothing."""
        if self.tokens[self.i] != "loc":
            return []
        self.i += 1
        self.take("(")
        names = self.location_body(0)
        self.take(")")
        return names

    def location_body(self, depth: int) -> Location:
        if depth > MAX_DEPTH:
            self.fail("nested too deeply")
        token = self.tokens[self.i]
        if token[:1] == '"':
            name = self.string()
            if self.tokens[self.i] == ":":  # file, line, column
                while self.tokens[self.i] not in (")", ",", "]", "at", ""):
                    self.i += 1
                return []
            if self.accept("("):
                self.location_body(depth + 1)
                self.take(")")
            return [name]
        if token[:1] == "#":
            self.i += 1
            return [("alias", token)]
        if token == "loc":
            return self.location()
        if token == "fused":
            self.i += 1
            if self.tokens[self.i] == "<":
                self.skip_balanced()
            self.take("[")
            names: Location = []
            while not self.accept("]"):
                names += self.location_body(depth + 1)
                self.accept(",")
            return names
        if token == "callsite":
            self.i += 1
            self.skip_balanced()
            return []
        if token == "unknown":
            self.i += 1
            return []
        self.expected("a location")
