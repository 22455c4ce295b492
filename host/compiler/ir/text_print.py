"""Graph -> MLIR text, in the layout of the vendor's files: pretty module and function, operations
in generic form.

    module @net attributes {module.state = "TOP_F32", module.weight_file = "net.npz"} {
      func.func @main(%arg0: tensor<1x3x8x8xf32> loc(unknown)) -> (tensor<1x4x8x8xf32>) {
        %0 = "top.Input"(%arg0) {...} : (tensor<1x3x8x8xf32>) -> tensor<1x3x8x8xf32> loc("input")
        %1 = "top.Weight"() : () -> tensor<4x3x1x1xf32> loc("conv.weight")
        ...

Names of tensors are locations. Constants are "top.Weight" lines (data in the .npz), absent operands
are "top.None".
"""

from __future__ import annotations

import re
import struct
from typing import Any

from .attributes import Attr
from .graph import Graph, Value
from .op import Op
from .types import TensorType

ELEMENT_TO_MLIR = {
    "f32": "f32",
    "bf16": "bf16",
    "i8": "i8",
    "u8": "ui8",
    "i16": "i16",
    "u16": "ui16",
    "i32": "i32",
    "u32": "ui32",
    "i64": "i64",
}
_BARE = re.compile(r"[A-Za-z_][\w$.]*\Z", re.ASCII)
_ESCAPED = frozenset(map(chr, [*range(32), 34, 92, 127]))
_PLAIN = re.compile(r"[ !#-\[\]-~]*\Z")  # printable ASCII without quote and backslash


def quoted(text: str) -> str:
    """A string literal: quote, backslash and control characters become \\HH, the rest stays."""
    if _PLAIN.match(text):
        return f'"{text}"'
    return '"' + "".join(f"\\{ord(c):02X}" if c in _ESCAPED else c for c in text) + '"'


def float_text(x: float) -> str:
    """A float64 literal that reads back as exactly the same number (MLIR needs a dot; inf and nan
    are bit patterns).
    """
    r = repr(x)
    if "n" in r:  # inf, nan
        return f"0x{struct.unpack('<Q', struct.pack('<d', x))[0]:016X} : f64"
    if "." in r:
        return r
    mantissa, e, exponent = r.partition("e")
    return f"{mantissa}.0{e}{exponent}"


def type_text(t: TensorType) -> str:
    element = ELEMENT_TO_MLIR[t.dtype]
    if t.scale is not None:
        element = f"!quant.uniform<{t.dtype}:f32, {float_text(t.scale)}>"
    return f"tensor<{''.join(f'{d}x' for d in t.shape)}{element}>"


def attr_text(value: Any) -> str:
    """An attribute without declared kind (those of the module)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value} : i64"
    if isinstance(value, float):
        text = float_text(value)
        return text if "x" in text else f"{text} : f64"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bytes):
        return f'"{value.hex()}"'
    if isinstance(value, tuple | list):
        return f"[{', '.join(_item(v) for v in value)}]"
    raise TypeError(f"an attribute can not hold {type(value).__name__}")


def _item(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return attr_text(value)
    return str(value) if isinstance(value, int) else float_text(value)


def key_text(name: str) -> str:
    return name if _BARE.match(name) else quoted(name)


def to_text(graph: Graph, weight_file: str | None = None) -> str:
    """The module as text. weight_file: name of the .npz beside, written into the module's
    attributes.
    """
    attrs = {f"module.{k}": v for k, v in graph.attrs.items()}
    attrs["module.weight_file"] = weight_file or f"{graph.name}_weight.npz"
    body = ", ".join(f"{key_text(k)} = {attr_text(v)}" for k, v in sorted(attrs.items()))
    inputs = [type_text(v.type) for v in graph.inputs]
    args = ", ".join(f"%arg{i}: {t} loc(unknown)" for i, t in enumerate(inputs))
    results = ", ".join(type_text(v.type) for v in graph.outputs)
    lines = [
        f"module @{key_text(graph.name)} attributes {{{body}}} {{",
        f"  func.func @main({args}) -> {results if len(graph.outputs) == 1 else f'({results})'} {{",
    ]
    _Body(graph, lines).print()
    lines += ["  } loc(unknown)", "} loc(unknown)", ""]
    return "\n".join(lines)


def const_names(graph: Graph) -> dict[int, str]:
    """id of a constant -> its name in text and .npz; a name that occurs twice gets a number."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    for v in graph.consts():
        name, i = v.name, 0
        while name in taken:
            i += 1
            name = f"{v.name}_{i}"
        taken.add(name)
        names[id(v)] = name
    return names


