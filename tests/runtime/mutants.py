"""Damaged cvimodels in great number (issue 3 "Bad input"): reproducible from (seed, index).

    corpus() -> {name: file}                  good files to start from
    mutant(corpus, seed, index) -> Mutant     one damaged copy; six ways of damaging in turn
    feed(program, mutants) -> Totals          through RegisterModel, GetInputOutputTensors, Forward
                                              of the C program tests/runtime/c/feed.c

Ways: "bits" flipped anywhere; "bytes" overwritten, copied and zeroed in runs; "cut" short or
grown; "words" of the FlatBuffer (offsets, counts, vtables) replaced by numbers that break readers
or by other words of the file; "tables": the file is read into our dataclasses, values in them
change to hostile ones, and it is written again, so that the FlatBuffer and the checksum are sound
and only the contents are not; "commands": the same with fields of TIU and TDMA words, their order
and their packets.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import itertools
import random
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tpuforge.compiler import isa
from tpuforge.compiler.chip import CHIPS
from tpuforge.compiler.format import cvimodel

NUMBERS = (
    0, 1, 2, 3, 4, 7, 15, 16, 255, 256, 4095, 4096, 65535, 65536, 0x7FFFFFFF, 0x80000000,
    0xFFFFFFFF, 0xFFFFFFFC, 0x100000000, 1 << 40, (1 << 40) - 1, 3 << 40, 7 << 40,
    (1 << 63) - 1, -1, -2, -16, -(1 << 31), -(1 << 63),
)  # fmt: skip
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 3.4e38, -3.4e38, float("inf"), float("nan"), 127.5)
TEXTS = ("", "x", "input", "a" * 64, "a" * 5000, "\u00e9", "quant", "cv183x", "cv180x", "%s%n")
HEADER = 48


@dataclass(frozen=True)
class Mutant:
    """index: what `mutant` was called with; origin: name in the corpus; options: see feed.c."""

    index: int
    origin: str
    way: str
    data: bytes
    options: int = 0


def mutant(corpus: dict[str, bytes], seed: int, index: int) -> Mutant:
    """The damaged file number `index`; the ways take turns, everything else is drawn."""
    r = random.Random(seed << 40 | index)
    origin = r.choice(sorted(corpus))
    way = sorted(WAYS)[index % len(WAYS)]
    options = r.choice((0, 0, 0, 1, 2, 3)) | (r.randrange(3) << 8 if r.random() < 0.1 else 0)
    return Mutant(index, origin, way, WAYS[way](r, corpus[origin]), options)


# ---- ways that know nothing, or only where the FlatBuffer is


def body_end(data: bytes) -> int:
    """Where header and FlatBuffer end and the sections begin."""
    return min(len(data), HEADER + struct.unpack_from("<I", data, 8)[0])


def place(r: random.Random, data: bytes) -> int:
    """A position, mostly in header and FlatBuffer."""
    return r.randrange(body_end(data) if r.random() < 0.75 else len(data))


def bits(r: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(r.choice((1, 1, 2, 4, 16, 200))):
        out[place(r, data)] ^= 1 << r.randrange(8)
    return bytes(out)


def overwritten(r: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(r.randint(1, 5)):
        at, size = place(r, data), min(r.choice((1, 1, 2, 4, 8, 64)), len(data))
        source = r.randrange(len(data) - size + 1)
        run = r.choice((b"\0" * size, b"\xff" * size, r.randbytes(size), out[source:][:size]))
        out[at : at + size] = run[: len(out) - at]
    return bytes(out)


def cut(r: random.Random, data: bytes) -> bytes:
    at = place(r, data)
    kind = r.randrange(4)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data + r.randbytes(r.choice((1, 16, 4096)))
    size = r.choice((1, 2, 4, 8, 16, 1024))
    if kind == 2:
        return data[:at] + data[at + size :]
    return data[:at] + r.randbytes(size) + data[at:]


def words(r: random.Random, data: bytes) -> bytes:
    out, end = bytearray(data), body_end(data)
    body = end - HEADER
    for _ in range(r.choice((1, 1, 2, 3, 8))):
        form = r.choice(("<I", "<I", "<I", "<H", "<Q"))
        size = struct.calcsize(form)
        if body < 2 * size:
            break
        at = HEADER + r.randrange(0, body - size + 1, size)
        old = struct.unpack_from(form, out, at)[0]
        other = struct.unpack_from(form, out, HEADER + r.randrange(0, body - size + 1, size))[0]
        near = old + r.choice((-8, -4, -2, -1, 1, 2, 4, 8))
        away = r.choice((body, body - (at - HEADER), len(data), HEADER - at, 4))
        value = r.choice((r.choice(NUMBERS), other, near, away, old << 1, old * 1000))
        struct.pack_into(form, out, at, value & (1 << 8 * size) - 1)
    return bytes(out)


# ---- ways that know the contents


def changed(r: random.Random, value: Any, model: cvimodel.Model) -> Any:
    """A hostile value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, enum.Enum):
        return r.choice(list(type(value)))
    if isinstance(value, int):
        wide = (r.choice(NUMBERS), value + r.choice((-16, -1, 1, 16)), value * 2, value // 2)
        return r.choice(wide)
    if isinstance(value, float):
        return r.choice((*FLOATS, value * 2))
    if isinstance(value, str):
        names = [t.name for p in model.programs for t in p.tensors] or ["x"]
        return r.choice((r.choice(TEXTS), r.choice(names), r.choice(names), value[:-1]))
    if isinstance(value, bytes):
        return r.choice((value[: r.randrange(len(value) + 1)], value + bytes(16), bits(r, value)
                         if len(value) > HEADER else b"", b""))  # fmt: skip
    if isinstance(value, (list, tuple)) and value:
        items = list(value)
        at, other = r.randrange(len(items)), r.randrange(len(items))
        kind = r.randrange(4)
        if kind == 0 and not dataclasses.is_dataclass(items[at]):
            items[at] = changed(r, items[at], model)
        elif kind == 1:
            del items[at]
        elif kind == 2:
            items.insert(at, items[other])
        else:
            items[at], items[other] = items[other], items[at]
        return type(value)(items)
    return value


def leaves(thing: Any) -> list[tuple[Any, str]]:
    """(object, field name) of everything that can be changed in a model."""
    found: list[tuple[Any, str]] = []
    for f in dataclasses.fields(thing):
        if f.name == "warnings":
            continue
        found.append((thing, f.name))
        value = getattr(thing, f.name)
        if isinstance(value, list) and value and dataclasses.is_dataclass(value[0]):
            for item in value:
                found += leaves(item)
    return found


def tables(r: random.Random, data: bytes) -> bytes:
    for _ in range(20):
        model = cvimodel.read(data)
        places = leaves(model)
        for _ in range(r.choice((1, 1, 2, 3, 6))):
            owner, name = r.choice(places)
            setattr(owner, name, changed(r, getattr(owner, name), model))
        try:
            return cvimodel.write(model)
        except Exception:  # not every value can be written; then other values
            continue
    return bits(r, data)


def commands(r: random.Random, data: bytes) -> bytes:
    model = cvimodel.read(data)
    streams = [s for s in model.sections if s.kind == "cmdbuf" and s.contents()]
    if not streams or model.chip not in CHIPS:
        return tables(r, data)
    section = r.choice(streams)
    packets = split(model.chip, section.contents())
    for _ in range(r.choice((1, 1, 2, 4, 12))):
        at, kind = r.randrange(len(packets)), r.randrange(12)
        if kind < 9:
            packets[at] = with_field(r, model.chip, packets[at], r.choice(packets))
        elif kind == 9 and len(packets) > 1:
            del packets[at]
        elif kind == 10:
            packets.insert(r.randrange(len(packets)), packets[at])
        else:
            packets[at] = overwritten(r, bytes(4) + packets[at])[4:]
    section.data, section.compress = b"".join(packets), False
    return cvimodel.write(model)


def split(chip: str, stream: bytes) -> list[bytes]:
    """The packets of a stream, headers included."""
    starts = [c.offset for c in isa.parse_stream(chip, stream)] + [len(stream)]
    starts[0] = 0
    return [stream[a:b] for a, b in itertools.pairwise(starts)]


def with_field(r: random.Random, chip: str, packet: bytes, donor: bytes) -> bytes:
    """One field of the word to its smallest, largest, a near, a random value or the donor's."""
    try:
        (command,) = isa.parse_stream(chip, packet)
        (other,) = isa.parse_stream(chip, donor)
    except Exception:  # damaged by an earlier round
        return packet
    f = r.choice(list(command.word.fields.values()))
    old = command.fields[f.name]
    values = [f.min, f.max, old + 1, old - 1, r.randint(f.min, f.max), old * 2, old ^ 1]
    values += [other.fields[f.name]] if other.word is command.word else []
    fields = {**command.fields, f.name: min(max(r.choice(values), f.min), f.max)}
    head = len(packet) - len(command.raw)
    return packet[:head] + command.word.encode(fields)


WAYS: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "bits": bits,
    "bytes": overwritten,
    "cut": cut,
    "words": words,
    "tables": tables,
    "commands": commands,
}


