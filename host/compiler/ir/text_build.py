"""Records of operations (text_parse) + weights -> Graph: looks up the declared operations and
checks everything.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..errors import InternalError, UnsupportedError, UserInputError
from .graph import Graph, Value
from .op import OPS, Op
from .text_lex import MAX_DEPTH, Location, Opaque
from .text_parse import Module, Parser, Record
from .types import TensorType

_MALFORMED = (
    InternalError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ZeroDivisionError,
    OverflowError,
)


class Weights(Protocol):
    def get(self, name: str, type: TensorType) -> np.ndarray: ...


class Builder:
    def __init__(self, parser: Parser, module: Module, weights: Weights):
        self.parser, self.module, self.weights = parser, module, weights
        self.env: dict[str, Value | None] = {}
        attrs = {
            k.removeprefix("module."): tuple(v) if isinstance(v, list) else v
            for k, v in module.attrs.items()
            if not isinstance(v, Opaque | dict) and k != "module.weight_file"
        }
        self.graph = Graph(module.name or "main")
        self.graph.attrs = attrs

    def build(self) -> Graph:
        self.check_known()
        used = {v for r in self.module.records for v in r.operands}
        for r in self.module.records:
            try:
                self.record(r, used)
            except UnsupportedError as e:
                line = self.parser.line(r.token)
                raise UnsupportedError(f"{self.parser.where}, line {line}: {e}") from None
            except UserInputError:
                raise
            except _MALFORMED as e:
                self.parser.fail(f"{r.name}: {e}", r.token)
        for name in self.module.returned:
            value = self.env.get(name)
            if value is None or value.is_const:
                raise UserInputError(
                    f"{self.parser.where}: the function returns {name}, which no operation computes"
                )
            self.graph.outputs.append(value)
        try:
            self.graph.verify()
        except _MALFORMED as e:
            raise UserInputError(f"{self.parser.where}: {e}") from None
        return self.graph

    def check_known(self) -> None:
        """All operations that are not declared, in one error."""
        unknown: dict[str, int] = {}
        for r in self.module.records:
            if r.name not in OPS and not r.name.endswith((".Weight", ".None")):
                unknown.setdefault(r.name, r.token)
        if unknown:
            found = ", ".join(f"{n} (line {self.parser.line(t)})" for n, t in unknown.items())
            raise UnsupportedError(
                f"{self.parser.where}: unknown operations {found}. Supported: "
                f"{', '.join(sorted(OPS))}"
            )

    def names(self, location: Location, depth: int = 0) -> list[str]:
        """The names of a location, aliases resolved."""
        out: list[str] = []
        for item in location:
            if isinstance(item, str):
                out.append(item)
            elif item[1] not in self.module.aliases:
                raise ValueError(f"the location {item[1]} is not defined")
            elif depth > MAX_DEPTH:
                raise ValueError(f"the location {item[1]} contains itself")
            else:
                out += self.names(self.module.aliases[item[1]], depth + 1)
        return out

    def record(self, r: Record, used: set[str]) -> None:
        kind = r.name.rpartition(".")[2]
        if kind == "None":
            self.define(r, [None])
            return
        types = [t for t in r.result_types if t is not None]
        if len(types) != len(r.results) or not types:
            raise ValueError("a result has no type")
        names = self.names(r.location)
        if len(names) != len(types):
            names = [n.replace("%", "v") for n in r.results]
        if kind == "Weight":
            if r.results[0] in used:
                data = self.weights.get(names[0], types[0])
                self.define(r, [Value(names[0], types[0], None, data)])
            return
        self.define(r, self.op(OPS[r.name], r, names, types).results)

    def op(self, cls: type[Op], r: Record, names: list[str], types: list[TensorType]) -> Op:
        operands = [] if cls.__name__ in ("Input", "InputOp") else self.operands(r)
        known = len(cls.operand_names)
        if not (known and cls.operand_names[-1].endswith("*")):
            while len(operands) > known and operands[-1] is None:
                operands.pop()
        attrs = cls.adopt(r.attrs, r.operand_types, types)
        for n, v in attrs.items():
            if isinstance(v, Opaque | dict):
                raise ValueError(f"attribute {n} is {v!r}")
            if cls.declared[n].kind == "bytes" and isinstance(v, str):
                attrs[n] = bytes.fromhex(v)
        op = cls(operands, names, types, **attrs)
        self.graph.ops.append(op)
        return op

    def operands(self, r: Record) -> list[Value | None]:
        out = []
        for name, t in zip(r.operands, r.operand_types, strict=True):
            if name not in self.env:
                raise ValueError(f"{name} is used before it is defined")
            value = self.env[name]
            if (None if value is None else value.type) != t:
                raise ValueError(f"{name} is {value and value.type}, but used as {t}")
            out.append(value)
        return out

    def define(self, r: Record, values: list[Any]) -> None:
        for name, value in zip(r.results, values, strict=True):
            if name in self.env:
                raise ValueError(f"{name} is defined twice")
            self.env[name] = value
            if name.endswith("#0"):
                self.env[name[:-2]] = value
            elif "#" not in name:
                self.env[name + "#0"] = value
