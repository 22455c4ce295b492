"""Time and traffic of a whole command stream: hw/cv18xx.md section 9.

`stream_cost` reproduces zoo/baseline.json for all 22 vendor files: counts and bytes exactly, times
within print precision. Conventions found that way: compressed loads take the time of floor(0.8 *
plain bytes) without bursts while their byte count is the real compressed size; a copy inside local
memory costs its local words; DDR bytes are the bytes moved, bursts only count for time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...chip import Chip
from ...errors import UserInputError
from . import cost_tdma, cost_tiu
from .stream import Command, columns

EU_NAMES = ("mul", "mac", "add", "sub", "max", "min", "shift", "and", "or", "xor", "copy", "ge")
LOOKUP = 12
CONV, WINDOW, MATRIX, ARITH = range(4)
POOL_MAX, POOL_AVG, DEPTHWISE, POOL_MIN = range(4)
LOAD, STORE, DDR_COPY, LOCAL_COPY = range(4)
TRANSPOSE, FILL = 1, 4
CW_TRANSPOSE = 3
WEIGHT_BASE = 1

TIU_KEYS = (
    "tsk_typ", "tsk_eu_typ", "tsk_opd_num", "opd_typ", "opt_chl_quan", "opt_res_add",
    "opt_res0_seg", "opt_opd0_seg", "opt_opd1_const", "ps32_md", "double_conv", "tens_lookup",
    "tens_mdsum", "res0_n", "res0_c", "res0_h", "res0_w", "res0_addr", "res0_c_str", "opd0_c",
    "opd0_h", "opd0_w", "opd1_n", "opd1_h", "opd1_w", "opd0_addr", "conv_op_x_str",
    "conv_opd0_x_ins0",
)  # fmt: skip
TDMA_KEYS = (
    "trans_dir", "spec_func", "transpose_md", "trans_fmt", "sys_dtype", "compress_en", "src_fmt",
    "dst_fmt", "src_n", "src_c", "src_h", "src_w", "dst_c", "dst_h", "dst_w", "src_n_stride",
    "src_c_stride", "src_h_stride", "dst_n_stride", "dst_c_stride", "dst_h_stride",
    "src_base_addr_low", "dst_base_addr_low", "src_base_reg_sel",
)  # fmt: skip


@dataclass(frozen=True)
class Bounds:
    """Lower bounds of a stream in cycles.

    tiu: its TIU commands back to back; mac: its multiplications (8 bit) at the chip's peak rate;
    ddr: its DDR bytes at the chip's rate without bursts and latencies. macs counts what is computed
    (halo rows twice), including the padding of channels.
    """

    tiu_cycles: float
    mac_cycles: float
    ddr_cycles: float


@dataclass(frozen=True)
class StreamCost:
    """What one stream takes on a chip. Arrays have one entry per command, in stream order."""

    chip: Chip
    cycles: np.ndarray  # duration of each command
    start: np.ndarray  # cycle at which it starts in the timeline of section 9.3
    engine_is_tiu: np.ndarray
    ddr_read: np.ndarray  # bytes each command reads from and writes to DDR
    ddr_written: np.ndarray
    ddr_traffic_cycles: np.ndarray  # cycles that the DDR side alone needs
    macs: int  # multiplications of convolution, depthwise and matrix commands

    @property
    def total_cycles(self) -> float:
        """End of the last command."""
        return float((self.start + self.cycles).max()) if self.cycles.size else 0.0

    @property
    def tiu_cycles(self) -> float:
        """Sum of the TIU commands: the TIU bound of the stream."""
        return float(self.cycles[self.engine_is_tiu].sum())

    @property
    def tdma_cycles(self) -> float:
        """Sum of the TDMA commands."""
        return float(self.cycles[~self.engine_is_tiu].sum())

    @property
    def ddr_read_bytes(self) -> int:
        return int(self.ddr_read.sum())

    @property
    def ddr_write_bytes(self) -> int:
        return int(self.ddr_written.sum())

    @property
    def tiu_commands(self) -> int:
        return int(self.engine_is_tiu.sum())

    @property
    def tdma_commands(self) -> int:
        return len(self.engine_is_tiu) - self.tiu_commands

    @property
    def bounds(self) -> Bounds:
        """What no schedule of these commands can beat (design.md section 6)."""
        ddr = (self.ddr_read_bytes + self.ddr_write_bytes) / self.chip.ddr_bytes_per_cycle
        peak = self.chip.lanes * self.chip.exec_units * self.chip.conv_macs_per_step
        return Bounds(self.tiu_cycles, self.macs / peak, ddr)

    def ms(self, cycles: float) -> float:
        """Cycles as milliseconds."""
        return cycles / self.chip.clock_hz * 1e3


def stream_cost(
    chip: Chip, commands: Sequence[Command], weights: bytes | memoryview | None = None
) -> StreamCost:
    """Durations, timeline and DDR bytes of one command stream.

    weights: the weight section; from it come the sizes of compressed loads (without it the assumed
    80 % are counted). UserInputError when the ids can never be satisfied.
    """
    tiu = np.array([c.engine == "tiu" for c in commands], bool)
    cycles, ddr_cycles = np.zeros(len(tiu)), np.zeros(len(tiu))
    read, written = np.zeros(len(tiu), np.int64), np.zeros(len(tiu), np.int64)
    words = {e: columns(commands, e) for e in ("tiu", "tdma")}
    if tiu.any():
        cycles[tiu] = _each(words["tiu"], TIU_KEYS, lambda f: tiu_cycles(chip, f))
    if not tiu.all():
        moves = _each(words["tdma"], TDMA_KEYS, lambda f: tdma_move(chip, f, weights))
        moved = np.array(moves, float).reshape(-1, 4)
        cycles[~tiu], ddr_cycles[~tiu] = moved[:, 0], moved[:, 1]
        read[~tiu], written[~tiu] = moved[:, 2], moved[:, 3]
    start = timeline(commands, cycles)
    macs = sum(_each(words["tiu"], TIU_KEYS, tiu_macs))
    return StreamCost(chip, cycles, start, tiu, read, written, ddr_cycles, macs)


def _each(words: Any, names: Sequence[str], function: Callable[[dict[str, int]], Any]) -> list[Any]:
    """function(fields) for every word, computed once per distinct set of the named fields."""
    known: dict[tuple[int, ...], Any] = {}
    out = []
    for key in zip(*(words[n].tolist() for n in names), strict=True):
        if key not in known:
            known[key] = function(dict(zip(names, key, strict=True)))
        out.append(known[key])
    return out


def tiu_cycles(chip: Chip, f: dict[str, int]) -> float:
    """Cycles of a decoded TIU word (section 9.1)."""
    bf16, quant = bool(f["opd_typ"]), bool(f["opt_chl_quan"])
    n, c, h, w = f["res0_n"], f["res0_c"], f["res0_h"], f["res0_w"]
    lane = f["res0_addr"] // chip.lane_bytes
    common: dict[str, Any] = {"n": n, "start_lane": lane, "bf16": bf16}
    bias16 = f["tsk_opd_num"] == 3 and not quant
    kind, eu = f["tsk_typ"], f["tsk_eu_typ"]
    if kind in (CONV, WINDOW):
        common |= {"oh": h, "ow": w, "kh": f["opd1_h"], "kw": f["opd1_w"]}
        common["x_stride"] = f["conv_op_x_str"]
        deep: dict[str, Any] = {"x_ins0": f["conv_opd0_x_ins0"], "quant": quant, "bias16": bias16}
        if kind == CONV:
            deep |= {"ps32": f["ps32_md"], "double": bool(f["double_conv"])}
            return cost_tiu.conv_cycles(chip, oc=c, ic=f["opd0_c"], **deep, **common)
        if eu == DEPTHWISE:
            return cost_tiu.depthwise_cycles(chip, c=c, **deep, **common)
        pool = cost_tiu.avg_pool_cycles if eu == POOL_AVG else cost_tiu.max_pool_cycles
        return pool(chip, c=c, **common)
    if kind == MATRIX:
        return cost_tiu.matrix_cycles(
            chip, rows=n, inner=f["opd1_n"], res_c=c, res_w=w, quant=quant, bf16=bf16,
            bias=f["tsk_opd_num"] == 3, ps32=f["ps32_md"], res_add=bool(f["opt_res_add"]),
        )  # fmt: skip
    if f["tens_lookup"] or eu == LOOKUP:
        return cost_tiu.lookup_cycles(chip, c=c, h=h, w=w, table_h=f["opd1_h"], **common)
    if f["tens_mdsum"]:
        lane0 = f["opd0_addr"] // chip.lane_bytes
        return cost_tiu.mdsum_cycles(chip, n=n, c=f["opd0_c"], h=f["opd0_h"], w=f["opd0_w"],
                                     start_lane=lane0)  # fmt: skip
    if kind != ARITH or eu >= len(EU_NAMES):
        raise UserInputError(f"command stream: TIU operation {kind}/{eu} is not known")
    return cost_tiu.arith_cycles(
        chip, EU_NAMES[eu], c=c, h=h, w=w, res16=not f["opt_res0_seg"],
        opd16=not f["opt_opd0_seg"], const=bool(f["opt_opd1_const"]),
        res_c_stride=f["res0_c_str"], quant=quant, **common,
    )  # fmt: skip


def tiu_macs(f: dict[str, int]) -> int:
    """Multiplications of a convolution, depthwise or matrix command; 0 for all others."""
    outputs = f["res0_n"] * f["res0_c"] * f["res0_h"] * f["res0_w"]
    if f["tsk_typ"] == CONV:
        return outputs * f["opd1_h"] * f["opd1_w"] * f["opd0_c"]
    if f["tsk_typ"] == MATRIX:
        return outputs * f["opd1_n"]
    if f["tsk_typ"] == WINDOW and f["tsk_eu_typ"] == DEPTHWISE:
        return outputs * f["opd1_h"] * f["opd1_w"]
    return 0


def tdma_move(
    chip: Chip, f: dict[str, int], weights: bytes | memoryview | None
) -> tuple[float, float, int, int]:
    """(cycles, cycles of the DDR side, DDR bytes read, written) of a decoded TDMA word (9.2)."""
    way = f["trans_dir"]
    traffic = read = written = 0
    if way in (LOAD, DDR_COPY) and f["spec_func"] != FILL:
        traffic, read = _source(f, weights)
    if way in (STORE, DDR_COPY):
        more, written = _destination(f)
        traffic += more
    words = 0 if way == DDR_COPY else _local_words(f, "dst" if way == LOAD else "src")
    cycles = cost_tdma.tdma_cycles(chip, ddr_bytes=traffic, local_words=words)
    return cycles, traffic / chip.ddr_bytes_per_cycle, read, written


def _elements(f: dict[str, int], side: str) -> int:
    """Elements on one side; a matrix on the DDR side is rows (src_n) x columns."""
    if f["sys_dtype"]:
        return f["src_n"] * f[f"{side}_w"]
    return f["src_n"] * f[f"{side}_c"] * f[f"{side}_h"] * f[f"{side}_w"]


def _bytes_per_element(f: dict[str, int], side: str) -> int:
    return 2 if f[f"{side}_fmt"] == 2 else 1


def _source(f: dict[str, int], weights: bytes | memoryview | None) -> tuple[int, int]:
    """(traffic, bytes) of the DDR side of a load."""
    e, start = _bytes_per_element(f, "src"), f["src_base_addr_low"]
    if f["trans_fmt"]:
        size = f["src_n_stride"]
        return cost_tdma.ddr_traffic(size, start=start), size
    count = _elements(f, "src")
    if f["compress_en"]:
        assumed = cost_tdma.compressed_traffic(count * e)
        if weights is None or f["src_base_reg_sel"] != WEIGHT_BASE:
            return assumed, assumed
        if start + 16 > len(weights):
            raise UserInputError(
                f"command stream: compressed load from weight offset {start:#x}, "
                f"the weight section has {len(weights)} bytes"
            )
        payload = int.from_bytes(weights[start : start + 3], "little")
        return assumed, cost_tdma.compressed_bytes(payload, count)
    if f["sys_dtype"]:
        rows, stride = f["src_n"], f["src_c_stride"]
        if f["spec_func"] == TRANSPOSE:
            moved = cost_tdma.transposed_matrix_traffic(rows, f["src_w"], stride, start=start)
        else:
            moved = cost_tdma.ddr_traffic(f["src_w"] * e, rows, stride, start=start)
        return moved, count * e
    if f["spec_func"] == TRANSPOSE and f["transpose_md"]:  # HWC: rows of w pixels of c bytes
        row = f["src_w"] * f["src_c"] * e
        dims: tuple[int, ...] = (row, f["src_h"], f["src_h_stride"], f["src_n"], f["src_n_stride"])
        return cost_tdma.ddr_traffic(*dims, start=start), count * e
    dims = (f["src_w"] * e, f["src_h"], f["src_h_stride"], f["src_c"], f["src_c_stride"])
    dims += (f["src_n"], f["src_n_stride"])
    return cost_tdma.ddr_traffic(*dims, start=start), count * e


def _destination(f: dict[str, int]) -> tuple[int, int]:
    """(traffic, bytes) of the DDR side of a store."""
    e, start = _bytes_per_element(f, "dst"), f["dst_base_addr_low"]
    if f["trans_fmt"]:
        size = f["src_n_stride"]
        return cost_tdma.ddr_traffic(size, start=start, store=True), size
    if f["sys_dtype"]:
        count = f["src_n"] * f["dst_w"]
        dims: tuple[int, ...] = (f["dst_w"] * e, f["src_n"], f["dst_c_stride"])
    else:
        swapped = f["spec_func"] == TRANSPOSE and not f["transpose_md"]  # n/c: dst n is src c
        n = f["src_c"] if swapped else f["src_n"]
        count = n * f["dst_c"] * f["dst_h"] * f["dst_w"]
        dims = (f["dst_w"] * e, f["dst_h"], f["dst_h_stride"], f["dst_c"], f["dst_c_stride"])
        dims += (n, f["dst_n_stride"])
    if f["compress_en"]:
        assumed = cost_tdma.compressed_traffic(count * e)
        return assumed, assumed
    narrow = f["spec_func"] == TRANSPOSE and f["transpose_md"] == CW_TRANSPOSE
    beats = cost_tdma.TRANSPOSE_BURST_BEATS if narrow else cost_tdma.BURST_BEATS
    return cost_tdma.ddr_traffic(*dims, start=start, store=True, burst_beats=beats), count * e


def _local_words(f: dict[str, int], side: str) -> int:
    """Local accesses of the side in local memory."""
    e = _bytes_per_element(f, side)
    if f["trans_fmt"]:
        return -(-f["src_n_stride"] // cost_tdma.BEAT)
    c, h, w = f[f"{side}_c"], f[f"{side}_h"], f[f"{side}_w"]
    if f["spec_func"] == FILL:
        c, h, w = f["dst_c"], f["dst_h"], f["dst_w"]
    packed = h == 1 or f[f"{side}_h_stride"] == w * e
    return cost_tdma.local_words(n=f["src_n"], c=c, h=h, w=w, elem_bytes=e, packed=packed)


def timeline(commands: Sequence[Command], cycles: np.ndarray) -> np.ndarray:
    """Start cycles: each engine in order, start = max(engine free, end of the awaited id)."""
    queues: dict[str, list[tuple[int, int, int]]] = {"tiu": [], "tdma": []}
    for index, c in enumerate(commands):
        queues[c.engine].append((index, c.id, c.wait))
    ids = {e: [i for _, i, _ in q] for e, q in queues.items()}
    ends: dict[str, list[float]] = {"tiu": [], "tdma": []}
    start = np.zeros(len(commands))
    while any(len(ends[e]) < len(queues[e]) for e in queues):
        stuck = True
        for engine, other in (("tiu", "tdma"), ("tdma", "tiu")):
            stuck &= not _advance(
                queues[engine], ends[engine], ids[other], ends[other], cycles, start
            )
        if stuck:
            heads = [q[len(ends[e])] for e, q in queues.items() if len(ends[e]) < len(q)]
            what = ", ".join(
                f"command {i} (id {own}) waits for id {wait}" for i, own, wait in heads
            )
            raise UserInputError(f"command stream: it never ends: {what}")
    return start


def _advance(
    queue: list[tuple[int, int, int]],
    ends: list[float],
    other_ids: list[int],
    other_ends: list[float],
    cycles: np.ndarray,
    start: np.ndarray,
) -> bool:
    """Run commands of one engine while their waits are met; True if at least one ran."""
    first = len(ends)
    while len(ends) < len(queue):
        index, _, wait = queue[len(ends)]
        ready = ends[-1] if ends else 0.0
        if wait:
            done = bisect_left(other_ids, wait)
            if done >= len(other_ends):
                break
            ready = max(ready, other_ends[done])
        start[index] = ready
        ends.append(ready + cycles[index])
    return len(ends) > first
