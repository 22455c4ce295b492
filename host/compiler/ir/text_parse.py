"""MLIR text -> records of operations. Knows the grammar, not the dialects.

Accepted: the pretty and the generic form of module and function, operations in generic form, attributes in {...} or
<{...}>, location aliases before or behind their use, `//` comments. One function with one block.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ..errors import UnsupportedError, UserInputError
from .types import TensorType

# After the blanks one alternative always matches, so that matching never backtracks over them.
_TOKEN = re.compile(
    r'\s*(?://[^\n]*\s*)*('
    r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"?'
    r"|tensor<[^<>]*(?:<[^<>]*>[^<>]*)?>"
    r"|->"
    r"|[%^][\w$.-]+(?:#\d+)?"
    r"|[#@!][\w$.-]+"
    r"|0x[0-9a-fA-F]+"
    r"|-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"
    r"|[A-Za-z_][\w$.]*"
    r"|\S|\Z)"
)
_NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?\Z|0x[0-9a-fA-F]+\Z")
_ESCAPE = re.compile(rb"\\([0-9a-fA-F]{2}|.)", re.DOTALL)
_ELEMENTS = {
    "f32": "f32", "bf16": "bf16", "i8": "i8", "si8": "i8", "ui8": "u8", "i16": "i16", "si16": "i16",
    "ui16": "u16", "i32": "i32", "si32": "i32", "ui32": "u32", "i64": "i64", "si64": "i64",
    "u8": "u8", "u16": "u16", "u32": "u32",
}  # fmt: skip
_QUANT = re.compile(r"!quant\.uniform<\s*(\w+)(?:<[^<>]*>)?\s*:\s*f32\s*,\s*([^\s>:]+)(?::(-?\d+))?\s*>\Z")
_CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">"}
MAX_DEPTH = 50
Location = list[Any]  # names (str) and aliases (("alias", name))


class Opaque(str):
    """An attribute value we do not interpret (its text)."""


@dataclass
class Record:
    """One operation as it was written."""

    name: str
    results: list[str]
    operands: list[str]
    attrs: dict[str, Any]
    operand_types: list[TensorType | None]
    result_types: list[TensorType | None]
    location: Location
    token: int


@dataclass
class Module:
    """What the text says. returned: SSA names of the results of the function."""

    name: str = ""
    attrs: dict[str, Any] = field(default_factory=dict)
    args: list[str] = field(default_factory=list)
    arg_types: list[TensorType | None] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    aliases: dict[str, Location] = field(default_factory=dict)


class Parser:
    """Recursive descent over a list of tokens. Errors are UserInputError with file and line."""

    def __init__(self, text: str, where: str):
        self.text, self.where = text, where
        self.tokens: list[str] = _TOKEN.findall(text)
        self.tokens.append("")  # two ends, so that one may look ahead
        self.i = 0
        self.types: dict[str, TensorType | None] = {"none": None}
        self.module = Module()

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
        self.fail(f"expected {what}, found {got[:40]!r}" if got else f"expected {what}, but the text ends")

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
                raise UnsupportedError(f"{self.where}, line {self.line(at)}: the type {token} is not supported")
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
            return self.list(depth)
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

    def list(self, depth: int) -> list[Any]:
        if depth > MAX_DEPTH:
            self.fail("nested too deeply")
        self.i += 1
        items: list[Any] = []
        while not self.accept("]"):
            if items:
                self.take(",")
            items.append(self.attribute(depth + 1))
        return items

    def number(self, token: str, kind: str) -> Any:
        if len(token) > 60:
            self.fail("a number is too long", self.i - 1)
        if token.startswith("0x"):
            if kind in ("f64", "f32"):
                form, size = ("<d", 8) if kind == "f64" else ("<f", 4)
                return struct.unpack(form, (int(token, 16) & (1 << 8 * size) - 1).to_bytes(size, "little"))[0]
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
        """Something else: a type, a symbol, dense<...> : type, #dialect.attr<...>, affine_map<...>."""
        text = self.next()
        if text in (")", "}", "]", ",", "=", ":", ">"):
            self.i -= 1
            self.expected("the value of an attribute")
        if text in _CLOSING:
            self.i -= 1
            text = self.skip_balanced()
            if self.accept("->"):  # a function type
                return Opaque(f"{text} -> {self.skip_balanced() if self.tokens[self.i] == '(' else self.next()}")
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

    # ---- module and function
    def parse(self) -> Module:
        """The whole text."""
        seen = False
        while self.tokens[self.i]:
            if self.alias():
                continue
            if seen:
                self.expected("the end of the text")
            seen = True
            if self.accept("module"):
                self.pretty_module()
            elif self.tokens[self.i] == '"builtin.module"':
                self.generic(self.module_body, self.module_attrs)
            else:
                self.expected("a module")
        if not seen:
            self.fail("there is no module in this text")
        return self.module

    def alias(self) -> bool:
        """#name = loc(...); other aliases are skipped."""
        token = self.tokens[self.i]
        if token[:1] not in ("#", "!") or self.tokens[self.i + 1] != "=":
            return False
        self.i += 2
        if self.tokens[self.i] == "loc":
            self.module.aliases[token] = self.location()
        else:
            self.attribute()
        return True

    def pretty_module(self) -> None:
        if self.tokens[self.i][:1] == "@":
            self.module.name = self.symbol()
        if self.accept("attributes"):
            self.attributes(self.module.attrs)
        self.take("{")
        self.module_body()
        self.take("}")
        self.location()

    def module_attrs(self, attrs: dict[str, Any]) -> None:
        name = attrs.pop("sym_name", None)
        self.module.name = name if isinstance(name, str) else self.module.name
        self.module.attrs.update(attrs)

    def generic(self, body: Any, attrs_to: Any) -> None:
        """"op"() <{...}> ({ body }) {...} : () -> () loc(...)"""
        self.i += 1
        self.take("(")
        self.take(")")
        attrs: dict[str, Any] = {}
        if self.accept("<"):
            self.attributes(attrs)
            self.take(">")
        self.take("(")
        self.take("{")
        body()
        self.take("}")
        self.take(")")
        if self.tokens[self.i] == "{":
            self.attributes(attrs)
        self.take(":")
        self.type_list()
        self.take("->")
        self.results()
        self.location()
        attrs_to(attrs)

    def module_body(self) -> None:
        if self.tokens[self.i][:1] == "^":
            self.i += 1
            if self.tokens[self.i] == "(":
                self.skip_balanced()
            self.take(":")
        while self.tokens[self.i] != "}":
            if self.alias():
                continue
            if self.accept("func.func") or self.accept("func"):
                self.pretty_function()
            elif self.tokens[self.i] == '"func.func"':
                self.generic(self.function_block, self.function_attrs)
            else:
                self.expected("a function")

    def function_attrs(self, attrs: dict[str, Any]) -> None:
        self.module.functions.append(str(attrs.get("sym_name", "")))

    def pretty_function(self) -> None:
        if self.tokens[self.i] in ("private", "public", "nested"):
            self.i += 1
        self.module.functions.append(self.symbol())
        self.arguments()
        if self.accept("->"):
            if self.tokens[self.i] == "(":
                self.skip_balanced()
            else:
                self.type()
        if self.accept("attributes"):
            self.attributes({})
        self.take("{")
        self.block()
        self.take("}")
        self.location()

    def function_block(self) -> None:
        if self.tokens[self.i][:1] == "^":
            self.i += 1
            if self.tokens[self.i] == "(":
                self.arguments()
            self.take(":")
        self.block()

    def arguments(self) -> None:
        """(%name: type {...} loc(...), ...)"""
        self.take("(")
        first = True
        while not self.accept(")"):
            if not first:
                self.take(",")
            first = False
            token = self.next()
            if token[0] != "%":
                self.i -= 1
                self.expected("an argument")
            self.take(":")
            self.module.args.append(token)
            self.module.arg_types.append(self.type())
            if self.tokens[self.i] == "{":
                self.attributes({})
            self.location()

    def block(self) -> None:
        if len(self.module.functions) > 1 or self.module.records:
            raise UnsupportedError(f"{self.where} has more than one function; only one is supported")
        tokens = self.tokens
        while tokens[self.i] != "}":
            if tokens[self.i][:1] == "#" and self.alias():
                continue
            self.operation()

    # ---- operations
    def operation(self) -> None:
        start = self.i
        results = self.result_names() if self.tokens[self.i][:1] == "%" else []
        token = self.tokens[self.i]
        if token in ("return", "func.return"):
            self.pretty_return()
            return
        name = self.string()
        operands = self.operand_names()
        attrs: dict[str, Any] = {}
        if self.accept("<"):
            self.attributes(attrs)
            self.take(">")
        if self.tokens[self.i] == "(" or self.tokens[self.i] == "[":
            raise UnsupportedError(
                f"{self.where}, line {self.line(self.i)}: {name} has regions or successors, which are not supported"
            )
        if self.tokens[self.i] == "{":
            self.attributes(attrs)
        self.take(":")
        operand_types = self.type_list()
        self.take("->")
        result_types = self.results()
        location = self.location()
        if len(operand_types) != len(operands) or len(result_types) != len(results):
            self.fail(f"{name} has {len(operands)} operands and {len(results)} results, but types for "
                      f"{len(operand_types)} and {len(result_types)}", start)  # fmt: skip
        if name in ("func.return", "std.return"):
            self.module.returned = operands
            return
        self.module.records.append(
            Record(name, results, operands, attrs, operand_types, result_types, location, start)
        )

    def result_names(self) -> list[str]:
        """%0 = , %0:2 = , %0, %1 = ; the results of a group are %0#0, %0#1."""
        names: list[str] = []
        while True:
            token = self.next()
            if token[0] != "%" or "#" in token:
                self.i -= 1
                self.expected("the name of a result")
            if self.accept(":"):
                count = self.next()
                if not count.isdigit() or not 0 < int(count[:9]) <= 10000:
                    self.fail(f"{count[:20]!r} is no number of results", self.i - 1)
                names += [f"{token}#{k}" for k in range(int(count))]
            else:
                names.append(token)
            if not self.accept(","):
                break
        self.take("=")
        return names

    def operand_names(self) -> list[str]:
        self.take("(")
        names: list[str] = []
        while not self.accept(")"):
            if names:
                self.take(",")
            token = self.next()
            if token[0] != "%":
                self.i -= 1
                self.expected("an operand")
            names.append(token)
        return names

    def pretty_return(self) -> None:
        self.i += 1
        names: list[str] = []
        while self.tokens[self.i][:1] == "%":
            names.append(self.next())
            self.accept(",")
        if names:
            self.take(":")
            for k in range(len(names)):
                if k:
                    self.take(",")
                self.type()
        self.location()
        self.module.returned = names