# ---- through the runtime


class Finding(Exception):
    """A file that the runtime did not survive: the report of the sanitizer, and its index."""


@dataclass
class Totals:
    """Per way: files, files that ran to the end; return codes; the slowest file."""

    files: collections.Counter[str] = field(default_factory=collections.Counter)
    ran: collections.Counter[str] = field(default_factory=collections.Counter)
    codes: collections.Counter[int] = field(default_factory=collections.Counter)
    cpu_seconds: float = 0.0
    slowest: tuple[float, int] = (0.0, -1)

    def __str__(self) -> str:
        ways = ", ".join(f"{w} {self.files[w]} ({self.ran[w]} ran)" for w in sorted(self.files))
        codes = " ".join(f"{code}:{n}" for code, n in sorted(self.codes.items()))
        return (
            f"{self.files.total()} damaged models, {self.ran.total()} ran to the end: {ways}; "
            f"return codes {codes}; {self.cpu_seconds:.0f} s of CPU, "
            f"slowest {self.slowest[0]:.2f} s (number {self.slowest[1]})"
        )


def feed(program: Path, mutants: Iterable[Mutant], env: dict[str, str], limit: int = 30) -> Totals:
    """Everything through one process of feed.c. Raises Finding at the first that is not survived;
    a hang is `limit` seconds of CPU on one file."""
    totals, sent = Totals(), []
    with tempfile.TemporaryFile() as answers, tempfile.TemporaryFile("w+") as log:
        command = [str(program), str(limit)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=answers, stderr=log, env=env
        ) as child:
            assert child.stdin
            try:
                for m in mutants:
                    sent.append((m.index, m.origin, m.way))
                    child.stdin.write(struct.pack("<II", len(m.data), m.options) + m.data)
                child.stdin.close()
            except BrokenPipeError:
                pass
            code = child.wait()
        answers.seek(0)
        results = list(struct.iter_unpack("<iI", answers.read()))
        if code or len(results) != len(sent):
            log.seek(0)
            index, origin, way = sent[min(len(results), len(sent) - 1)]
            report = f"file {index} ({way} of {origin}): exit code {code}\n{log.read()[:6000]}"
            raise Finding(report, index)
    for (index, _, way), (rc, microseconds) in zip(sent, results, strict=True):
        totals.files[way] += 1
        totals.ran[way] += rc == 0
        totals.codes[rc] += 1
        totals.cpu_seconds += microseconds / 1e6
        totals.slowest = max(totals.slowest, (microseconds / 1e6, index))
    return totals
