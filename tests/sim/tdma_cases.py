"""Random legal transfers, as field dictionaries for the TDMA encoder. The DDR side lies in a window
[low, low + 64 KiB) of device memory.
"""

from __future__ import annotations

from sim.cases import Fields, Maker, ceil_div, packed_strides

WINDOW = 65536


class Transfer:
    """Fields of one command under construction."""

    def __init__(self, m: Maker, direction: int, low: int) -> None:
        self.m, self.dir, self.low = m, direction, low
        self.f: Fields = {"vld": 1, "bar_en": 1, "trans_dir": direction, "layer_ID": m.int(0, 99)}
        self.f |= {"src_base_reg_sel": m.int(0, 7), "dst_base_reg_sel": m.int(0, 7)}

    def is_local(self, side: str) -> bool:
        return self.dir == 3 or (self.dir < 2 and (self.dir == 0) == (side == "dst"))

    def address(self, side: str, offset: int, lane: int = 0) -> None:
        high = 0
        if self.is_local(side):
            value = lane * 32768 + offset
        else:
            value, high = self.low + offset, int(self.m.chip.ddr_start > 0)
        self.f[f"{side}_base_addr_low"], self.f[f"{side}_base_addr_high"] = value, high

    def strides(self, side: str, n: int, c: int, h: int) -> None:
        self.f |= {f"{side}_n_stride": n, f"{side}_c_stride": c, f"{side}_h_stride": h}

    def shape(self, side: str, n: int, c: int, h: int, w: int) -> None:
        self.f |= {f"{side}_c": c, f"{side}_h": h, f"{side}_w": w}
        if side == "src":
            self.f["src_n"] = n

    def place(self, side: str, n: int, c: int, h: int, w: int, e: int, quarter: int,
              align: bool = False) -> None:  # fmt: skip
        """Address and strides for a tensor: packed, aligned or with gaps."""
        m = self.m
        local = self.is_local(side)
        gap = (lambda k: m.int(0, k) if m.flag(0.3) else 0) if not align else (lambda k: 0)
        hs = w * e + gap(5)
        cs = h * hs + gap(20)
        lane = m.int(0, m.chip.lanes - 1) if local and m.flag(0.4) else 0
        groups = ceil_div(lane + c, m.chip.lanes) if local else c
        if (local and m.flag()) or align:
            cs = ceil_div(cs, 16) * 16
        ns = cs * groups + gap(40)
        if align:
            ns = ceil_div(ns, 16) * 16
        self.strides(side, ns, cs, hs)
        self.address(side, quarter + (16 * m.int(0, 4) if align else gap(63)), lane)


def dims(m: Maker, e: int) -> tuple[int, int, int, int]:
    while True:
        n, c, h, w = m.pick([1, 1, 2, 3]), m.size(3 * m.chip.lanes), m.size(20), m.size(64)
        if n * c * (h * w * e + 60) < 14000 and packed_strides(m, c, h, w, e, 40)[0] * n < 6000:
            return n, c, h, w


def formats(m: Maker, t: Transfer, pairs: list[tuple[int, int]]) -> tuple[int, int]:
    src, dst = m.pick(pairs)
    t.f |= {"src_fmt": src, "dst_fmt": dst, "int8_sign": m.flag(), "int8_rnd_mode": m.flag()}
    return src, dst


COPY_FORMATS = {0: [(1, 1), (2, 2), (1, 2)], 1: [(1, 1), (2, 2), (2, 1)], 2: [(1, 1), (2, 2)],
                3: [(1, 1), (2, 2), (1, 2), (2, 1)]}  # fmt: skip


def copy(m: Maker, low: int, direction: int) -> Fields:
    t = Transfer(m, direction, low)
    a, b = formats(m, t, COPY_FORMATS[direction])
    n, c, h, w = dims(m, 2)
    t.shape("src", n, c, h, w)
    t.place("src", n, c, h, w, a, 0)
    dc, dh, dw = c, h, w
    if m.flag(0.4):  # another shape of the same element count, the same n
        total, dc = c * h * w, 1
        for _ in range(3):
            k = m.pick([2, 3, 5, 7, m.chip.lanes])
            if total % k == 0 and dc * k < 64:
                total, dc = total // k, dc * k
        dh = m.pick([k for k in (1, 2, 3, 4, 6) if total % k == 0])
        dw = total // dh
    t.shape("dst", n, dc, dh, dw)
    t.place("dst", n, dc, dh, dw, b, 16384 if direction == 3 else 0)
    if direction == 2:
        t.address("dst", 32768)
    if m.flag(0.1):
        t.f[m.pick(["src_n_stride", "src_c_stride", "src_h_stride"])] = 0
    if direction == 3 and a == b == 2 and m.flag(0.2):
        t.f["mv_lut_base"] = 1
    return t.f


def byte_copy(m: Maker, low: int) -> Fields:
    t = Transfer(m, m.int(0, 2), low)
    t.f |= {"trans_fmt": 1, "src_n_stride": m.int(1, 30000)}
    t.address("src", m.int(0, 999), m.int(0, m.chip.lanes - 2))
    t.address("dst", m.int(0, 999) + (32000 if t.dir == 2 else 0), m.int(0, m.chip.lanes - 2))
    return t.f


