"""`_weight_map.csv` and where constants lie in a weight section (cli.md section 15.4,
formats/cvimodel.md 12.2).

One line per constant, in order of offset: `name,0x<offset, 8 hex digits>,<md5, 32 hex
digits>,<bytes>`. Our md5 is that of the stored bytes; in the vendor's maps it may be that of
another form of the constant, so it is only a key there, unless `_weight.bin`, the bytes of all
constants of the map, lies beside. A comment `# chip: <name>` before them says whose constants these
are; the vendor's maps have none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ..errors import UserInputError

ALIGNMENT = 16
MOST_BYTES = 1 << 30  # of a weight section: more than any board has
_CHIP = re.compile(r"#\s*chip:\s*(\w+)")
_LINE = re.compile(r"(.+),0x([0-9a-fA-F]{1,8}),([0-9a-fA-F]{32}),([0-9]{1,10})")


@dataclass(frozen=True)
class Entry:
    """One constant of a map; offset in the weight section."""

    name: str
    offset: int
    md5: str
    size: int


@dataclass
class WeightMap:
    """The constants of all models that were compiled in one place. chip: "" if unknown."""

    entries: list[Entry] = field(default_factory=list)
    chip: str = ""

    @property
    def end(self) -> int:
        """First byte behind all constants."""
        return max((e.offset + e.size for e in self.entries), default=0)


def parse(text: str, where: str = "_weight_map.csv") -> WeightMap:
    """The map in `text`; UserInputError names the line."""
    entries, chip = [], ""
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line.strip())
        if not match and (not line.strip() or line.startswith("#")):
            found = _CHIP.fullmatch(line.strip())
            chip = found[1] if found else chip
            continue
        if not match:
            raise UserInputError(
                f"{where}, line {number}: {line[:80]!r} is not `name,0x<offset>,<md5>,<size>`; "
                "delete the file to start anew"
            )
        entry = Entry(match[1], int(match[2], 16), match[3].lower(), int(match[4]))
        if entry.offset + entry.size > MOST_BYTES:
            raise UserInputError(
                f"{where}, line {number}: {entry.name!r} ends at {entry.offset + entry.size:#x}, "
                f"the limit is {MOST_BYTES:#x}; delete the file to start anew"
            )
        entries.append(entry)
    return WeightMap(entries, chip)


def render(weight_map: WeightMap) -> str:
    """The text of the file, in order of offset."""
    ordered = sorted(weight_map.entries, key=lambda e: (e.offset, e.name))
    lines = [f"# chip: {weight_map.chip}"] if weight_map.chip else []
    lines += [f"{e.name},{e.offset:#010x},{e.md5},{e.size}" for e in ordered]
    return "".join(f"{line}\n" for line in lines)


def rekeyed(weight_map: WeightMap, stored: bytes, where: str = "_weight.bin") -> WeightMap:
    """The map with the md5 of the bytes that `stored` has in the place of each constant.

    UserInputError: `stored` is not of this map: it is too short, or has other bytes than a map of
    ours says.
    """
    entries = []
    for e in weight_map.entries:
        data = stored[e.offset : e.offset + e.size]
        digest = hashlib.md5(data).hexdigest()
        if len(data) < e.size or (weight_map.chip and digest != e.md5):
            what = "ends before" if len(data) < e.size else "has other bytes for"
            raise UserInputError(
                f"{where}: {what} {e.name!r} ({e.size} bytes at {e.offset:#x}), so it does not "
                "belong to the map beside; delete both files to start anew"
            )
        entries.append(replace(e, md5=digest))
    return WeightMap(entries, weight_map.chip)


def overlaid(section: bytes, places: Iterable[tuple[int, int]], before: bytes = b"") -> bytes:
    """`before`, the bytes of earlier models, with the places (offset, size) of a model out of its
    section: the bytes of all constants of its map."""
    whole = bytearray(before) + bytes(max(0, len(section) - len(before)))
    for offset, size in places:
        whole[offset : offset + size] = section[offset : offset + size]
    return bytes(whole)


def assign_weights(
    items: Iterable[tuple[str, bytes]], existing: WeightMap | None = None
) -> tuple[dict[str, int], bytes, WeightMap]:
    """Places for the constants of one model: (name -> byte offset, section bytes, map with the new
    entries).

    Offsets are multiples of 16. Constants with equal bytes share a place, in this model and with
    those in `existing`; new ones follow behind the end. Places that only other models use stay
    zero, and the section ends, padded to 16, behind the last constant of this model. A name given
    twice must have equal bytes both times.
    """
    known = {(e.md5, e.size): e.offset for e in reversed(existing.entries if existing else [])}
    merged = WeightMap(list(existing.entries), existing.chip) if existing else WeightMap()
    listed = {(e.name, e.offset, e.md5, e.size) for e in merged.entries}
    end = merged.end
    offsets: dict[str, int] = {}
    used: dict[int, bytes] = {}
    for name, data in items:
        key = (hashlib.md5(data).hexdigest(), len(data))
        if key not in known:
            known[key] = _align(end)
            end = known[key] + len(data)
        offset = known[key]
        if offsets.setdefault(name, offset) != offset:
            raise UserInputError(f"two constants with different bytes are called {name!r}")
        used[offset] = data
        if (name, offset, *key) not in listed:
            listed.add((name, offset, *key))
            merged.entries.append(Entry(name, offset, *key))
    section = bytearray(_align(max((o + len(d) for o, d in used.items()), default=0)))
    for offset, data in used.items():
        section[offset : offset + len(data)] = data
    return offsets, bytes(section), merged


def _align(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT
