"""Cycles of single TIU instructions on plain numbers: hw/cv18xx.md section 9.1.

Nothing here needs an instruction word, so a scheduler can ask for the cost of a tile it only plans.
The constants reproduce the TIU time of all 22 files of zoo/baseline.json within print precision.
Symbols of the specification: U = 16 outputs per step (8 with bf16), G = n * ceil((lane0 + c) / L),
P = ceil(h * w / U) of the result, K = kh * kw, span(k) = input columns behind k output columns,
rs = cycles to read the result stage's parameters, ps = cycles to move partial sums.
"""

from __future__ import annotations

from math import floor

from ...chip import Chip
from ...errors import InternalError

CONV_START = 41  # latency of a convolution or matrix command
START = 26  # latency of any other command
POST = 12  # result stage, plain shift
POST_QUANT = 31  # result stage, quantised multiplication
PS_CYCLES = (0, 4, 4, 8)  # by ps32_md
QUANT_FLOOR = 16  # per-channel parameters are read in 16 cycles per step

#: cycles per step of tensor arithmetic: (8-bit or bf16 operands, 16-bit operands)
ARITH = {
    "mul": (2.5, 4.5),
    "mac": (9, 11),
    "add": (5, 7),
    "sub": (5, 7),
    "max": (3, 5),
    "min": (3, 5),
    "and": (3, 5),
    "or": (3, 5),
    "xor": (3, 5),
    "ge": (3, 5),
    "shift": (4, 4),
    "copy": (2, 4),
}


