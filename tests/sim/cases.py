"""Random legal instructions, as field dictionaries for the encoders of tpuforge.compiler.isa.

Every maker takes a Maker (random generator + chip) and returns TIU fields; operands lie in four
different 8 KiB quarters of the lanes. tdma_cases.py has the transfers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tpuforge.compiler.chip import Chip

Fields = dict[str, int]
QUARTER = 8192
EU = {"mul": 0, "mac": 1, "add": 2, "sub": 3, "max": 4, "min": 5, "shift": 6, "and": 7, "or": 8,
      "xor": 9, "copy": 10, "ge": 11}  # fmt: skip


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


class Maker:
    """Random choices and operand placement for one chip."""

    def __init__(self, rng: np.random.Generator, chip: Chip) -> None:
        self.rng, self.chip = rng, chip
        self.gen_a = chip.generation == "A"

    def int(self, low: int, high: int) -> int:
        """Uniform, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def flag(self, p: float = 0.5) -> int:
        return int(self.rng.random() < p)

    def pick(self, items: Any) -> Any:
        return items[self.int(0, len(items) - 1)]

    def size(self, limit: int) -> int:
        """1..limit, small numbers and vector-length remainders preferred."""
        odd = [v for v in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65) if v <= limit]
        return self.pick(odd) if self.flag() else self.int(1, min(limit, 40))

    def quarters(self) -> list[int]:
        return [int(q) * QUARTER for q in self.rng.permutation(4)]


def base_fields(m: Maker) -> Fields:
    return {"cmd_en": 1, "cmd_id_en": 1, "layer_info": m.int(0, 100)}


def shape(prefix: str, n: int, c: int, h: int, w: int) -> Fields:
    return {f"{prefix}_n": n, f"{prefix}_c": c, f"{prefix}_h": h, f"{prefix}_w": w}


def packed_strides(m: Maker, c: int, h: int, w: int, e: int, lane: int = 0,
                   aligned: bool = True) -> tuple[int, int, int, int]:  # fmt: skip
    plane = h * w * e
    cs = ceil_div(plane, 16) * 16 if aligned else plane
    return cs * ceil_div(lane + c, m.chip.lanes), cs, w * e, e


def set_strides(f: Fields, prefix: str, strides: tuple[int, int, int, int]) -> None:
    for key, value in zip("nchw", strides, strict=True):
        f[f"{prefix}_{key}_str"] = value