class _Body:
    """Prints the operations, constants before their first use."""

    def __init__(self, graph: Graph, lines: list[str]):
        self.graph, self.lines = graph, lines
        self.ids: dict[int, str] = {}  # id of value -> %name
        self.types: dict[TensorType, str] = {}
        self.consts = const_names(graph)
        self.inputs = {id(v.owner): i for i, v in enumerate(graph.inputs)}
        self.next, self.none = 0, ""

    def type(self, t: TensorType) -> str:
        text = self.types.get(t)
        if text is None:
            text = self.types[t] = type_text(t)
        return text

    def print(self) -> None:
        for op in self.graph.ops:
            self.op(op)
        values = ", ".join(self.ids[id(v)] for v in self.graph.outputs)
        types = ", ".join(self.type(v.type) for v in self.graph.outputs)
        self.lines.append(
            f"    return {values} : {types} loc(unknown)" if values else "    return loc(unknown)"
        )

    def new(self, results: int = 1) -> str:
        name, self.next = f"%{self.next}", self.next + 1
        return name if results == 1 else f"{name}:{results}"

    def operand(self, v: Value | None) -> tuple[str, str]:
        if v is None:
            if not self.none:
                self.none = self.new()
                self.lines.append(f'    {self.none} = "top.None"() : () -> none loc(unknown)')
            return self.none, "none"
        t, name = self.type(v.type), self.ids.get(id(v))
        if name is None:
            name = self.ids[id(v)] = self.new()
            loc = quoted(self.consts[id(v)])
            self.lines.append(f'    {name} = "top.Weight"() : () -> {t} loc({loc})')
        return name, t

    def op(self, op: Op) -> None:
        if id(op) in self.inputs:
            operands = [(f"%arg{self.inputs[id(op)]}", self.type(op.results[0].type))]
        else:
            operands = [self.operand(v) for v in op._operands]
        ids = self.new(len(op.results))
        result_types = [self.type(r.type) for r in op.results]
        if len(result_types) == 1:
            self.ids[id(op.results[0])] = ids
            result, loc = result_types[0], quoted(op.results[0].name)
        else:
            base = ids.partition(":")[0]
            for i, r in enumerate(op.results):
                self.ids[id(r)] = f"{base}#{i}"
            result = f"({', '.join(result_types)})"
            loc = f"fused[{', '.join(quoted(r.name) for r in op.results)}]"
        attrs = ", ".join(
            f"{n} = {declared_text(op.declared[n], v)}"
            for n, v in sorted(op.attrs.items())
            if v is not None
        )
        types = f"({', '.join(t for _, t in operands)}) -> {result}"
        self.lines.append(
            f'    {ids} = "{op.op_name()}"({", ".join(o for o, _ in operands)})'
            f"{f' {{{attrs}}}' if attrs else ''} : {types} loc({loc})"
        )


def declared_text(attr: Attr, value: Any) -> str:
    """The value of a declared attribute."""
    if attr.kind == "ints":
        return f"[{', '.join(map(str, value))}]"
    if attr.kind == "floats":
        return f"[{', '.join(map(float_text, value))}]"
    return attr_text(value)