def ceil_div(a: int, b: int) -> int:
    """a / b rounded up."""
    return -(-a // b)


def groups(chip: Chip, n: int, c: int, start_lane: int = 0) -> int:
    """G: how often the lanes are filled."""
    return n * ceil_div(start_lane + c, chip.lanes)


def units(chip: Chip, bf16: bool) -> int:
    """U: outputs that a lane makes at once."""
    return chip.exec_units // 2 if bf16 else chip.exec_units


def span(k: int, x_stride: int, x_ins0: int) -> float:
    """Input columns behind k neighbouring output columns, inserted ones not counted."""
    return (k - 1) * x_stride / (x_ins0 + 1) + 1


def conv_cycles(
    chip: Chip,
    *,
    n: int,
    oc: int,
    oh: int,
    ow: int,
    ic: int,
    kh: int,
    kw: int,
    x_stride: int = 1,
    x_ins0: int = 0,
    quant: bool = True,
    bias16: bool = False,
    ps32: int = 0,
    double: bool = False,
    start_lane: int = 0,
    bf16: bool = False,
) -> float:
    """A convolution: 41 + G * P * loop + post.

    quant: per-channel parameter block; bias16: a 16-bit (bf16: fp32) bias plane; ps32: ps32_md;
    double: double_conv (halves the channel loop only where the chip gains from it).
    """
    k = kh * kw
    per_step = chip.conv_macs_per_step if double else 1
    fetch = floor(-(-span(16, x_stride, x_ins0) // 16)) + 1
    loop = k * ceil_div(ic, per_step) + k * max(0, fetch - ic)
    loop += 2 * bias16 + (1 if quant else 2 if bf16 else 4) + PS_CYCLES[ps32]
    if quant:
        loop = max(loop, QUANT_FLOOR)
    steps = groups(chip, n, oc, start_lane) * ceil_div(oh * ow, units(chip, bf16))
    return CONV_START + steps * loop + (POST_QUANT if quant else POST)


def depthwise_cycles(
    chip: Chip,
    *,
    n: int,
    c: int,
    oh: int,
    ow: int,
    kh: int,
    kw: int,
    x_stride: int = 1,
    x_ins0: int = 0,
    quant: bool = True,
    bias16: bool = False,
    start_lane: int = 0,
    bf16: bool = False,
) -> float:
    """A depthwise convolution: 26 + G * P * (max(floor(K * m), 16 if quant) + bias + rs) + post.

    m = span(k) / k + 15 / 16 with k = min(ow, 16): how often an input column is fetched; a 1x1
    kernel has m = 1 and rs = 3.
    """
    if kh * kw == 1:
        taps, rs = 1, 3
    else:
        k = min(ow, 16)
        taps = floor(kh * kw * (span(k, x_stride, x_ins0) / k + 15 / 16))
        rs = 1 if quant else 2 if bf16 else 4
    if quant:
        taps = max(taps, QUANT_FLOOR)
    steps = groups(chip, n, c, start_lane) * ceil_div(oh * ow, units(chip, bf16))
    return START + steps * (taps + 2 * bias16 + rs) + (POST_QUANT if quant else POST)


def _pool_fetch(u: int, oh: int, ow: int, x_stride: int) -> float:
    """m of pooling: max(1, span(U) / U + (min(span(U), U) - 1) / U); one output: 1."""
    if oh * ow == 1:
        return 1.0
    s = span(u, x_stride, 0)
    return max(1.0, s / u + (min(s, u) - 1) / u)


def max_pool_cycles(
    chip: Chip,
    *,
    n: int,
    c: int,
    oh: int,
    ow: int,
    kh: int,
    kw: int,
    x_stride: int = 1,
    start_lane: int = 0,
    bf16: bool = False,
) -> float:
    """Maximum or minimum pooling: 26 + G * P * (floor(K * m) + 2).

    The specification has no floor; without it the baseline's pooling networks come out 3 % higher.
    """
    u = units(chip, bf16)
    steps = groups(chip, n, c, start_lane) * ceil_div(oh * ow, u)
    return START + steps * (floor(kh * kw * _pool_fetch(u, oh, ow, x_stride)) + 2)


def avg_pool_cycles(
    chip: Chip,
    *,
    n: int,
    c: int,
    oh: int,
    ow: int,
    kh: int,
    kw: int,
    x_stride: int = 1,
    start_lane: int = 0,
    bf16: bool = False,
) -> float:
    """Average pooling: 26 + G * P * (K * m + rs) + post, rs = 4 (bf16: 2)."""
    u = units(chip, bf16)
    steps = groups(chip, n, c, start_lane) * ceil_div(oh * ow, u)
    rs = 2 if bf16 else 4
    return START + steps * (kh * kw * _pool_fetch(u, oh, ow, x_stride) + rs) + POST


def matrix_cycles(
    chip: Chip,
    *,
    rows: int,
    inner: int,
    res_c: int,
    res_w: int,
    quant: bool = False,
    bias: bool = False,
    ps32: int = 0,
    res_add: bool = False,
    bf16: bool = False,
) -> float:
    """A matrix product: 41 + R * ceil(c / L) * ceil(w / U) * (inner + bias + rs + ps + add) + post.

    res_c, res_w: spread of the result's columns (hw/cv18xx.md section 4.5).
    """
    steps = rows * ceil_div(res_c, chip.lanes) * ceil_div(res_w, units(chip, bf16))
    loop = inner + 2 * bias + (2 if bf16 else 4) + PS_CYCLES[ps32] + 2 * res_add
    return CONV_START + steps * loop + (POST_QUANT if quant else POST)


def arith_cycles(
    chip: Chip,
    op: str,
    *,
    n: int,
    c: int,
    h: int,
    w: int,
    res16: bool = False,
    opd16: bool = False,
    const: bool = False,
    res_c_stride: int | None = None,
    quant: bool = False,
    start_lane: int = 0,
    bf16: bool = False,
) -> float:
    """Tensor arithmetic: 26 + G * P * a * s + post, a by operation (names of `ARITH`).

    res16, opd16: 16-bit integers in two planes; s = 30 / 16 when the result's c stride (bytes,
    default aligned) is no multiple of 16.
    """
    if op not in ARITH:
        raise InternalError(f"no cost for tensor arithmetic {op!r}: known are {', '.join(ARITH)}")
    a = ARITH[op][opd16]
    if op in ("add", "sub") and opd16 and const:
        a -= 0.5
    if op == "mul" and not res16 and not bf16:
        a += 3
    a += res16
    s = 1.0 if not res_c_stride or res_c_stride % 16 == 0 else 30 / 16
    steps = groups(chip, n, c, start_lane) * ceil_div(h * w, units(chip, bf16))
    return START + steps * a * s + (POST_QUANT if quant else POST)


def lookup_cycles(
    chip: Chip,
    *,
    n: int,
    c: int,
    h: int,
    w: int,
    table_h: int = 16,
    start_lane: int = 0,
    bf16: bool = False,
) -> float:
    """A table look-up: 26 + G * P * (1 + table_h + 2) + post; table_h is 16, with bf16 32."""
    steps = groups(chip, n, c, start_lane) * ceil_div(h * w, units(chip, bf16))
    return START + steps * (1 + table_h + 2) + POST


def mdsum_cycles(chip: Chip, *, n: int, c: int, h: int, w: int, start_lane: int = 0) -> float:
    """The sum over n, h, w of generation A: 26 + G * P * 3 + post, P of the operand."""
    return START + groups(chip, n, c, start_lane) * ceil_div(h * w, chip.exec_units) * 3 + POST
