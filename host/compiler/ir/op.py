"""Op: the base of every operation; OPS: all declared operations by their text name ("top.Conv")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import InternalError, UnsupportedError
from .attributes import Attr
from .types import TensorType

if TYPE_CHECKING:
    from .graph import Value

OPS: dict[str, type[Op]] = {}


def register(cls: type[Op]) -> type[Op]:
    """Class decorator: collect the declared attributes and make the op known to the text reader."""
    cls.declared = {
        a.name: a
        for base in reversed(cls.__mro__)
        for a in vars(base).values()
        if isinstance(a, Attr)
    }
    if cls.op_name() in OPS:
        raise InternalError(f"{cls.op_name()} is declared twice")
    OPS[cls.op_name()] = cls
    return cls


class Op:
    """One operation with one or more results.

    operand_names declares the operands in order: "x" is required, "x?" may be None (absent), "x*"
    (last only) takes any number. A declared attribute is read and written like a Python attribute.
    `infer` gives the result types.
    """

    dialect: ClassVar[str] = ""
    operand_names: ClassVar[tuple[str, ...]] = ()
    declared: ClassVar[dict[str, Attr]] = {}
    foreign: ClassVar[
        dict[str, Any]
    ] = {}  # attributes of the vendor's text form that we do not have: the value we accept

    def __init__(
        self,
        operands: Sequence[Value | None],
        names: Sequence[str],
        types: Sequence[TensorType] | None = None,
        **attrs: Any,
    ):
        from .graph import Value

        cls = type(self)
        unknown = set(attrs) - set(cls.declared)
        if unknown:
            raise InternalError(f"{cls.op_name()} has no attribute {', '.join(sorted(unknown))}")
        self.attrs: dict[str, Any] = {}
        for a in cls.declared.values():
            if a.name not in attrs and a.required:
                raise InternalError(f"{cls.op_name()} {names[0]!r}: attribute {a.name} is missing")
            self.attrs[a.name] = (
                a.check(attrs[a.name], cls.op_name()) if a.name in attrs else a.default
            )
        self._operands: list[Value | None] = []
        for i, v in enumerate(operands):
            self._operands.append(v)
            if v is not None:
                v.uses.append((self, i))
        self._check_operands()
        inferred = list(types) if types is not None else self.infer()
        self.results = [Value(n, t, self) for n, t in zip(names, inferred, strict=True)]

    # ---- names
    @classmethod
    def op_name(cls) -> str:
        return f"{cls.dialect}.{cls.__name__.removesuffix('Op')}"

    @property
    def name(self) -> str:
        """Name of the op = name of its first result (cli.md section 3.4)."""
        return self.results[0].name

    # ---- operands
    @property
    def operands(self) -> tuple[Value | None, ...]:
        return tuple(self._operands)

    def inputs(self) -> Iterator[Value]:
        """The operands that are activations (not absent, not constants)."""
        return (v for v in self._operands if v is not None and not v.is_const)

    def operand(self, name: str) -> Value | None:
        """The operand declared under this name; None if it is absent."""
        for i, n in enumerate(self.operand_names):
            if n.rstrip("?*") == name:
                return self._operands[i] if i < len(self._operands) else None
        raise InternalError(f"{self.op_name()} has no operand {name!r}")

    def arg(self, index: int) -> Value:
        """Operand `index`, which must be there."""
        value = self._operands[index] if index < len(self._operands) else None
        if value is None:
            raise InternalError(f"{self.op_name()}: operand {index} is missing")
        return value

    def set_operand(self, index: int, value: Value | None) -> None:
        old = self._operands[index]
        if old is not None:
            old.uses.remove((self, index))
        self._operands[index] = value
        if value is not None:
            value.uses.append((self, index))

    def add_operand(self, value: Value | None) -> None:
        """Append an operand that is declared and was left away."""
        self._operands.append(None)
        self.set_operand(len(self._operands) - 1, value)

    def _check_operands(self) -> None:
        least = sum(not n.endswith(("?", "*")) for n in self.operand_names)
        most = (
            None
            if self.operand_names and self.operand_names[-1].endswith("*")
            else len(self.operand_names)
        )
        n = len(self._operands)
        if n < least or (most is not None and n > most):
            raise InternalError(
                f"{self.op_name()}: {n} operands, expected ({', '.join(self.operand_names)})"
            )
        for i, v in enumerate(self._operands):
            declared = self.operand_names[min(i, len(self.operand_names) - 1)]
            if v is None and not declared.endswith("?"):
                raise InternalError(f"{self.op_name()}: operand {declared} is missing")

    # ---- for subclasses
    @classmethod
    def adopt(
        cls, attrs: dict[str, Any], operands: list[TensorType | None], results: list[TensorType]
    ) -> dict[str, Any]:
        """Attributes read from text, fitted to this declaration: undeclared ones are dropped.

        UnsupportedError if a dropped one means something: it is listed in `foreign` and has another
        value.
        """
        for name, only in cls.foreign.items():
            if name in attrs and attrs[name] != only:
                raise UnsupportedError(
                    f"{cls.op_name()}: {name} = {attrs[name]!r} is not supported (only {only!r})"
                )
        return {n: v for n, v in attrs.items() if n in cls.declared}

    def infer(self) -> list[TensorType]:
        """Types of the results, from operands and attributes."""
        raise NotImplementedError(self.op_name())

    def verify(self) -> None:
        """Raise InternalError if the op is inconsistent. Default: declared result shapes equal the
        inferred ones.
        """
        for r, t in zip(self.results, self.infer(), strict=True):
            if r.type.shape != t.shape or r.type.dtype != t.dtype:
                raise InternalError(
                    f"{self.op_name()} {self.name!r}: result is {r.type}, its operands give {t}"
                )

    def __repr__(self) -> str:
        ins = ", ".join("none" if v is None else v.name for v in self._operands)
        return f"<{self.op_name()} {self.name}: ({ins}) -> {self.results[0].type}>"
