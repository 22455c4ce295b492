"""Command streams: packets of TIU and TDMA words (hw/cv18xx.md section 5, formats/cvimodel.md
section 11).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...chip import CHIPS, Chip, chip_named
from ...errors import InternalError, UserInputError
from ..word import Columns, Word
from .tdma import Tdma
from .tiu_a import TiuA
from .tiu_b import TiuB

TIU_WORDS: dict[str, type[Word]] = {"A": TiuA, "B": TiuB}
TiuA.elsewhere = frozenset(TiuB.fields) - frozenset(TiuA.fields)
TiuB.elsewhere = frozenset(TiuA.fields) - frozenset(TiuB.fields)

ENGINES = {0: "tiu", 2: "tdma"}
ENGINE_CODES = {name: code for code, name in ENGINES.items()}
CPU_MARKER = 1
HEADER = struct.Struct("<BBBBI")


def tiu_word(generation: str) -> type[Word]:
    """The TIU word class of generation "A" or "B"."""
    if generation not in TIU_WORDS:
        raise InternalError(f"generation {generation!r} is neither A nor B")
    return TIU_WORDS[generation]


def encode_tiu(generation: str, fields: Mapping[str, int]) -> bytes:
    """112 bytes: the TIU word with these fields, all others at reset (hw/cv18xx-tiu.md section 1).

    Field names are the unified ones; a field that the generation lacks is accepted with value 0
    only. InternalError names an unknown field or a value outside its range.
    """
    return tiu_word(generation).encode(fields)


def decode_tiu(generation: str, data: bytes | memoryview) -> dict[str, int]:
    """All fields of a TIU word, reserved bits included; encode_tiu gives the same bytes again."""
    return tiu_word(generation).decode(data)


def encode_tdma(fields: Mapping[str, int]) -> bytes:
    """64 bytes: the TDMA word with these fields, all others at reset (hw/cv18xx-tdma.md section 1).

    Addresses (40 bits) and c strides (32 bits) may be given whole as src_base_addr, dst_base_addr,
    src_c_stride, dst_c_stride, or as their _low and _high parts.
    """
    return Tdma.encode(fields)


def decode_tdma(data: bytes | memoryview) -> dict[str, int]:
    """All fields of a TDMA word, reserved bits included; encode_tdma gives the same bytes again."""
    return Tdma.decode(data)


def packet(chip: Chip, engine: str, body: bytes) -> bytes:
    """Header (magic, length, engine, 0, u32 0) and body of one command."""
    size = Tdma.size if engine == "tdma" else TIU_WORDS[chip.generation].size
    if engine not in ENGINE_CODES or len(body) != size:
        raise InternalError(f"a packet for engine {engine!r} can not carry {len(body)} bytes")
    return HEADER.pack(chip.magic, size, ENGINE_CODES[engine], 0, 0) + body


@dataclass(frozen=True)
class Command:
    """One instruction of a stream; `offset` is the position of its packet, `raw` its word without
    the header.
    """

    engine: str  # "tiu" or "tdma"
    raw: bytes
    offset: int
    word: type[Word]

    @cached_property
    def fields(self) -> dict[str, int]:
        """The decoded word (unpacked on first use)."""
        return self.word.decode(self.raw)

    @property
    def id(self) -> int:
        """The command's own id on its engine."""
        return self.fields["cmd_id_tpu" if self.engine == "tiu" else "cmd_id"]

    @property
    def wait(self) -> int:
        """Id of the other engine that must be finished before this one starts; 0 = none."""
        f = self.fields
        if self.engine == "tiu":
            return f["cmd_id_gdma"] if f["cmd_id_en"] else 0
        return f["wait_id_tpu"] if f["bar_en"] else 0


def parse_stream(chip: Chip | str, data: bytes | memoryview) -> list[Command]:
    """The commands of a stream in program order (CPU markers are passed over).

    UserInputError with the byte position when a packet is cut off or has a wrong magic, engine or
    length.
    """
    chip = chip_named(chip) if isinstance(chip, str) else chip
    tiu = TIU_WORDS[chip.generation]
    data = bytes(data)
    out: list[Command] = []
    at, end = 0, len(data)
    while at < end:
        if end - at < HEADER.size:
            raise UserInputError(
                f"command stream: {end - at} stray bytes at {at}, a packet needs {HEADER.size}"
            )
        magic, length, engine, flags, mask = HEADER.unpack_from(data, at)
        length = length or mask
        _check_header(chip, at, end, magic, length, engine & 15, flags)
        body = data[at + HEADER.size : at + HEADER.size + length]
        if engine & 15 != CPU_MARKER:
            name = ENGINES[engine & 15]
            out.append(Command(name, body, at, tiu if name == "tiu" else Tdma))
        at += HEADER.size + length
    return out


def _check_header(
    chip: Chip, at: int, end: int, magic: int, length: int, engine: int, flags: int
) -> None:
    """UserInputError for a packet header that this chip's stream can not contain."""
    if magic != chip.magic:
        other = next((f" (it is that of {c.name})" for c in CHIPS.values() if c.magic == magic), "")
        raise UserInputError(f"command stream: packet at {at} has magic {magic:#04x}{other}, "
                             f"{chip.name} needs {chip.magic:#04x}")  # fmt: skip
    sizes = {0: TiuA.size, 2: Tdma.size}
    if engine not in (0, CPU_MARKER, 2):
        raise UserInputError(
            f"command stream: packet at {at} is for engine {engine}, known are 0, 1 and 2"
        )
    if flags:
        raise UserInputError(
            f"command stream: packet at {at} has flags {flags:#04x}, they must be 0"
        )
    if engine in sizes and length != sizes[engine]:
        raise UserInputError(
            f"command stream: packet at {at} for the {ENGINES[engine]} has {length} bytes, "
            f"not {sizes[engine]}"
        )
    if length > end - at - HEADER.size:
        raise UserInputError(
            f"command stream: packet at {at} is cut off: {length} bytes announced, "
            f"{end - at - HEADER.size} left"
        )


def columns(commands: Iterable[Command], engine: str) -> Columns:
    """All words of one engine as arrays, in stream order. At least one command of any engine must
    be present.
    """
    chosen = [c for c in commands if c.engine == engine]
    word = chosen[0].word if chosen else (Tdma if engine == "tdma" else TiuB)
    return Columns(word, np.frombuffer(b"".join(c.raw for c in chosen), np.uint8))
