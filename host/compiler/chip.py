"""One frozen record per chip: lanes, memory, limits, clock, data types (hw/cv18xx.md)."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import OptionError


@dataclass(frozen=True)
class Chip:
    """What the compiler knows of a CV18xx chip.

    ddr_bytes_per_second is 75 % of the guessed peak (hw/cv18xx.md section 9.4); ddr_start is added
    to every DDR address field of an instruction; conv_macs_per_step is the `d` of the convolution
    formula (2 where double_conv helps).
    """

    name: str
    generation: str  # "A" (cv183x) or "B": layout of the TIU word
    magic: int  # packet magic of the command stream
    lanes: int
    clock_hz: int
    ddr_peak_bytes_per_second: int
    conv_macs_per_step: int
    ddr_start: int = 0
    lane_bytes: int = 32768
    bank_bytes: int = 4096
    exec_units: int = 16
    max_stride: int = 31
    has_cpu_routines: bool = True
    tdma_command_cycles: int = 100

    @property
    def ddr_bytes_per_cycle(self) -> float:
        """Bytes that DDR delivers per clock of the TPU, at 75 % of the peak rate."""
        return 0.75 * self.ddr_peak_bytes_per_second / self.clock_hz


ALIGNMENT = 16  # bytes: of planes of local memory and rows of matrices


def align16(size: int) -> int:
    """Round up to ALIGNMENT."""
    return -(-size // ALIGNMENT) * ALIGNMENT


CHIPS = {
    c.name: c
    for c in (
        Chip(
            "cv183x",
            "A",
            0xA5,
            32,
            650_000_000,
            1886_000_000 * 4,
            2,
            ddr_start=1 << 32,
            max_stride=15,
        ),
        Chip("cv182x", "B", 0xA6, 8, 750_000_000, 1886_000_000 * 2, 2),
        Chip("cv181x", "B", 0xA7, 8, 500_000_000, 1866_000_000 * 2, 2),
        Chip("cv180x", "B", 0xA8, 2, 500_000_000, 1333_000_000 * 2, 1, has_cpu_routines=False),
    )
}


def chip_named(name: str) -> Chip:
    """The chip of that name (case-insensitive); OptionError lists the known ones."""
    chip = CHIPS.get(name.lower())
    if chip is None:
        raise OptionError(f"unknown chip {name!r}: this version compiles for {', '.join(CHIPS)}")
    return chip
