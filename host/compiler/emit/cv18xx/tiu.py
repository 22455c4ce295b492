"""TIU instructions as functions: one per form of hw/cv18xx-tiu.md section 5, fields exactly as its
recipes."""

from __future__ import annotations

from ...errors import InternalError
from ...schedule.layers import POINT, Window
from .commands import CommandList
from .fields import (
    BF16_FIELDS,
    UNSIGNED,
    Fields,
    common_fields,
    dilation_fields,
    is_aligned,
    shape_fields,
    stride_fields,
    window_fields,
)
from .operand import Operand
from .ranges import Range

MODES = {"only": 0, "first": 2, "middle": 3, "last": 1}  # ps32_md of partial sums (section 6)


class Tiu:
    """Emits TIU commands into a command list."""

    def __init__(self, commands: CommandList):
        self.commands, self.chip = commands, commands.chip

    # ---- windows
    def conv(
        self,
        x: Operand,
        out: Operand,
        g: Window,
        *,
        channels: int,
        weights: int,
        params: int,
        with_bias: bool,
        relu: bool,
        partial: str,
        out_end: int,
        blob: Range,
    ) -> None:
        """Quantised convolution (sections 5.9, 6). channels: input channels incl. zero-weight
        padding."""
        n, _, h, w = x.shape
        oc = out.shape[1]
        f = (
            common_fields()
            | shape_fields("res0", out.shape)
            | shape_fields("opd0", (n, channels, h, w))
        )
        f |= {"opd1_n": channels, "opd1_c": oc, "opd1_h": g.kernel[0], "opd1_w": g.kernel[1]}
        f |= shape_fields("opd2", (1, oc, 1, 1))
        f |= window_fields(self.chip, g)
        f |= dilation_fields(g)
        if x.lane or out.lane or not is_aligned(x, self.chip):
            raise InternalError(
                "a convolution needs a packed input and a result that begins at lane 0"
            )
        mode = MODES[partial]
        final = mode < 2
        f |= {
            "tsk_typ": 0,
            "tsk_eu_typ": 0,
            "tsk_opd_num": 3 if final and with_bias else 2,
            "opt_chl_quan": int(final),
            "opt_relu_typ": int(relu and final),
            "ps32_md": mode,
            "double_conv": int(channels % 2 == 0 and channels >= 4),
            "res0_addr": out.address(self.chip),
            "opd0_addr": x.address(self.chip),
            "opd1_addr": weights,
            "opd2_addr": params if final else 0,
            "opd2_b_str": 0,
            "short_opd0_str": 0,
            "short_opd1_str": 1,
            "short_opd2_str": 2,
        }
        if mode:
            f |= {"short_res0_str": 0, "res0_b_str": out.shape[0] * out.strides[0]}
        elif is_aligned(out, self.chip):
            f["short_res0_str"] = 0
        else:
            f |= stride_fields("res0", out)
        writes = (out.offset, out_end) if mode else out.range
        self.commands.tiu(f, [x.range, blob], [writes])

    def depthwise(
        self,
        x: Operand,
        out: Operand,
        g: Window,
        *,
        weights: int | None,
        constant: int,
        params: int,
        with_bias: bool,
        relu: bool,
        blob: Range,
    ) -> None:
        """Quantised depthwise convolution; weights None: every weight is `constant` (section
        5.8)."""
        c = out.shape[1]
        f = common_fields() | shape_fields("res0", out.shape) | shape_fields("opd0", x.shape)
        f |= shape_fields("opd1", (1, c, *g.kernel)) | shape_fields("opd2", (1, c, 1, 1))
        f |= window_fields(self.chip, g) | stride_fields("res0", out) | stride_fields("opd0", x)
        f |= dilation_fields(g)
        if is_aligned(x, self.chip) and is_aligned(out, self.chip):
            f |= {"short_res0_str": 0, "short_opd0_str": 0}
        f |= {
            "tsk_typ": 1,
            "tsk_eu_typ": 2,
            "tsk_opd_num": 3 if with_bias else 2,
            "opt_chl_quan": 1,
            "opt_relu_typ": int(relu),
            "res0_addr": out.address(self.chip),
            "opd0_addr": x.address(self.chip),
            "opt_opd1_const": int(weights is None),
            "opd1_addr": constant if weights is None else weights,
            "opd2_addr": params,
            "opd2_b_str": 0,
            "short_opd1_str": 0,
            "short_opd2_str": 2,
        }
        self.commands.tiu(f, [x.range, blob], [out.range])

    def sum_channels_bf16(self, x: Operand, out: Operand, factor: int) -> None:
        """Every channel of out := sum over the channels of x * factor (a bf16 pattern), in order: a
        1x1 bf16 convolution with constant weights (sections 4, 5.9)."""
        if x.lane or out.lane or not is_aligned(x, self.chip):
            raise InternalError(
                "a convolution needs a packed input and a result that begins at lane 0"
            )
        f = (
            common_fields()
            | BF16_FIELDS
            | shape_fields("res0", out.shape)
            | shape_fields("opd0", x.shape)
        )
        f |= {
            "opd1_n": x.shape[1],
            "opd1_c": out.shape[1],
            "opd1_h": 1,
            "opd1_w": 1,
            "opt_opd1_const": 1,
            "opd1_addr": factor,
        }
        f |= shape_fields("opd2", (1, out.shape[1], 1, 1)) | window_fields(self.chip, POINT)
        f |= {
            "tsk_typ": 0,
            "tsk_eu_typ": 0,
            "tsk_opd_num": 2,
            "res0_addr": out.offset,
            "opd0_addr": x.offset,
            "opd2_addr": 0,
            "opd2_b_str": 0,
            "short_res0_str": 0,
            "short_opd0_str": 0,
            "short_opd1_str": 1,
            "short_opd2_str": 2,
        }
        self.commands.tiu(f, [x.range], [out.range])

    def max_pool(self, x: Operand, out: Operand, g: Window, *, fill: int) -> None:
        """Maximum pooling; the fill value takes part in every window (section 5.7)."""
        self._pool(x, out, g, fill, {"tsk_eu_typ": 0, "tsk_opd_num": 1})

    def average_pool(
        self,
        x: Operand,
        out: Operand,
        g: Window,
        *,
        factor: int,
        shift: int,
    ) -> None:
        """sat8(R(factor * sum over the window, shift)), fill 0, factor 0..255 (section 5.7)."""
        more = {"tsk_eu_typ": 1, "tsk_opd_num": 2, "opt_res_shift": shift}
        more |= {"opt_opd1_const": 1, "opt_opd1_sign": 0, "opd1_addr": factor}
        self._pool(x, out, g, 0, more)

    def _pool(self, x: Operand, out: Operand, g: Window, fill: int, more: Fields) -> None:
        f = common_fields() | shape_fields("res0", out.shape) | shape_fields("opd0", x.shape)
        f |= {"opd1_h": g.kernel[0], "opd1_w": g.kernel[1]} | window_fields(self.chip, g, fill)
        f |= stride_fields("res0", out) | stride_fields("opd0", x)
        f |= {
            "tsk_typ": 1,
            "res0_addr": out.address(self.chip),
            "opd0_addr": x.address(self.chip),
        }
        self.commands.tiu(f | more, [x.range], [out.range])

    # ---- matrices
    def matrix(
        self,
        left: Operand,
        right: Operand,
        out: Operand,
        *,
        bias: int | None,
        multiplier: int,
        shift: int,
        relu: bool,
        partial: str,
        last: int,
        out_end: int,
        blob: Range,
    ) -> None:
        """sat8(relu(Q(left * right + bias, multiplier, shift))) (sections 5.11, 6). bias: address
        of four rows of bytes;
        last: valid columns in the last channel of left."""
        mode = MODES[partial]
        final = mode < 2
        f = common_fields() | self._matrix(left, right, out, last, mode)
        f |= {
            "tsk_opd_num": 3 if final and bias is not None else 2,
            "opt_chl_quan": int(final),
            "quan_m": multiplier if final else 0,
            "opt_res_shift": shift if final else 0,
            "opt_relu_typ": int(relu and final),
            "opd2_addr": bias or 0 if final else 0,
        }
        self.commands.tiu(f, [left.span, blob], [(out.offset, out_end)])

    def matrix_bf16(self, left: Operand, right: Operand, out: Operand, fp32: bool = False) -> None:
        """left * right in bf16 (sections 4, 5.11, 6). left: (rows, 1, 1, K); out: (rows, c, 1, w).

        fp32: the sums as they are, two planes of 16 bits, high halves first, rows * n stride
        apart."""
        mode = MODES["first" if fp32 else "only"]
        f = common_fields() | BF16_FIELDS | self._matrix(left, right, out, left.shape[3], mode)
        self.commands.tiu(f, [left.span, right.span], [out.span])

    def _matrix(self, left: Operand, right: Operand, out: Operand, last: int, mode: int) -> Fields:
        """The fields of every matrix product; without bias."""
        f = shape_fields("res0", out.shape) | shape_fields("opd0", left.shape)
        f |= {"opd1_n": right.shape[0], "opd1_c": right.shape[1], "opd1_h": 1, "opd1_w": last}
        f |= shape_fields("opd2", (1, *out.shape[1:]))
        f |= {f"short_{x}_str": 0 for x in ("res0", "opd0", "opd1", "opd2")}
        return f | {
            "tsk_typ": 2,
            "tsk_eu_typ": 0,
            "tsk_opd_num": 2,
            "opt_opd2_seg": 0,
            "ps32_md": mode,
            "res0_b_str": out.shape[0] * out.strides[0] if mode else 0,
            "res0_addr": out.offset,
            "opd0_addr": left.offset,
            "opd1_addr": right.offset,
            "opd2_addr": 0,
        }

    # ---- arithmetic
    def _arith(
        self,
        eu: int,
        out: Operand,
        a: Operand,
        b: Operand | int | None,
        more: Fields,
        writes: list[Range] | None = None,
        reads: list[Range] | None = None,
    ) -> None:
        f = common_fields()
        for name in ("res0", "opd0", "opd1", "opd2"):
            f |= shape_fields(name, out.shape)
        f |= stride_fields("res0", out) | stride_fields("opd0", a)
        f |= {
            "tsk_typ": 3,
            "tsk_eu_typ": eu,
            "tsk_opd_num": 2,
            "res0_addr": out.address(self.chip),
            "opd0_addr": a.address(self.chip),
            "short_opd1_str": 3,
            "short_opd2_str": 3,
        }
        spans: list[Range] = [a.range, *(reads or [])]
        if isinstance(b, Operand):
            if b.lane:
                raise InternalError("operand 1 must begin at lane 0")
            f |= stride_fields("opd1", b) | {"opd1_addr": b.offset}
            spans.append(b.range)
        elif b is not None:
            bits = b if b > 127 else b & 0xFF
            f |= {"opt_opd1_const": 1, "opd1_addr": bits, "opt_opd1_sign": int(b < 128)}
        self.commands.tiu(f | more, spans, writes or [out.range])

    def multiply_to_16(self, out: Operand, a: Operand, constant: int, high: int) -> None:
        """16-bit a * constant: low bytes at out, high bytes `high` bytes behind (sections 5.1,
        5.3)."""
        self._arith(
            0,
            out,
            a,
            constant,
            {"opt_res0_seg": 0, "res0_b_str": high},
            [out.span, _moved(out.span, high)],
        )

    def multiply_add(
        self, out: Operand, a: Operand, constant: int, high: int, shift: int, relu: bool
    ) -> None:
        """sat8(relu(R(a * constant + 16-bit value at out, shift))) into the low plane (sections
        5.1, 5.3)."""
        self._arith(
            1,
            out,
            a,
            constant,
            {
                "opt_res_add": 1,
                "res0_b_str": high,
                "opt_res_shift": shift,
                "opt_relu_typ": int(relu),
            },
            [out.span],
            [out.span, _moved(out.span, high)],
        )

    def multiply_quantised(
        self, out: Operand, a: Operand, b: Operand | int, multiplier: int, shift: int, relu: bool
    ) -> None:
        """sat8(relu(Q(a * b, multiplier, shift))) (section 5.1)."""
        more = {
            "opt_chl_quan": 1,
            "quan_m": multiplier & 0xFFFFFFFF,
            "opt_res_shift": shift,
            "opt_relu_typ": int(relu),
        }
        self._arith(0, out, a, b, more)

    def maximum(self, out: Operand, a: Operand, b: Operand | int) -> None:
        self._arith(4, out, a, b, {})

    def minimum(self, out: Operand, a: Operand, b: Operand | int) -> None:
        self._arith(5, out, a, b, {})

    def bit_and(self, out: Operand, a: Operand, b: Operand | int) -> None:
        self._arith(7, out, a, b, UNSIGNED)

    def bit_or(self, out: Operand, a: Operand, b: Operand | int) -> None:
        self._arith(8, out, a, b, UNSIGNED)

    def copy(self, out: Operand, a: Operand) -> None:
        """Bytes from one place to another, any strides and start lanes (section 5.2)."""
        self._arith(10, out, a, None, {"tsk_opd_num": 1, **UNSIGNED})

    def copy_bf16(self, out: Operand, a: Operand) -> None:
        """2-byte elements; denormals become 0, infinity and NaN 0x7F7F (sections 4, 5.2)."""
        self._arith(10, out, a, None, {"tsk_opd_num": 1, **BF16_FIELDS})

    def multiply_bf16(self, out: Operand, a: Operand, b: Operand | int) -> None:
        """bf16 a * b, or * the bf16 constant with pattern b (sections 4, 5.1)."""
        more = BF16_FIELDS if isinstance(b, Operand) else BF16_FIELDS | {"opd1_addr": b}
        self._arith(0, out, a, b if isinstance(b, Operand) else 0, more)

    def look_up_bf16(self, out: Operand, a: Operand, table: int) -> None:
        """out = table[low byte of a], 2-byte elements; both tensors aligned (section 5.4)."""
        if out.lane or a.lane or not (is_aligned(out, self.chip) and is_aligned(a, self.chip)):
            raise InternalError("a look-up needs aligned tensors that begin at lane 0")
        f = common_fields() | {"tsk_eu_typ": 12, "opd_typ": 1, "opt_shift_typ": 0}
        f |= shape_fields("res0", out.shape) | shape_fields("opd0", a.shape)
        f |= shape_fields("opd1", (1, self.chip.lanes, 32, 8))
        f |= {f"short_{x}_str": 0 for x in ("res0", "opd0", "opd1")}
        f |= {
            "tsk_typ": 3,
            "tsk_opd_num": 2,
            "res0_addr": out.address(self.chip),
            "opd0_addr": a.address(self.chip),
            "opd1_addr": table,
        }
        if self.chip.generation == "A":
            f["tens_lookup"] = 1
        self.commands.tiu(f, [a.span, (table, table + 512)], [out.span])


def _moved(span: Range, by: int) -> Range:
    return span[0] + by, span[1] + by
