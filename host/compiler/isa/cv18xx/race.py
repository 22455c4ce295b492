"""Race checker: do the ids of a stream order all that must be ordered (hw/cv18xx.md section 6)?

Each engine is in order, and only the TDMA touches DDR, so a hazard needs a TIU and a TDMA command
that may run at the same time and touch the same byte of local memory, at least one writing it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...chip import Chip
from ...errors import UserInputError
from .access import Region, accesses
from .stream import Command
from .stream_cost import timeline
from .text import describe

MAX_ID = 65535


@dataclass(frozen=True)
class Finding:
    """A fault: kind ("ids", "wait", "range" or "race"), indices of the commands, a sentence."""

    kind: str
    commands: tuple[int, ...]
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass
class _Engine:
    """The commands of one engine: index in the stream and, per command, its regions."""

    name: str
    index: list[int]
    regions: list[list[Region]]
    done_before: list[int]  # how many commands of the other engine are finished when it starts


def check_stream(chip: Chip, commands: Sequence[Command], *, limit: int = 50) -> list[Finding]:
    """All faults of a stream, at most `limit`: ids that do not increase, waits that are never met,
    local tensors that run over the end of a lane, and races.
    """
    out = _check_ids(commands) + _check_waits(commands)
    if out:
        return out[:limit]
    tiu, tdma = _engine(chip, commands, "tiu"), _engine(chip, commands, "tdma")
    for engine in (tiu, tdma):
        out += _check_ranges(chip, engine)
    out += _races(chip, commands, tiu, tdma, limit)
    return sorted(out, key=lambda f: f.commands)[:limit]


def _check_ids(commands: Sequence[Command]) -> list[Finding]:
    """Ids start at 1 or more, strictly increase per engine and fit 16 bits."""
    out, last = [], {"tiu": 0, "tdma": 0}
    for i, c in enumerate(commands):
        if not last[c.engine] < c.id <= MAX_ID:
            text = f"command {i}: {c.engine} id {c.id} does not follow id {last[c.engine]}"
            out.append(Finding("ids", (i,), text))
        last[c.engine] = c.id
    return out


def _check_waits(commands: Sequence[Command]) -> list[Finding]:
    """Every wait can be met: no id beyond the other engine's last one, no circle."""
    try:
        timeline(commands, np.zeros(len(commands)))
    except UserInputError as e:
        return [Finding("wait", (), str(e))]
    return []


def _engine(chip: Chip, commands: Sequence[Command], name: str) -> _Engine:
    """Collect one engine's commands; waits of earlier commands hold for later ones too."""
    other_ids = [c.id for c in commands if c.engine != name]
    index = [i for i, c in enumerate(commands) if c.engine == name]
    done, before = 0, []
    for i in index:
        wait = commands[i].wait
        done = max(done, bisect_left(other_ids, wait) + 1 if wait else 0)
        before.append(done)
    return _Engine(name, index, [accesses(chip, commands[i]) for i in index], before)


def _check_ranges(chip: Chip, engine: _Engine) -> list[Finding]:
    """Regions must end inside the lane and begin inside local memory."""
    out = []
    for i, regions in zip(engine.index, engine.regions, strict=True):
        for r in regions:
            _, _, end = r.bounds(chip)
            if end > chip.lane_bytes or r.address >= chip.lanes * chip.lane_bytes:
                text = (
                    f"command {i}: {r.what} ends at byte {end:#x} of lane "
                    f"{r.address // chip.lane_bytes}; {chip.name} has {chip.lanes} lanes of "
                    f"{chip.lane_bytes:#x} bytes"
                )
                out.append(Finding("range", (i,), text))
    return out


def _races(
    chip: Chip, commands: Sequence[Command], tiu: _Engine, tdma: _Engine, limit: int
) -> list[Finding]:
    """For each TIU command look at the TDMA commands that may run at the same time.

    TIU command t may meet TDMA command d when d is not among the first tiu.done_before[t] ones and
    t not among the first tdma.done_before[d] ones; done_before never decreases, so these d are a
    contiguous window.
    """
    flat = [(k, r) for k, regions in enumerate(tdma.regions) for r in regions]
    if not flat:
        return []
    owner = np.array([k for k, _ in flat])
    box = np.array([(*r.bounds(chip), r.write) for _, r in flat])
    mask, low, high, write = box.T
    out: list[Finding] = []
    for t, regions in enumerate(tiu.regions):
        last = bisect_right(tdma.done_before, t)
        a, b = np.searchsorted(owner, (tiu.done_before[t], last))
        if a >= b:
            continue
        for r in regions:
            lanes, first, end = r.bounds(chip)
            hit = (mask[a:b] & lanes) != 0
            hit &= (low[a:b] < end) & (high[a:b] > first)
            if not r.write:
                hit &= write[a:b] != 0
            for k in np.flatnonzero(hit) + a:
                d, other = flat[k]
                if _share(chip, r, other):
                    pair = tiu.index[t], tdma.index[d]
                    out.append(
                        Finding(
                            "race", tuple(sorted(pair)), _sentence(chip, commands, pair, r, other)
                        )
                    )
                    if len(out) >= limit:
                        return out
    return out


def _share(chip: Chip, a: Region, b: Region) -> bool:
    """True when the regions have a byte in common (exact, gaps respected)."""
    touched = np.zeros(chip.lanes * chip.lane_bytes, bool)
    inside = a.bytes(chip)
    touched[inside[inside < touched.size]] = True
    other = b.bytes(chip)
    return bool(touched[other[other < touched.size]].any())


def _sentence(
    chip: Chip, commands: Sequence[Command], pair: tuple[int, int], a: Region, b: Region
) -> str:
    """What the two commands do to each other, in two lines of disassembly."""
    verbs = [f"{'writes' if r.write else 'reads'} {r.what}" for r in (a, b)]
    lines = [f"  {i}: {describe(chip, commands[i])}" for i in pair]
    return (
        f"race: command {pair[0]} (tiu {commands[pair[0]].id}) {verbs[0]} while command {pair[1]} "
        f"(tdma {commands[pair[1]].id}) may run and {verbs[1]}\n" + "\n".join(lines)
    )
