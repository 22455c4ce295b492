"""One instruction on our simulator and on the vendor's: memory images, the surrounding transfers,
tables of all instruction kinds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sim import cases, tdma_cases
from sim.cases import EU, Fields, Maker
from tpuforge.compiler.chip import Chip
from tpuforge.compiler.isa.cv18xx.stream import encode_tdma, encode_tiu, packet

Make = Callable[[Maker], Fields]

TIU_KINDS: dict[str, Make] = {name: (lambda m, n=name: cases.arith(m, n)) for name in EU}
TIU_KINDS |= {f"{n} bf16": (lambda m, n=n: cases.arith(m, n, True))
              for n in ("mul", "mac", "add", "sub", "max", "min", "copy", "ge")}  # fmt: skip
TIU_KINDS |= {
    "lookup": lambda m: cases.lookup(m, False),
    "lookup bf16": lambda m: cases.lookup(m, True),
    "mdsum": cases.mdsum,
}
TIU_KINDS |= {f"pool {k}": (lambda m, k=k: cases.pool(m, k)) for k in ("max", "min", "avg")}
TIU_KINDS |= {f"pool {k} bf16": (lambda m, k=k: cases.pool(m, k, True))
              for k in ("max", "min", "avg")}  # fmt: skip
FORMS = ("shift", "quant", "bf16")
TIU_KINDS |= {f"depthwise {k}": (lambda m, k=k: cases.depthwise(m, k)) for k in FORMS}
TIU_KINDS |= {f"conv {k}": (lambda m, k=k: cases.conv(m, k)) for k in FORMS}
TIU_KINDS |= {f"matrix {k}": (lambda m, k=k: cases.matrix(m, k))
              for k in ("shift", "wide", "add", "quant", "bf16")}  # fmt: skip

TDMA_KINDS: dict[str, Callable[[Maker, int], Fields | tuple[Fields, Fields]]] = {
    "load": lambda m, low: tdma_cases.copy(m, low, 0),
    "store": lambda m, low: tdma_cases.copy(m, low, 1),
    "ddr copy": lambda m, low: tdma_cases.copy(m, low, 2),
    "local copy": lambda m, low: tdma_cases.copy(m, low, 3),
    "bytes": tdma_cases.byte_copy,
    "fill": tdma_cases.fill,
    "transpose nc": tdma_cases.trans_nc,
    "transpose cw": tdma_cases.trans_cw,
    "transpose hwc": tdma_cases.trans_hwc,
    "matrix load": lambda m, low: tdma_cases.matrix(m, low, 0),
    "matrix store": lambda m, low: tdma_cases.matrix(m, low, 1),
    "matrix transposed": tdma_cases.matrix_transposed,
    "compressed": tdma_cases.compress,
}


def exists(kind: str, chip: Chip) -> bool:
    """Whether the chip has this TIU operation."""
    if chip.generation == "A":
        return kind not in ("ge", "ge bf16", "pool min", "pool min bf16")
    return kind != "mdsum"


def local_bytes(chip: Chip) -> int:
    return chip.lanes * chip.lane_bytes


def byte_copy(chip: Chip, direction: int, local: int, glob: int, size: int, id: int,
              wait: int) -> bytes:  # fmt: skip
    """Packet that moves bytes between DDR (base 0) and local memory; direction 0 loads."""
    near, far = ("dst", "src") if direction == 0 else ("src", "dst")
    fields = {"vld": 1, "bar_en": 1, "cmd_id": id, "wait_id_tpu": wait, "trans_dir": direction,
              "trans_fmt": 1, "src_n_stride": size, f"{near}_base_addr_low": local,
              f"{far}_base_addr_low": glob,
              f"{far}_base_addr_high": int(chip.ddr_start > 0)}  # fmt: skip
    return packet(chip, "tdma", encode_tdma(fields))


def tiu_stream(chip: Chip, fields: Fields) -> bytes:
    """Load all of local memory from 0, one TIU command, store local memory behind."""
    n = local_bytes(chip)
    fields = fields | {"cmd_id_tpu": 1, "cmd_id_gdma": 1}
    body = packet(chip, "tiu", encode_tiu(chip.generation, fields))
    return byte_copy(chip, 0, 0, 0, n, 1, 0) + body + byte_copy(chip, 1, 0, n, n, 2, 1)


def tdma_stream(chip: Chip, commands: tuple[Fields, ...]) -> bytes:
    """The same around TDMA commands."""
    n = local_bytes(chip)
    body = b"".join(packet(chip, "tdma", encode_tdma(f | {"cmd_id": 2 + i}))
                    for i, f in enumerate(commands))  # fmt: skip
    return byte_copy(chip, 0, 0, 0, n, 1, 0) + body + byte_copy(chip, 1, 0, n, n, 9, 0)


def int_image(rng: np.random.Generator, size: int) -> np.ndarray:
    """Random bytes: uniform, extreme values, or a narrow bell (as weights are)."""
    kind = rng.integers(0, 3)
    if kind == 0:
        return rng.integers(0, 256, size, dtype=np.uint8)
    if kind == 1:
        return rng.choice(np.array([0, 0, 1, 255, 127, 128, 2], np.uint8), size)
    values = np.round(rng.normal(0, rng.choice([0.5, 2, 10, 30]), size))
    return np.clip(values, -128, 127).astype(np.int8).view(np.uint8)


def bf16_image(rng: np.random.Generator, size: int) -> np.ndarray:
    """Random bf16: moderate numbers, sometimes with tiny, special and arbitrary patterns."""
    n = size // 2
    sign = rng.integers(0, 2, n) << 15
    normal = sign | rng.integers(118, 136, n) << 7 | rng.integers(0, 128, n)
    out = normal
    if rng.random() < 0.6:
        tiny = sign | rng.integers(0, 4, n) << 7 | rng.integers(0, 128, n)
        out = np.where(rng.random(n) < 0.05, tiny, out)
    if rng.random() < 0.4:
        special = rng.choice([0, 0x8000, 0x7F80, 0xFF80, 0x7FC0, 0x7F7F, 0xFF7F, 1, 0x80], n)
        out = np.where(rng.random(n) < 0.003, special, out)
        out = np.where(rng.random(n) < 0.003, rng.integers(0, 65536, n), out)
    return out.astype(np.uint16).view(np.uint8)


def tiu_case(kind: str, m: Maker) -> tuple[bytes, np.ndarray, Fields]:
    """Stream, memory (local image and room for the result) and the fields of one random case."""
    n = local_bytes(m.chip)
    fields = TIU_KINDS[kind](m)
    memory = np.zeros(2 * n, np.uint8)
    memory[:n] = bf16_image(m.rng, n) if "bf16" in kind else int_image(m.rng, n)
    return tiu_stream(m.chip, fields), memory, fields


def tdma_case(kind: str, m: Maker) -> tuple[bytes, np.ndarray, tuple[Fields, ...]]:
    """The same for a transfer; its DDR window lies behind the two images."""
    n = local_bytes(m.chip)
    made = TDMA_KINDS[kind](m, 2 * n)
    commands = made if isinstance(made, tuple) else (made,)
    image = bf16_image if m.flag(0.4) else int_image
    memory = np.zeros(2 * n + 2 * tdma_cases.WINDOW, np.uint8)
    memory[:n] = image(m.rng, n)
    memory[2 * n :] = image(m.rng, 2 * tdma_cases.WINDOW)
    return tdma_stream(m.chip, commands), memory, commands


def first_difference(ours: np.ndarray, theirs: np.ndarray, chip: Chip) -> str:
    """Where two memories differ, in words; empty when they do not."""
    where = np.flatnonzero(ours != theirs)
    if not where.size:
        return ""
    at = int(where[0])
    lane, offset = divmod(at - local_bytes(chip), chip.lane_bytes)
    return (f"{where.size} bytes differ, first at {at} (stored lane {lane}, offset {offset}): "
            f"ours {ours[at]}, vendor {theirs[at]}")  # fmt: skip
