"""The command list: encodes TIU and TDMA words and orders the two engines.

Every command waits for the youngest command of the other engine it depends on ("exact",
hw/cv18xx.md section 6): local memory is watched in units of 16 bytes (the same in all lanes); a
reader waits for the last writer, a writer for the last access. DDR is touched by the TDMA only,
which works in order.
"""

from __future__ import annotations

import numpy as np

from ...chip import Chip
from ...errors import InternalError
from ...isa import encode_tdma, encode_tiu, packet
from .ranges import UNIT, Range, part

MAX_ID = 65535


class _Engine:
    """Last access and last write of each 16-byte unit of local memory by one engine."""

    def __init__(self, size: int):
        self.access = np.zeros(2 * size // UNIT, np.int64)  # room behind the end for `part`
        self.write = np.zeros(2 * size // UNIT, np.int64)
        self.id = 0
        self.wait = 0

    def needed(self, reads: list[Range], writes: list[Range]) -> int:
        """Id of the youngest command of this engine that must be finished before such accesses."""
        young = 0
        for r in reads:
            young = max(young, int(part(self.write, r).max(initial=0)))
        for r in writes:
            young = max(young, int(part(self.access, r).max(initial=0)))
        return young

    def note(self, reads: list[Range], writes: list[Range]) -> None:
        for r in (*reads, *writes):
            part(self.access, r)[...] = self.id
        for r in writes:
            part(self.write, r)[...] = self.id


class CommandList:
    """Commands of one stream, which is good for at most MAX_ID commands per engine (`engines` count
    on, so that streams.py sees where to cut). Ranges of local memory are lane-local addresses."""

    def __init__(self, chip: Chip):
        self.chip = chip
        self.packets: list[bytes] = []
        self.engines = {e: _Engine(chip.lane_bytes) for e in ("tiu", "tdma")}
        self.layer = 0

    def _ids(self, engine: str, reads: list[Range], writes: list[Range]) -> tuple[int, int]:
        mine, other = self.engines[engine], self.engines["tdma" if engine == "tiu" else "tiu"]
        for a, e, *_ in (*reads, *writes):
            if a < 0 or e > self.chip.lane_bytes:
                raise InternalError(
                    f"local memory range {a}..{e} leaves the {self.chip.lane_bytes} bytes of a lane"
                )
        mine.id += 1
        mine.wait = max(mine.wait, other.needed(reads, writes))
        mine.note(reads, writes)
        return mine.id, mine.wait

    def tiu(self, fields: dict[str, int], reads: list[Range], writes: list[Range]) -> None:
        """Append a TIU command; ids and the general bits are filled in."""
        own, wait = self._ids("tiu", reads, writes)
        fields |= {
            "cmd_en": 1,
            "cmd_id_en": 1,
            "cmd_id_tpu": own & MAX_ID,
            "cmd_id_gdma": wait & MAX_ID,
            "layer_info": self.layer,
        }
        self.packets.append(packet(self.chip, "tiu", encode_tiu(self.chip.generation, fields)))

    def tdma(self, fields: dict[str, int], reads: list[Range], writes: list[Range]) -> None:
        """Append a TDMA command; ids and the general bits are filled in."""
        own, wait = self._ids("tdma", reads, writes)
        fields |= {
            "vld": 1,
            "bar_en": 1,
            "cmd_id": own & MAX_ID,
            "wait_id_tpu": wait & MAX_ID,
            "layer_ID": self.layer,
        }
        self.packets.append(packet(self.chip, "tdma", encode_tdma(fields)))

    def stream(self) -> bytes:
        return b"".join(self.packets)
