"""Which bytes of local memory an instruction reads and writes (layouts: hw/cv18xx.md section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...chip import Chip
from .stream import Command
from .stream_cost import (
    ARITH,
    CONV,
    DDR_COPY,
    DEPTHWISE,
    FILL,
    LOAD,
    LOCAL_COPY,
    LOOKUP,
    MATRIX,
    STORE,
    TRANSPOSE,
    WINDOW,
)

Fields = dict[str, int]
ALIGNED, UNALIGNED, PER_CHANNEL, FREE = range(4)
QUANT_BYTES = {True: 9, False: 5}  # parameter block with and without bias
COPY = 10


@dataclass(frozen=True)
class Region:
    """Bytes of a tensor in local memory, one or several planes of it.

    address = lane * 32768 + offset; shape (n, c, h, w), strides in bytes; element (n, c, h, w) of
    plane p lies in lane (lane0 + c) mod L at offset + p * plane_stride + n * ns
    + ((lane0 + c) div L) * cs + h * hs + w * ws. A flat region (byte copy) runs on from lane to
    lane.
    """

    what: str
    write: bool
    address: int
    shape: tuple[int, int, int, int]
    strides: tuple[int, int, int, int]
    elem: int = 1
    planes: int = 1
    plane_stride: int = 0
    flat: bool = False

    def bounds(self, chip: Chip) -> tuple[int, int, int]:
        """(bit mask of the lanes, first byte, end byte) inside the lanes; may cover gaps."""
        lane, offset = divmod(self.address, chip.lane_bytes)
        n, c, h, w = self.shape
        if self.flat:
            last = (self.address + w - 1) // chip.lane_bytes
            mask = ((1 << (last - lane + 1)) - 1) << lane
            return (mask, offset, offset + w) if last == lane else (mask, 0, chip.lane_bytes)
        if c >= chip.lanes:
            mask = (1 << chip.lanes) - 1
        else:
            run = ((1 << c) - 1) << lane
            mask = (run | run >> chip.lanes) & ((1 << chip.lanes) - 1)
        ns, cs, hs, ws = self.strides
        groups = -(-(lane + c) // chip.lanes)
        size = (n - 1) * ns + (groups - 1) * cs + (h - 1) * hs + (w - 1) * ws + self.elem
        return mask, offset, offset + size + (self.planes - 1) * self.plane_stride

    def bytes(self, chip: Chip) -> np.ndarray:
        """Every byte as lane * 32768 + offset (with repetitions)."""
        if self.flat:
            return np.arange(self.address, self.address + self.shape[3])
        lane, offset = divmod(self.address, chip.lane_bytes)
        n, c, h, w = self.shape
        ns, cs, hs, ws = self.strides
        channel = lane + np.arange(c)
        at = (channel % chip.lanes) * chip.lane_bytes + channel // chip.lanes * cs + offset
        for count, stride in (
            (n, ns), (h, hs), (w, ws), (self.planes, self.plane_stride), (self.elem, 1),
        ):  # fmt: skip
            at = (at[:, None] + np.arange(count) * stride).ravel()
        return at


def accesses(chip: Chip, command: Command) -> list[Region]:
    """The local-memory regions of a command."""
    if command.engine == "tdma":
        return _tdma(command.fields)
    return _tiu(chip, command.fields)


def _layout(
    chip: Chip, shape: tuple[int, int, int, int], code: int, elem: int, lane: int = 0
) -> tuple[int, int, int, int]:
    """Byte strides of stride codes 0..2 (hw/cv18xx-tiu.md section 2.1)."""
    _, c, h, w = shape
    groups = -(-(lane + c) // chip.lanes)
    if code == PER_CHANNEL:
        return groups * elem, elem, elem, elem
    plane = h * w * elem
    if code == ALIGNED:
        plane = -(-plane // 16) * 16
    return plane * groups, plane, w * elem, elem


def _tensor(chip: Chip, f: Fields, side: str, *, write: bool = False, planes: int = 0) -> Region:
    """The region of an operand as its own fields describe it; planes: how many (0: from seg)."""
    elem = 2 if f["opd_typ"] else 1
    n, c, h, w = (f[f"{side}_{d}"] for d in "nchw")
    address, code = f[f"{side}_addr"], f[f"short_{side}_str"]
    if code == FREE:
        ns, cs, hs, ws = (f[f"{side}_{d}_str"] for d in "nchw")
        strides = ns, cs, hs, ws
    else:
        strides = _layout(chip, (n, c, h, w), code, elem, address // chip.lane_bytes)
    if not planes:
        planes = 2 if f[f"opt_{side}_seg"] == 0 and not f["opd_typ"] else 1
    distance = f[f"{side}_b_str"] if planes > 1 else 0
    return Region(side, write, address, (n, c, h, w), strides, elem, planes, distance)


def _tiu(chip: Chip, f: Fields) -> list[Region]:
    """Operands of a TIU word: result, inputs, weights, parameters."""
    if f["tsk_typ"] == MATRIX:
        return _matrix(chip, f)
    out = _results(chip, f)
    out.append(_tensor(chip, f, "opd0"))
    kind, eu = f["tsk_typ"], f["tsk_eu_typ"]
    if kind == ARITH:
        alone = eu == COPY or f.get("tens_mdsum", 0)
        if not alone and not f["opt_opd1_const"]:
            out.append(_table(chip, f) if eu == LOOKUP or f.get("tens_lookup") else
                       _tensor(chip, f, "opd1"))  # fmt: skip
        return out
    if kind == WINDOW and eu != DEPTHWISE:
        return out
    if not f["opt_opd1_const"]:
        out.append(_weights(chip, f))
    return out + _parameters(f)


def _results(chip: Chip, f: Fields) -> list[Region]:
    """The result as written and, when old values are added, as read."""
    out = []
    partial = 2 if f["opd_typ"] else 4
    if f["ps32_md"] & 2:
        out.append(_tensor(chip, f, "res0", write=True, planes=partial))
    else:
        out.append(_tensor(chip, f, "res0", write=True))
    if f["ps32_md"] & 1:
        out.append(_tensor(chip, f, "res0", planes=partial))
    if f["opt_res_add"] and not f["opd_typ"]:
        out.append(_tensor(chip, f, "res0", planes=2))
    elif f["opt_res_add"]:
        out.append(_tensor(chip, f, "res0"))
    return out


def _table(chip: Chip, f: Fields) -> Region:
    """A look-up table: one copy in every lane."""
    elem = 2 if f["opd_typ"] else 1
    shape = (1, chip.lanes, f["opd1_h"], f["opd1_w"])
    return Region("opd1", False, f["opd1_addr"], shape, _layout(chip, shape, ALIGNED, elem), elem)


def _weights(chip: Chip, f: Fields) -> Region:
    """Convolution: (1, oc, kh * kw, ic) unaligned; depthwise: (1, c, kh, kw) aligned."""
    elem = 2 if f["opd_typ"] else 1
    kh, kw = f["opd1_h"], f["opd1_w"]
    if f["tsk_typ"] == CONV:
        shape, code = (1, f["opd1_c"], kh * kw, f["opd1_n"]), UNALIGNED
    else:
        shape, code = (1, f["opd1_c"], kh, kw), ALIGNED
    return Region("opd1", False, f["opd1_addr"], shape, _layout(chip, shape, code, elem), elem)


def _parameters(f: Fields) -> list[Region]:
    """Per-channel parameter block or bias planes of convolution and depthwise."""
    c, address, bias = f["res0_c"], f["opd2_addr"], f["tsk_opd_num"] == 3
    if f["opt_chl_quan"]:
        size = QUANT_BYTES[bias]
        return [Region("opd2", False, address, (1, c, 1, size), (0, size, 0, 1))]
    if not bias:
        return []
    e = 2 if f["opd_typ"] else 1
    return [Region("opd2", False, address, (1, c, 1, 1), (0, e, 0, 0), e, 2, f["opd2_b_str"])]


def _matrix(chip: Chip, f: Fields) -> list[Region]:
    """Result, left and right matrix, bias rows (hw/cv18xx-tiu.md section 5.11)."""
    elem = 2 if f["opd_typ"] else 1
    out = _results(chip, f)
    if not f["opd_typ"] and not f["ps32_md"] and (f["opt_res0_seg"] == 0 or f["opt_res_add"]):
        rows = out[0].shape[0] * out[0].strides[0]  # high bytes in the rows behind
        out = [Region(r.what, r.write, r.address, r.shape, r.strides, 1, r.planes,
                      rows if r.planes > 1 else 0) for r in out]  # fmt: skip
    out.append(_tensor(chip, f, "opd0", planes=1))
    spread = (f["opd1_n"], f["opd1_c"], 1, f["res0_w"])
    if not f["opt_opd1_const"]:
        strides = _layout(chip, spread, ALIGNED, elem)
        out.append(Region("opd1", False, f["opd1_addr"], spread, strides, elem))
    if f["tsk_opd_num"] == 3:
        rows = 4 if f["opt_chl_quan"] else 2
        shape = (rows, f["opd2_c"], 1, f["opd2_w"])
        strides = _layout(chip, shape, ALIGNED, elem)
        out.append(Region("opd2", False, f["opd2_addr"], shape, strides, elem))
    return out


def _tdma(f: Fields) -> list[Region]:
    """The sides of a transfer that lie in local memory."""
    way, out = f["trans_dir"], []
    if way == DDR_COPY:
        return []
    if way in (LOAD, LOCAL_COPY):
        out.append(_side(f, "dst", write=True))
    if way in (STORE, LOCAL_COPY) and f["spec_func"] != FILL:
        out.append(_side(f, "src", write=False))
    return out


def _side(f: Fields, side: str, *, write: bool) -> Region:
    """One side of a transfer as a region."""
    address = f[f"{side}_base_addr_low"]
    if f["trans_fmt"]:
        return Region(side, write, address, (1, 1, 1, f["src_n_stride"]), (0, 0, 0, 1), flat=True)
    elem = 2 if f[f"{side}_fmt"] == 2 else 1
    n, (c, h, w) = f["src_n"], (f[f"{side}_{d}"] for d in "chw")
    if side == "dst" and f["spec_func"] == TRANSPOSE:
        if f["sys_dtype"]:
            n = f["src_w"]  # transposed matrix: cols x rows
        elif not f["transpose_md"]:
            n = f["src_c"]
    c_stride = f[f"{side}_c_stride_low"] | f[f"{side}_c_stride_high"] << 16
    strides = (f[f"{side}_n_stride"], c_stride, f[f"{side}_h_stride"], elem)
    return Region(side, write, address, (n, c, h, w), strides, elem)
