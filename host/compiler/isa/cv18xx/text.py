"""One readable line per instruction (the disassembler).

    tiu      7 <- tdma 9     conv         0:0x4000 s8 [1,64,28,28] = 0:0x0000 s8 [1,32,56,56], ...
    tdma     3 <- tiu 2      load         0:0x6000 i8 [1,64,9,32] = base1+0x1234560 i8 [1,64,9,32]

`7 <- tdma 9`: own id 7, starts when the TDMA has finished id 9. Local addresses are lane:offset,
DDR addresses base+offset (without the chip's DDR start). Strides (bytes, n c h w) appear where the
word's stride fields count; on DDR sides only when not packed. Neutral settings are left out.
"""

from __future__ import annotations

from ...chip import Chip
from .stream import Command
from .stream_cost import (
    CONV,
    EU_NAMES,
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
WINDOW_NAMES = ("maxpool", "avgpool", "depthwise", "minpool")
WAYS = ("load", "store", "ddrcopy", "copy")
FREE_STRIDES = 3  # stride code: the word's stride fields count
PS32_NAMES = ("", "ps32 last", "ps32 first", "ps32 middle")
LAYOUT_WORDS = {0: "", 1: " unaligned", 2: " per-channel", 3: ""}


def describe(chip: Chip, command: Command) -> str:
    """The line of one command."""
    other = "tdma" if command.engine == "tiu" else "tiu"
    wait = f"<- {other} {command.wait}" if command.wait else ""
    body = _tiu(chip, command.fields) if command.engine == "tiu" else _tdma(chip, command.fields)
    return f"{command.engine:4} {command.id:5} {wait:14} {body}".rstrip()


def tiu_name(f: Fields) -> str:
    """Name of a TIU operation: conv, depthwise, matrix, add, lookup, ..."""
    kind, eu = f["tsk_typ"], f["tsk_eu_typ"]
    if kind == CONV:
        return "conv"
    if kind == MATRIX:
        return "matrix"
    if kind == WINDOW:
        return WINDOW_NAMES[eu] if eu < len(WINDOW_NAMES) else f"window{eu}"
    if f.get("tens_mdsum"):
        return "mdsum"
    if f.get("tens_lookup") or eu == LOOKUP:
        return "lookup"
    return EU_NAMES[eu] if eu < len(EU_NAMES) else f"type{kind}.{eu}"


def tdma_name(f: Fields) -> str:
    """Name of a TDMA operation: load, store, ddrcopy, copy with what it does on the way."""
    name = WAYS[f["trans_dir"]]
    if f["trans_fmt"]:
        name += ".bytes"
    if f["spec_func"] == FILL:
        return name + ".fill"
    if f["sys_dtype"]:
        name += ".matrix"
    if f["spec_func"] == TRANSPOSE:
        name += (".nc", ".hwc3", ".hwc4", ".cw")[f["transpose_md"]]
    return name + (".lz" if f["compress_en"] else "")


def _tiu(chip: Chip, f: Fields) -> str:
    """Operation, result = operands; settings."""
    name = tiu_name(f)
    operands = [_operand(chip, f, "opd0")]
    if f["opt_opd1_const"]:
        operands.append(f"const {f['opd1_addr']:#x}{_type(f, 'opd1')}")
    elif name == "lookup":
        operands.append(f"table {f['opd1_addr']:#06x}")
    elif name in ("maxpool", "minpool", "copy", "mdsum"):
        pass
    else:
        operands.append(_operand(chip, f, "opd1"))
    if name in ("conv", "depthwise", "matrix"):
        operands += _parameters(f)
    result = _operand(chip, f, "res0")
    return f"{name:13} {result} = {', '.join(operands)}{_settings(f, name)}"


def _type(f: Fields, side: str) -> str:
    """ " s8", " u16", " bf16" of an operand."""
    if f["opd_typ"]:
        return " bf16"
    wide = f[f"opt_{side}_seg"] == 0
    return f" {'s' if f[f'opt_{side}_sign'] else 'u'}{16 if wide else 8}"


def _operand(chip: Chip, f: Fields, side: str) -> str:
    """Address, type, shape and, where they count, strides of an operand."""
    address = f[f"{side}_addr"]
    lane, offset = divmod(address, chip.lane_bytes)
    shape = [f[f"{side}_{d}"] for d in "nchw"]
    text = f"{lane}:{offset:#06x}{_type(f, side)} [{','.join(map(str, shape))}]"
    code = f[f"short_{side}_str"]
    if code == FREE_STRIDES:
        strides = [f[f"{side}_{d}_str"] for d in "nchw"]
        text += f" str({','.join(map(str, strides))})"
    wide = f[f"opt_{side}_seg"] == 0 or (side == "res0" and f["ps32_md"])
    if wide and not (side == "opd1" and f["opt_opd1_const"]):
        text += f" planes +{f[f'{side}_b_str']}"
    return text + LAYOUT_WORDS[code]


def _parameters(f: Fields) -> list[str]:
    """The third operand: parameter block, bias or nothing."""
    bias = f["tsk_opd_num"] == 3
    if f["opt_chl_quan"] and f["tsk_typ"] != MATRIX:
        return [f"quant{'+bias' if bias else ''} {f['opd2_addr']:#06x}"]
    if not bias:
        return []
    return [f"bias {f['opd2_addr']:#06x} planes +{f['opd2_b_str']}"]


def _settings(f: Fields, name: str) -> str:
    """Window, result stage and flags, each only when not neutral."""
    out = []
    if f["tsk_typ"] in (CONV, WINDOW):
        out += _window(f, name)
    if f["opt_chl_quan"] and (f["tsk_typ"] not in (CONV, WINDOW)):
        out.append(f"quant m {f['quan_m']:#x} >> {f['opt_res_shift']}")
    elif f["opt_res_shift"] and not f["opt_chl_quan"]:
        kind = ("u" if not f["opt_shift_typ"] else "") + (
            ">>" if f["opt_rshift_typ"] else ">>floor"
        )
        out.append(f"{kind} {f['opt_res_shift']}")
    if f["opt_res_add"]:
        out.append(f"add old << {f['opt_left_shift']}")
    if f["opt_relu_typ"]:
        out.append("relu")
    if f["ps32_md"]:
        out.append(PS32_NAMES[f["ps32_md"]])
    if f["double_conv"]:
        out.append("double")
    return "  ; " + ", ".join(out) if out else ""


def _window(f: Fields, name: str) -> list[str]:
    """Kernel, stride, pads, insertions, dilation and fill value."""
    out = []
    if name in ("maxpool", "minpool", "avgpool"):
        out.append(f"kernel {f['opd1_h']}x{f['opd1_w']}")
    y, x = f["conv_op_y_str"], f["conv_op_x_str"]
    if (y, x) != (1, 1):
        out.append(f"stride {y}x{x}")
    pads = [f[f"conv_opd0_{s}_pad"] for s in ("up", "dn", "lf", "rt")]
    if any(pads):
        out.append("pad t{} b{} l{} r{}".format(*pads))
    ins = [f[f"conv_opd0_{d}_ins0{t}"] for t in ("", "_last") for d in "yx"]
    if any(ins):
        out.append("insert {}x{} last {}x{}".format(*ins))
    dilation = [f[f"conv_opd1_{d}_ins0"] for d in "yx"]
    if any(dilation):
        out.append("dilation {}x{}".format(*(d + 1 for d in dilation)))
    fill = f["opd0_ins_val"] or f.get("opd0_ins_fp", 0)
    if fill and (any(pads) or any(ins) or name in ("maxpool", "minpool")):
        out.append(f"fill {fill:#x}")
    return out


def _tdma(chip: Chip, f: Fields) -> str:
    """Operation, destination = source; settings."""
    way = f["trans_dir"]
    target = _place(chip, f, "dst", local=way in (LOAD, LOCAL_COPY))
    settings = []
    if f["spec_func"] == FILL:
        source = f"const {f['const_val']:#x}"
    else:
        source = _place(chip, f, "src", local=way in (STORE, LOCAL_COPY))
        if f["src_fmt"] != f["dst_fmt"]:
            settings.append("signed" if f["int8_sign"] else "unsigned")
            settings += ["truncate"] if f["int8_rnd_mode"] else []
    settings += [n for n in ("mv_lut_idx", "mv_lut_base") if f[n]]
    tail = "  ; " + ", ".join(settings) if settings else ""
    return f"{tdma_name(f):13} {target} = {source}{tail}"


def _place(chip: Chip, f: Fields, side: str, *, local: bool) -> str:
    """Address, type, shape and strides of one side of a transfer."""
    low, high = f[f"{side}_base_addr_low"], f[f"{side}_base_addr_high"]
    if local:
        lane, offset = divmod(low, chip.lane_bytes)
        where = f"{lane}:{offset:#06x}"
    else:
        address = (low | high << 32) - chip.ddr_start
        where = f"base{f[f'{side}_base_reg_sel']}+{address:#x}"
    if f["trans_fmt"]:
        return f"{where} {f['src_n_stride']} bytes"
    kind = {1: "i8", 2: "bf16"}.get(f[f"{side}_fmt"], f"fmt{f[f'{side}_fmt']}")
    e = 2 if f[f"{side}_fmt"] == 2 else 1
    c, h, w = (f[f"{side}_{d}"] for d in "chw")
    n = f["src_n"]
    if (
        side == "dst"
        and f["spec_func"] == TRANSPOSE
        and not f["transpose_md"]
        and not f["sys_dtype"]
    ):
        n = f["src_c"]
    c_stride = f[f"{side}_c_stride_low"] | f[f"{side}_c_stride_high"] << 16
    if f["sys_dtype"] and not local:
        return f"{where} {kind} [{n},{w}] str({c_stride})"
    strides = (f[f"{side}_n_stride"], c_stride, f[f"{side}_h_stride"])
    text = f"{where} {kind} [{n},{c},{h},{w}]"
    packed = (c * h * w * e, h * w * e, w * e)
    if local or any(d > 1 and s != p for d, s, p in zip((n, c, h), strides, packed, strict=True)):
        text += f" str({','.join(map(str, strides))})"
    return text
