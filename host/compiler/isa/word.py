"""Instruction words as declarative tables: a Word class lists its Fields; packing, unpacking and
checks follow from it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from operator import index
from typing import Any, ClassVar

import numpy as np

from ..errors import InternalError


class Field:
    """Bits lo..hi of a word (bit n = bit n mod 8 of byte n div 8) and their reset value."""

    name: str

    def __init__(self, lo: int, hi: int, reset: int, doc: str, *, signed: bool = False) -> None:
        self.lo, self.hi, self.reset, self.doc, self.signed = lo, hi, reset, doc, signed
        self.width = hi - lo + 1
        self.mask = (1 << self.width) - 1
        self.min = -(1 << (self.width - 1)) if signed else 0
        self.max = (1 << (self.width - 1)) - 1 if signed else self.mask

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Field({self.name}: {self.lo}..{self.hi})"


class Word:
    """Base of every instruction word. Subclasses declare `size` (bytes) and their Fields; nothing
    is instantiated.

    joined: name -> (low field, high field), quantities that encoding also accepts in one piece.
    elsewhere: names of sister words' fields that this word lacks; encoding accepts them with value
    0 only.
    """

    size: ClassVar[int]
    fields: ClassVar[dict[str, Field]]
    joined: ClassVar[dict[str, tuple[str, str]]] = {}
    elsewhere: ClassVar[frozenset[str]] = frozenset()
    reset_word: ClassVar[int]
    _pack: ClassVar[dict[str, tuple[int, int, int, int, int]]]
    _signed: ClassVar[tuple[Field, ...]]
    _words: ClassVar[struct.Struct]
    _pairs: ClassVar[tuple[int, ...]]  # 32-bit words that a field shares with the next one
    _unpack: ClassVar[
        tuple[tuple[str, int, int, int], ...]
    ]  # name, 32-bit word or pair, shift, mask

    def __init_subclass__(cls) -> None:
        cls.fields = {f.name: f for f in vars(cls).values() if isinstance(f, Field)}
        covered = 0
        cls.reset_word = 0
        for f in cls.fields.values():
            if covered & (f.mask << f.lo) or f.hi >= cls.size * 8 or not f.min <= f.reset <= f.max:
                raise InternalError(
                    f"{cls.__name__}.{f.name}: overlap, end or reset value is wrong"
                )
            covered |= f.mask << f.lo
            cls.reset_word |= (f.reset & f.mask) << f.lo
        every = cls.fields.values()
        cls._pack = {f.name: (f.min, f.max, f.reset, f.mask, f.lo) for f in every}
        cls._signed = tuple(f for f in every if f.signed)
        cls._words = struct.Struct(f"<{cls.size // 4}I")
        cls._pairs = tuple(f.lo // 32 for f in every if f.lo // 32 != f.hi // 32)
        place = {i: cls.size // 4 + k for k, i in enumerate(cls._pairs)}
        cls._unpack = tuple(
            (
                f.name,
                f.lo // 32 if f.lo // 32 == f.hi // 32 else place[f.lo // 32],
                f.lo % 32,
                f.mask,
            )
            for f in every
        )

    @classmethod
    def encode(cls, values: Mapping[str, int]) -> bytes:
        """The word with the given fields, everything else at its reset value; InternalError names a
        bad field.
        """
        word, pack = cls.reset_word, cls._pack
        if cls.joined and not cls.joined.keys().isdisjoint(values):
            values = cls._split(values)
        for name, value in values.items():
            known = pack.get(name)
            if known is None:
                cls._refuse_unknown(name, value)
                continue
            low, high, reset, mask, lo = known
            value = index(value)
            if not low <= value <= high:
                raise InternalError(f"{cls.__name__}.{name} = {value} is outside {low}..{high}")
            if value != reset:
                word ^= ((value ^ reset) & mask) << lo
        return word.to_bytes(cls.size, "little")

    @classmethod
    def decode(cls, data: bytes | memoryview) -> dict[str, int]:
        """All fields of one word, reserved ones included, so that encode(decode(x)) == x."""
        if len(data) != cls.size:
            raise InternalError(f"{cls.__name__} has {cls.size} bytes, not {len(data)}")
        words = list(cls._words.unpack(data))
        words += [words[i] | words[i + 1] << 32 for i in cls._pairs]
        out = {name: words[i] >> shift & mask for name, i, shift, mask in cls._unpack}
        for f in cls._signed:
            if out[f.name] > f.max:
                out[f.name] -= f.mask + 1
        return out

    @classmethod
    def _split(cls, values: Mapping[str, int]) -> dict[str, int]:
        """Replace joined quantities by their low and high fields."""
        out = dict(values)
        for name, (low, high) in cls.joined.items():
            if name not in out:
                continue
            value = index(out.pop(name))
            if low in out or high in out:
                raise InternalError(
                    f"{cls.__name__}: {name} is given together with {low} or {high}"
                )
            first = cls.fields[low]
            if value < 0:
                raise InternalError(f"{cls.__name__}.{name} = {value} is negative")
            out[low], out[high] = value & first.mask, value >> first.width
        return out

    @classmethod
    def _refuse_unknown(cls, name: str, value: int) -> None:
        """Field names of a sister word are tolerated with their neutral value 0; all others are a
        mistake.
        """
        if name not in cls.elsewhere:
            raise InternalError(f"{cls.__name__} has no field {name} (value {value})")
        if value != 0:
            raise InternalError(
                f"{cls.__name__} has no field {name}: only 0 is possible, not {value}"
            )


class Columns(Mapping[str, Any]):
    """Many words of one kind: columns["res0_c"] is an int64 array, one entry per word, unpacked on
    first use.
    """

    def __init__(self, word: type[Word], data: bytes | np.ndarray) -> None:
        raw = np.frombuffer(data, np.uint8) if not isinstance(data, np.ndarray) else data
        self.word = word
        self.count = raw.size // word.size
        self._words = np.ascontiguousarray(raw).view("<u4").reshape(self.count, word.size // 4)
        self._cache: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._cache:
            self._cache[name] = self._unpack(name)
        return self._cache[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.word.fields)

    def __len__(self) -> int:
        return len(self.word.fields)

    def _unpack(self, name: str) -> np.ndarray:
        """One field, or one joined quantity, of every word."""
        if name in self.word.joined:
            low, high = self.word.joined[name]
            return self[low] | self[high] << self.word.fields[low].width
        f = self.word.fields.get(name)
        if f is None:
            if name in self.word.elsewhere:
                return np.zeros(self.count, np.int64)
            raise KeyError(name)
        first, shift = divmod(f.lo, 32)
        value = self._words[:, first].astype(np.int64)
        if f.hi // 32 > first:
            value |= self._words[:, first + 1].astype(np.int64) << 32
        value = (value >> shift) & f.mask
        return value - ((value > f.max) * (f.mask + 1)) if f.signed else value
