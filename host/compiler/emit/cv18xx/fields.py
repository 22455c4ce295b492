"""Fields that TIU instructions have in common (hw/cv18xx-tiu.md section 2)."""

from __future__ import annotations

from ...chip import Chip, align16
from ...schedule.layers import Window
from .operand import Operand

Fields = dict[str, int]
STRIDES = ("n", "c", "h", "w")
UNSIGNED: Fields = {"opt_res0_sign": 0, "opt_opd0_sign": 0, "opt_opd1_sign": 0, "opt_shift_typ": 0}
BF16_FIELDS: Fields = {"opd_typ": 1, **UNSIGNED, "opt_opd2_sign": 0}


def shape_fields(name: str, shape: tuple[int, int, int, int]) -> Fields:
    return {f"{name}_{d}": v for d, v in zip("nchw", shape, strict=True)}


def stride_fields(name: str, op: Operand) -> Fields:
    return {f"{name}_{d}_str": v for d, v in zip(STRIDES, op.strides, strict=True)} | {
        f"short_{name}_str": 3
    }


def is_aligned(op: Operand, chip: Chip) -> bool:
    """The strides are those of stride code 0 (packed rows, planes aligned to 16, section 2.1)."""
    n, c, h, w = op.shape
    e = op.strides[3]
    plane = align16(h * w * e)
    groups = -(-(op.lane + c) // chip.lanes)
    dense = (op.strides[2] == w * e or h == 1) and (op.strides[1] == plane or groups == 1)
    return dense and (op.strides[0] == plane * groups or n == 1)


def window_fields(chip: Chip, g: Window, fill: int = 0) -> Fields:
    """Pads, window strides, fill byte (section 5.6)."""
    value = fill & 0xFF if chip.generation == "A" else fill & 0xFFFF
    return {
        "conv_opd0_up_pad": g.pads[0],
        "conv_opd0_lf_pad": g.pads[1],
        "conv_opd0_dn_pad": g.pads[2],
        "conv_opd0_rt_pad": g.pads[3],
        "conv_op_y_str": g.strides[0],
        "conv_op_x_str": g.strides[1],
        "opd0_ins_val": value,
    }


def dilation_fields(g: Window) -> Fields:
    return {"conv_opd1_y_ins0": g.dilations[0] - 1, "conv_opd1_x_ins0": g.dilations[1] - 1}


def common_fields() -> Fields:
    """8-bit signed operands and result, arithmetic shift 0 with rounding, no relu."""
    return {
        "opt_res_shift": 0,
        "opt_left_shift": 0,
        "opt_shift_typ": 1,
        "opt_rshift_typ": 1,
        "opt_relu_typ": 0,
        "opt_res0_sign": 1,
        "opt_opd0_sign": 1,
        "opt_opd1_sign": 1,
        "opt_opd2_sign": 1,
        "opt_res0_seg": 1,
        "opt_opd0_seg": 1,
        "opt_opd1_seg": 1,
        "opt_opd2_seg": 1,
    }
