"""MLIR text -> records of operations. Knows the grammar, not the dialects.

Accepted: the pretty and the generic form of module and function, operations in generic form,
attributes in {...} or <{...}>, location aliases before or behind their use, `//` comments. One
function with one block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import UnsupportedError
from .text_lex import Lexer, Location
from .types import TensorType

_NO_OPERANDS = ["(", ")", ":", "(", ")", "->"]


@dataclass(slots=True)
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


class Parser(Lexer):
    """Recursive descent over the tokens."""

    def __init__(self, text: str, where: str):
        super().__init__(text, where)
        self.module = Module()

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

    def generic(self, body: Callable[[], None], attrs_to: Callable[[dict[str, Any]], None]) -> None:
        """ "op"() <{...}> ({ body }) {...} : () -> () loc(...)"""
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
            raise UnsupportedError(
                f"{self.where} has more than one function; only one is supported"
            )
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
        if token == '"top.Weight"' and self.tokens[self.i + 1 : self.i + 7] == _NO_OPERANDS:
            self.i += 7  # the most frequent line, without detours
            types = self.results()
            self.module.records.append(
                Record("top.Weight", results, [], {}, [], types, self.location(), start)
            )
            return
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
                f"{self.where}, line {self.line(self.i)}: {name} has regions or successors, which "
                "are not supported"
            )
        if self.tokens[self.i] == "{":
            self.attributes(attrs)
        self.take(":")
        operand_types = self.type_list()
        self.take("->")
        result_types = self.results()
        location = self.location()
        if len(operand_types) != len(operands) or len(result_types) != len(results):
            self.fail(
                f"{name} has {len(operands)} operands and {len(results)} results, but types for "
                f"{len(operand_types)} and {len(result_types)}",
                start,
            )
        if name in ("func.return", "std.return"):
            self.module.returned = operands
            return
        self.module.records.append(
            Record(name, results, operands, attrs, operand_types, result_types, location, start)
        )

    def result_names(self) -> list[str]:
        """%0 = , %0:2 = , %0, %1 = ; the results of a group are %0#0, %0#1."""
        if self.tokens[self.i + 1] == "=" and "#" not in self.tokens[self.i]:
            self.i += 2
            return [self.tokens[self.i - 2]]
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