def fill(m: Maker, low: int) -> Fields:
    t = Transfer(m, m.int(0, 1), low)
    _, b = formats(m, t, [(1, 1), (2, 2)])
    n, c, h, w = dims(m, 2)
    t.shape("src", n, c, h, w)
    t.shape("dst", n, c, h, w)
    t.place("dst", n, c, h, w, b, 0)
    t.f |= {"spec_func": 4, "const_val": m.int(0, 65535)}
    t.f.setdefault("src_base_addr_low", t.f["dst_base_addr_low"])
    t.address("src", 0)
    return t.f


def trans_nc(m: Maker, low: int) -> Fields:
    t = Transfer(m, m.int(0, 1), low)
    a, b = formats(m, t, [(1, 1), (2, 2), (1, 2)][: 3 - t.dir])
    n, c, h, w = dims(m, 2)
    n = m.int(1, 6)
    c = min(c, 8)
    h = min(h, 6)
    w = min(w, 33)
    t.shape("src", n, c, h, w)
    t.shape("dst", c, n, h, w)
    t.place("src", n, c, h, w, a, 0)
    t.place("dst", c, n, h, w, b, 0)
    t.f |= {"spec_func": 1, "transpose_md": 0}
    return t.f


def trans_cw(m: Maker, low: int) -> Fields:
    t = Transfer(m, 1, low)
    n, c, h, w = dims(m, 1)
    t.shape("src", n, c, h, w)
    t.shape("dst", n, w, h, c)
    t.place("src", n, c, h, w, 1, 0)
    t.place("dst", n, w, h, c, 1, 0)
    t.f |= {"spec_func": 1, "transpose_md": 3}
    return t.f


def trans_hwc(m: Maker, low: int) -> Fields:
    t = Transfer(m, 0, low)
    n, h, w, c = m.int(1, 2), m.size(20), m.size(70), m.int(3, 4)
    row = w * c + (m.int(0, 9) if m.flag(0.3) else 0)
    t.shape("src", n, c, h, w)
    t.shape("dst", n, c, h, w)
    t.strides("src", row * h, 1, row)
    t.address("src", m.int(0, 99))
    t.place("dst", n, c, h, w, 1, 0, align=True)
    t.f |= {"spec_func": 1, "transpose_md": c - 2}
    return t.f


def spread(m: Maker, cols: int) -> tuple[int, int]:
    w = m.int(max(1, cols // (2 * m.chip.lanes)), cols)
    return ceil_div(cols, w), w


def matrix(m: Maker, low: int, direction: int) -> Fields:
    t = Transfer(m, direction, low)
    a, b = formats(m, t, COPY_FORMATS[direction])
    rows, cols = m.size(20), m.size(200)
    c, w = spread(m, cols)
    e = b if direction == 0 else a
    stride = cols * (a + b - e) + (m.int(0, 20) if m.flag(0.3) else 0)
    local, glob = ("dst", "src") if direction == 0 else ("src", "dst")
    t.place(local, rows, c, 1, w, e, 0, align=True)
    t.strides(glob, 0, stride, 0)
    t.address(glob, m.int(0, 99))
    t.f |= {"sys_dtype": 1, "src_n": rows, f"{local}_c": c, f"{local}_h": 1, f"{local}_w": w,
            f"{glob}_c": rows, f"{glob}_w": cols, f"{glob}_h": 1}  # fmt: skip
    return t.f


def matrix_transposed(m: Maker, low: int) -> Fields:
    t = Transfer(m, 0, low)
    rows, cols = m.size(100), m.size(20)
    c, w = spread(m, rows)
    t.place("dst", cols, c, 1, w, 1, 0, align=True)
    t.f["dst_h_stride"] = w
    t.strides("src", 0, cols + (m.int(0, 20) if m.flag(0.3) else 0), 0)
    t.address("src", m.int(0, 99))
    t.f |= {"sys_dtype": 1, "spec_func": 1, "src_n": rows, "src_c": rows, "src_w": cols,
            "src_h": 1, "dst_c": c, "dst_h": 1, "dst_w": w}  # fmt: skip
    return t.f


def compress(m: Maker, low: int) -> tuple[Fields, Fields]:
    """A compressing store and the load of what it wrote."""
    t = Transfer(m, 1, low)
    e = m.int(1, 2)
    n, c, h, w = dims(m, 2)
    t.f |= {"src_fmt": e, "dst_fmt": e, "compress_en": 1, "cmprs_fmt": m.flag() if e == 1 else 0,
            "compress_bias0": 127 if e == 2 else 0}  # fmt: skip
    t.f["compress_zero_guard"] = int(e == 2 and m.flag(0.8))
    t.shape("src", n, c, h, w)
    t.shape("dst", n, c, h, w)
    t.place("src", n, c, h, w, e, 0)
    t.strides("dst", c * h * w * e, h * w * e, w * e)
    t.address("dst", 16 * m.int(0, 9))
    u = Transfer(m, 0, low)
    u.f |= {"src_fmt": e, "dst_fmt": e, "compress_en": 1, "cmprs_fmt": t.f["cmprs_fmt"]}
    u.shape("src", n, c, h, w)
    u.shape("dst", n, c, h, w)
    u.strides("src", c * h * w * e, h * w * e, w * e)
    u.f |= {"src_base_addr_low": t.f["dst_base_addr_low"],
            "src_base_addr_high": t.f["dst_base_addr_high"]}  # fmt: skip
    u.place("dst", n, c, h, w, e, 16384)
    return t.f, u.f