def free_strides(m: Maker, n: int, c: int, h: int, w: int, e: int, lane: int,
                 broadcast: bool) -> tuple[int, int, int, int]:  # fmt: skip
    """Strides with gaps, sometimes 0 (broadcast), inside a quarter; n stride a multiple of 16."""
    while True:
        groups = ceil_div(lane + c, m.chip.lanes)
        ws = e * (m.int(1, 3) if m.flag(0.2) else 1)
        hs = w * ws + (e * m.int(0, 4) if m.flag(0.4) else 0)
        cs = h * hs + (e * m.int(0, 9) if m.flag(0.4) else 0)
        if m.flag(0.6):
            cs = ceil_div(cs, 16) * 16
        ns = ceil_div(cs * groups, 16) * 16
        strides = [ns, cs, hs, ws]
        if broadcast:
            strides = [0 if m.flag(0.2) else s for s in strides]
        if n * ns <= QUARTER // 2:
            return strides[0], strides[1], strides[2], strides[3]
        n, c, h, w = max(1, n // 2), c, h, w
        if n == 1:
            return packed_strides(m, c, h, w, e, lane)


def small_shape(m: Maker, e: int, budget: int = 2048) -> tuple[int, int, int, int]:
    """(n, c, h, w) whose aligned packed form takes at most budget bytes per lane."""
    while True:
        n, c = m.pick([1, 1, 1, 2, 3]), m.size(3 * m.chip.lanes)
        h, w = m.size(40), m.size(70)
        if packed_strides(m, c, h, w, e, m.chip.lanes - 1)[0] * n <= budget:
            return n, c, h, w


def arith(m: Maker, name: str, bf16: bool = False) -> Fields:
    f = base_fields(m)
    e = 2 if bf16 else 1
    n, c, h, w = small_shape(m, e)
    for prefix in ("res0", "opd0", "opd1", "opd2"):
        f |= shape(prefix, n, c, h, w)
    wide_in = name in ("add", "sub", "shift") or (name in ("and", "or", "xor") and m.flag())
    wide_b = wide_in and name != "shift"
    if bf16:
        wide_in = wide_b = False
    wide_out = {"mul": m.flag(), "mac": m.flag(), "add": m.flag(), "sub": m.flag(), "shift": 1,
                "and": wide_in, "or": wide_in, "xor": wide_in}.get(name, 0)  # fmt: skip
    wide_out = int(wide_out) and not bf16
    q = m.quarters()
    lanes = [m.int(0, m.chip.lanes - 1) if m.flag(0.4) else 0 for _ in range(2)]
    f["res0_addr"] = lanes[0] * 32768 + q[0] + 16 * m.int(0, 20)
    f["opd0_addr"] = lanes[1] * 32768 + q[1] + m.int(0, 100) * e
    f["opd1_addr"] = q[2] + m.int(0, 100) * e
    for prefix, lane, cast in (("res0", lanes[0], 0), ("opd0", lanes[1], 1), ("opd1", 0, 1)):
        s = free_strides(m, n, c, h, w, e, lane, bool(cast) and bool(m.flag(0.4)))
        set_strides(f, prefix, s)
        f[f"{prefix}_b_str"] = 4096
        f[f"short_{prefix}_str"] = 3
    f["short_opd2_str"] = 3
    f["tsk_typ"], f["tsk_eu_typ"], f["tsk_opd_num"] = 3, EU[name], 1 if name == "copy" else 2
    f["opt_opd0_seg"], f["opt_opd1_seg"] = int(not wide_in), int(not wide_b)
    f["opt_res0_seg"], f["opt_opd2_seg"] = int(not wide_out), 1
    f["opd_typ"] = int(bf16)
    sa, sb = (0, 0) if bf16 else (m.flag(), m.flag())
    if name != "copy" and m.flag(0.3):
        f["opt_opd1_const"] = 1
        f["opd1_addr"] = m.int(0, 65535)
        if name == "shift":
            f["opd1_addr"] = m.int(-16, 16) & 0xFF
    if name in ("max", "min", "ge"):
        sb = sa
    if name == "shift":
        sa = sb = 1
    if name in ("and", "or", "xor", "copy"):
        sa = sb = 0
    s = sa | sb
    relu = int(name in ("mul", "mac", "add") and bool(s) and not wide_out and m.flag(0.4))
    if bf16:
        relu = int(name in ("mul", "mac", "add") and m.flag(0.3))
    rs = s
    if name == "sub" and not bf16:
        if not s:
            sa = s = 1
        rs = 1
    if relu and not bf16:
        rs = m.flag()
    shifting = name in ("mul", "mac", "add", "sub") and not bf16
    f |= {"opt_opd0_sign": sa, "opt_opd1_sign": sb, "opt_res0_sign": rs, "opt_relu_typ": relu,
          "opt_shift_typ": s if name != "copy" else 0,
          "opt_rshift_typ": m.flag() if shifting else 0,
          "opt_res_shift": m.int(0, 31) if shifting and m.flag(0.7) else 0,
          "opt_left_shift": m.int(0, 31) if name == "mac" and not bf16 and m.flag() else 0,
          "opt_res_add": int(name == "mac"), "opt_opd2_sign": 0}  # fmt: skip
    if shifting and f["opt_res_shift"] > 16 and m.flag(0.7):
        f["opt_res_shift"] = m.int(0, 12)
    if name == "shift" and not f.get("opt_opd1_const"):
        f["opt_opd1_const"], f["opd1_addr"] = 1, m.int(-16, 16) & 0xFF
    if name == "mul" and not bf16 and m.flag(0.3):
        f["opt_chl_quan"], f["quan_m"] = 1, multiplier(m)
        f["opt_res_shift"] = quan_shift(m)
        f["opt_rshift_typ"] = 1
    return f


def multiplier(m: Maker) -> int:
    if m.flag(0.8):
        return m.int(1 << 30, (1 << 31) - 1)
    return m.int(0, (1 << 32) - 1)


def quan_shift(m: Maker) -> int:
    if not m.gen_a and m.flag(0.3):
        return -m.int(1, 31)
    return m.int(0, 31) if m.flag(0.3) else m.int(0, 10)


def lookup(m: Maker, bf16: bool) -> Fields:
    e = 2 if bf16 else 1
    f = base_fields(m)
    n, c, h, w = small_shape(m, e)
    q = m.quarters()
    f |= shape("res0", n, c, h, w) | shape("opd0", n, c, h, w)
    f |= shape("opd1", 1, m.chip.lanes, 32 if bf16 else 16, 8 if bf16 else 16)
    f |= {"res0_addr": q[0], "opd0_addr": q[1], "opd1_addr": q[2], "tsk_typ": 3, "tsk_opd_num": 2,
          "opt_relu_typ": 0, "opt_res_shift": 0, "opt_left_shift": 0, "opt_shift_typ": 0,
          "opt_rshift_typ": 0, "opd_typ": int(bf16), "opt_opd2_seg": int(bf16)}  # fmt: skip
    sign = int(bf16)
    f |= {"opt_res0_sign": sign, "opt_opd0_sign": sign, "opt_opd1_sign": sign}
    if m.gen_a:
        f |= {"tens_lookup": 1, "tsk_eu_typ": 12 if bf16 else 0}
    else:
        f["tsk_eu_typ"] = 12
    return f


def mdsum(m: Maker) -> Fields:
    """Generation A only."""
    f = base_fields(m)
    n, c, h, w = small_shape(m, 1)
    c = min(c, 32)
    q = m.quarters()
    s, wide = m.flag(), m.flag()
    f |= shape("opd0", n, c, h, w) | shape("res0", 1, c, 1, 1)
    f |= {"opd0_addr": q[0], "res0_addr": q[1], "tsk_typ": 3, "tens_mdsum": 1, "tsk_opd_num": 1,
          "short_res0_str": 1, "opt_relu_typ": 0, "opt_opd0_sign": s, "opt_res0_sign": s,
          "opt_shift_typ": s, "opt_res0_seg": 1 - wide, "opt_res_shift": m.int(0, 10),
          "opt_rshift_typ": m.flag(), "res0_b_str": 16}  # fmt: skip
    return f


def window(m: Maker, pool: bool, grow: bool, h: int, w: int) -> tuple[Fields, int, int]:
    """Kernel, strides, pads, insertions for an h x w input; result size."""
    while True:
        kh, kw = m.int(1, 5), m.int(1, 5)
        if m.flag(0.1):
            kh, kw = min(h, m.int(1, 9)), min(w, m.int(1, 9))
        sy, sx = (m.pick([1, 1, 2, 3, m.int(1, 15 if m.gen_a else 31)]) for _ in range(2))
        pads = [m.int(0, 15) if m.flag(0.1) else m.int(0, 3) * m.flag() for _ in range(4)]
        iy, ix, ly, lx = [m.int(0, 4) * m.flag(0.3) for _ in range(4)] if grow else [0] * 4
        dy, dx = [m.int(0, 3) * m.flag(0.3) for _ in range(2)] if grow and not pool else [0, 0]
        height = (h - 1) * (iy + 1) + 1 + ly + pads[0] + pads[1]
        width = (w - 1) * (ix + 1) + 1 + lx + pads[2] + pads[3]
        oh, ow = height - (kh - 1) * (dy + 1) - 1, width - (kw - 1) * (dx + 1) - 1
        if oh < 0 or ow < 0:
            continue
        f = {"opd1_h": kh, "opd1_w": kw, "conv_op_y_str": sy, "conv_op_x_str": sx,
             "conv_opd0_up_pad": pads[0], "conv_opd0_dn_pad": pads[1], "conv_opd0_lf_pad": pads[2],
             "conv_opd0_rt_pad": pads[3], "conv_opd0_y_ins0": iy, "conv_opd0_x_ins0": ix,
             "conv_opd0_y_ins0_last": ly, "conv_opd0_x_ins0_last": lx, "conv_opd1_y_ins0": dy,
             "conv_opd1_x_ins0": dx}  # fmt: skip
        return f, oh // sy + 1, ow // sx + 1


def fill_value(m: Maker, f: Fields, bf16: bool, maximum: bool) -> None:
    value = 0 if bf16 and not maximum else m.int(0, 255)
    if bf16 and maximum:
        value = m.int(0, 65535)
    if m.gen_a and bf16:
        f["opd0_ins_fp"] = value
    else:
        f["opd0_ins_val"] = value


def map_operands(m: Maker, f: Fields, n: int, c: int, h: int, w: int, oh: int, ow: int, e: int,
                 q: list[int], lanes: tuple[int, int], free: bool) -> None:  # fmt: skip
    """Input in quarter 0, result in quarter 1, both with stride code 0 or 3."""
    f |= shape("opd0", n, c, h, w) | shape("res0", n, c, oh, ow)
    f["opd0_addr"] = lanes[0] * 32768 + q[0] + (e * m.int(0, 40) if m.flag(0.3) else 0)
    f["res0_addr"] = lanes[1] * 32768 + q[1] + 16 * m.int(0, 10)
    f["short_opd0_str"] = f["short_res0_str"] = 3 if free else 0
    if free:
        set_strides(f, "opd0", free_strides(m, n, c, h, w, e, lanes[0], False))
        set_strides(f, "res0", free_strides(m, n, c, oh, ow, e, lanes[1], False))


def fits(m: Maker, n: int, c: int, h: int, w: int, e: int, lane: int = 0, planes: int = 1) -> bool:
    return packed_strides(m, c, h, w, e, lane)[0] * n * planes <= QUARTER // 2 - 700


def pool(m: Maker, kind: str, bf16: bool = False) -> Fields:
    e = 2 if bf16 else 1
    while True:
        n, c, h, w = small_shape(m, e)
        f, oh, ow = window(m, True, kind == "avg", h, w)
        if fits(m, n, c, oh, ow, e, m.chip.lanes - 1):
            break
    f |= base_fields(m)
    lanes = (m.int(0, m.chip.lanes - 1), m.int(0, m.chip.lanes - 1)) if m.flag(0.3) else (0, 0)
    map_operands(m, f, n, c, h, w, oh, ow, e, m.quarters(), lanes, bool(m.flag()))
    s = 0 if bf16 else m.flag()
    f |= {"tsk_typ": 1, "tsk_eu_typ": {"max": 0, "avg": 1, "min": 3}[kind], "opd_typ": int(bf16),
          "tsk_opd_num": 2 if kind == "avg" else 1, "opt_opd0_sign": s, "opt_res0_sign": s,
          "opt_shift_typ": s, "opt_relu_typ": 0, "opt_res_shift": 0, "opt_opd1_sign": 0,
          "opt_rshift_typ": 1}  # fmt: skip
    if kind == "avg":
        f |= {"opt_opd1_const": 1, "opd1_addr": m.int(0, 255),
              "opt_res_shift": 0 if bf16 else m.int(0, 14)}  # fmt: skip
        if bf16:
            f["opd1_addr"] = m.int(0x3000, 0x4200)
    fill_value(m, f, bf16, kind != "avg")
    return f


def params(m: Maker, f: Fields, c: int, at: int, bf16: bool, quant: bool) -> None:
    """Bias or parameter block in opd2."""
    bias = m.flag(0.7)
    f["tsk_opd_num"] = 3 if bias else 2
    f |= shape("opd2", 1, c, 1, 1) | {"opd2_addr": at, "short_opd2_str": 2}
    f["opt_chl_quan"] = int(quant)
    f["opt_opd2_seg"] = int(quant)
    groups = ceil_div(c, m.chip.lanes)
    f["opd2_b_str"] = 0 if quant else groups * (2 if bf16 else 1)
    f["opt_rshift_typ"] = 1


def depthwise(m: Maker, form: str) -> Fields:
    """form: shift, quant, bf16."""
    bf16, quant = form == "bf16", form == "quant"
    e = 2 if bf16 else 1
    while True:
        n, c, h, w = small_shape(m, e)
        f, oh, ow = window(m, False, True, h, w)
        if fits(m, n, c, oh, ow, e, planes=2):
            break
    f |= base_fields(m)
    q = m.quarters()
    map_operands(m, f, n, c, h, w, oh, ow, e, q, (0, 0), bool(m.flag()))
    f |= {"opd1_n": 1, "opd1_c": c, "opd1_addr": q[2], "tsk_typ": 1, "tsk_eu_typ": 2,
          "opd_typ": int(bf16)}  # fmt: skip
    params(m, f, c, q[3], bf16, quant)
    relu, rs = m.flag(0.3), 1
    if relu and not bf16:
        rs = m.flag()
    f |= {"opt_opd0_sign": 0 if bf16 else m.flag(), "opt_opd1_sign": 1, "opt_opd2_sign": 1,
          "opt_res0_sign": 0 if bf16 else rs, "opt_relu_typ": relu, "opt_shift_typ": 1,
          "opt_res_shift": m.int(0, 14) if form == "shift" else 0}  # fmt: skip
    if m.flag(0.15):
        f["opt_opd1_const"] = 1
        f["opd1_addr"] = m.int(0, 255)
        if bf16:
            f["opd1_addr"] = m.int(0x3000, 0x4200)
    if bf16 and m.gen_a and m.flag(0.2):
        f |= {"ps32_md": 2, "res0_b_str": 4096, "opt_relu_typ": 0, "tsk_opd_num": 2}
    fill_value(m, f, bf16, False)
    return f


def conv(m: Maker, form: str) -> Fields:
    """form: shift, quant, bf16."""
    bf16, quant = form == "bf16", form == "quant"
    e, ps = 2 if bf16 else 1, m.pick([0, 0, 0, 0, 1, 2, 3])
    while True:
        n, ic, h, w = small_shape(m, e)
        oc = m.size(3 * m.chip.lanes)
        f, oh, ow = window(m, False, True, h, w)
        weights = f["opd1_h"] * f["opd1_w"] * ic * e * ceil_div(oc, m.chip.lanes)
        work = oh * ow * n * oc * f["opd1_h"] * f["opd1_w"] * ic
        fitting = fits(m, n, oc, oh, ow, e, planes=4 if ps else 1) and weights < QUARTER - 64
        if fitting and work < 3e6:
            break
    f |= base_fields(m)
    q = m.quarters()
    lane = m.int(0, m.chip.lanes - 1) if m.flag(0.2) else 0
    map_operands(m, f, n, ic, h, w, oh, ow, e, q, (lane, 0), False)
    f |= {"res0_c": oc, "opd1_n": ic, "opd1_c": oc, "opd1_addr": q[2] + 2 * m.int(0, 9),
          "short_opd1_str": 1, "tsk_typ": 0, "tsk_eu_typ": 0, "opd_typ": int(bf16)}  # fmt: skip
    if m.flag(0.3):
        f["short_res0_str"] = 3
        set_strides(f, "res0", free_strides(m, n, oc, oh, ow, e, 0, False))
    params(m, f, oc, q[3], bf16, quant)
    signs = [0 if bf16 else m.flag() for _ in range(2)]
    bias_sign = 1 if quant else 0 if bf16 else m.flag()
    biased = f["tsk_opd_num"] == 3
    s = int(any(signs) or (bool(bias_sign) and biased))
    relu = m.flag(0.3) if s or bf16 else 0
    rs = m.flag() if relu and not bf16 else s
    f |= {"opt_opd0_sign": signs[0], "opt_opd1_sign": signs[1], "opt_opd2_sign": bias_sign,
          "opt_res0_sign": rs, "opt_relu_typ": relu, "opt_shift_typ": s,
          "opt_res_shift": m.int(0, 16) if form == "shift" else 0}  # fmt: skip
    if m.flag(0.1):
        f["opt_opd1_const"] = 1
        f["opd1_addr"] = m.int(0, 255)
        if bf16:
            f["opd1_addr"] = m.int(0x3000, 0x4200)
    elif not bf16 and ic % 2 == 0 and ic >= 4 and f["opd0_addr"] % 2 == 0 and m.flag():
        f["double_conv"] = 1
    if ps:
        f |= {"ps32_md": ps, "res0_b_str": n * packed_strides(m, oc, oh, ow, e)[0]}
        if f["short_res0_str"] == 3 or m.flag(0.3):
            f["res0_b_str"] = n * f.get("res0_n_str", 16) + 16 * m.int(0, 3)
        if ps >= 2:
            unbiased = int(any(signs))
            f |= {"opt_relu_typ": 0, "opt_res_shift": 0, "tsk_opd_num": 2, "opt_chl_quan": 0,
                  "opt_opd2_seg": 0, "opt_shift_typ": 0 if bf16 else unbiased,
                  "opt_res0_sign": 0 if bf16 else unbiased}  # fmt: skip
    fill_value(m, f, bf16, False)
    return f


def matrix(m: Maker, form: str) -> Fields:
    """form: shift, wide, add, quant, bf16."""
    bf16, quant = form == "bf16", form == "quant"
    e = 2 if bf16 else 1
    ps = m.pick([0, 0, 0, 1, 2, 3]) if form in ("shift", "bf16", "wide") else m.pick([0, 0, 1])
    ps = 0 if form == "add" else ps
    planes = 4 if ps else 2 if form in ("wide", "add") else 1
    while True:
        rows, lc, lw = m.size(20), m.size(m.chip.lanes * 2), m.size(40)
        rc, rw = m.size(m.chip.lanes * 2), m.size(40)
        last = m.int(1, lw)
        k = lw * (lc - 1) + last
        inputs = fits(m, rows, lc, 1, lw, e) and fits(m, k, rc, 1, rw, e)
        if inputs and fits(m, rows, rc, 1, rw, e, planes=planes) and rows * k * rc * rw < 2e6:
            break
    q = m.quarters()
    f = base_fields(m) | shape("opd0", rows, lc, 1, lw) | shape("res0", rows, rc, 1, rw)
    f |= {"opd1_n": k, "opd1_c": rc, "opd1_h": 1, "opd1_w": last}
    lane = m.int(0, m.chip.lanes - 1) if m.flag(0.2) else 0
    f |= {"opd0_addr": lane * 32768 + q[0], "opd1_addr": q[1], "res0_addr": q[2],
          "opd2_addr": q[3], "tsk_typ": 2, "tsk_eu_typ": 0, "opd_typ": int(bf16),
          "opt_opd2_seg": 0, "opt_rshift_typ": 1, "ps32_md": ps,
          "opt_left_shift": 0}  # fmt: skip
    bias = m.flag() if ps < 2 else 0
    f["tsk_opd_num"] = 3 if bias else 2
    if bias:
        f |= shape("opd2", 1, rc, 1, rw)
    signs = [0 if bf16 else m.flag() for _ in range(2)]
    bias_sign = 0 if bf16 else m.flag()
    s = int(any(signs) or (bool(bias_sign) and bool(bias)))
    if quant:
        signs, bias_sign, s = [m.flag(), 1], 1, 1
    relu = m.flag(0.3) if (s or bf16) and form in ("shift", "quant", "bf16") and ps < 2 else 0
    rs = m.flag() if relu and not bf16 else s
    f |= {"opt_opd0_sign": signs[0], "opt_opd1_sign": signs[1], "opt_opd2_sign": bias_sign,
          "opt_res0_sign": rs, "opt_relu_typ": relu, "opt_shift_typ": s,
          "opt_res_shift": m.int(0, 14) if not bf16 and ps < 2 else 0,
          "opt_res0_seg": int(form not in ("wide", "add"))}  # fmt: skip
    f["res0_b_str"] = rows * packed_strides(m, rc, 1, rw, e)[0]
    if form == "add":
        f |= {"opt_res_add": 1, "opt_left_shift": m.int(0, 16), "opt_res0_seg": m.flag()}
    if quant:
        f |= {"opt_chl_quan": 1, "quan_m": multiplier(m), "opt_res_shift": quan_shift(m)}
    return f
