"""TDMA transfers as functions (hw/cv18xx-tdma.md section 4)."""

from __future__ import annotations

from ...errors import InternalError
from .commands import CommandList
from .operand import Operand

LOAD, STORE, IN_DDR, IN_LOCAL = 0, 1, 2, 3
MAX_ROW_STRIDE = 0xFFFF
Shape = tuple[int, int, int, int]


class Global:
    """A tensor in DDR: base register, byte offset, byte strides of n, c, h."""

    def __init__(self, base: int, offset: int, strides: tuple[int, int, int]):
        self.base, self.offset, self.strides = base, offset, strides

    def row(self, y: int) -> Global:
        """The tensor from row y on."""
        return Global(self.base, self.offset + y * self.strides[2], self.strides)


class Tdma:
    """Emits TDMA commands into a command list."""

    def __init__(self, commands: CommandList):
        self.commands, self.chip = commands, commands.chip

    def _side(self, name: str, place: Global | Operand) -> dict[str, int]:
        if isinstance(place, Global):
            return {
                f"{name}_base_addr": place.offset + self.chip.ddr_start,
                f"{name}_base_reg_sel": place.base,
                f"{name}_n_stride": place.strides[0],
                f"{name}_c_stride": place.strides[1],
                f"{name}_h_stride": place.strides[2],
            }
        return {
            f"{name}_base_addr": place.address(self.chip),
            f"{name}_n_stride": place.strides[0],
            f"{name}_c_stride": place.strides[1],
            f"{name}_h_stride": place.strides[2],
        }

    def copy(
        self,
        direction: int,
        src: Global | Operand,
        dst: Global | Operand,
        shape: Shape,
        *,
        dst_shape: Shape | None = None,
        src_fmt: int = 1,
        dst_fmt: int = 1,
        **more: int,
    ) -> None:
        """Tensor copy; shape in elements, the same element order on both sides (sections 3,
        4.1). Rows further apart than a stride of 16 bits reaches are copied one by one."""
        n, c, h, w = shape
        if h > 1 and dst_shape is None and max(src.strides[2], dst.strides[2]) > MAX_ROW_STRIDE:
            for y in range(h):
                self.copy(
                    direction, src.row(y), dst.row(y), (n, c, 1, w), dst_shape=None,
                    src_fmt=src_fmt, dst_fmt=dst_fmt, **more,
                )  # fmt: skip
            return
        _, dc, dh, dw = dst_shape or shape
        f = {
            "trans_dir": direction,
            "src_n": n,
            "src_c": c,
            "src_h": h,
            "src_w": w,
            "dst_c": dc,
            "dst_h": dh,
            "dst_w": dw,
            "src_fmt": src_fmt,
            "dst_fmt": dst_fmt,
            **more,
        }
        f |= self._side("src", src) | self._side("dst", dst)
        self._send(f, src, dst)

    def fill(self, dst: Operand, shape: Shape, value: int, fmt: int) -> None:
        """Elements of local memory := value, a byte (fmt 1) or 16 bits (fmt 2) (section 4.5)."""
        n, c, h, w = shape
        f = {
            "trans_dir": LOAD,
            "spec_func": 4,
            "src_n": n,
            "dst_c": c,
            "dst_h": h,
            "dst_w": w,
            "src_fmt": fmt,
            "dst_fmt": fmt,
            "const_val": value,
            **self._side("dst", dst),
        }
        self.commands.tdma(f, [], [dst.span])

    def load_matrix(
        self, src: Global, dst: Operand, row_stride: int, columns: int, **more: int
    ) -> None:
        """Rows of `columns` bytes, `row_stride` apart, spread over the channels of dst (section
        4.6)."""
        rows, c, _, w = dst.shape
        f = {
            "trans_dir": LOAD,
            "sys_dtype": 1,
            "src_n": rows,
            "src_c": rows,
            "src_h": 1,
            "src_w": columns,
            "dst_c": c,
            "dst_h": 1,
            "dst_w": w,
            **more,
        }
        f |= (
            self._side("src", src)
            | self._side("dst", dst)
            | {"src_c_stride": row_stride, "src_h_stride": 0}
        )
        self._send(f, src, dst)

    def store_matrix(self, src: Operand, dst: Global, row_stride: int, columns: int) -> None:
        """The reverse of `load_matrix`."""
        rows, c, _, w = src.shape
        f = {
            "trans_dir": STORE,
            "sys_dtype": 1,
            "src_n": rows,
            "src_c": c,
            "src_h": 1,
            "src_w": w,
            "dst_c": rows,
            "dst_h": 1,
            "dst_w": columns,
        }
        f |= (
            self._side("src", src)
            | self._side("dst", dst)
            | {"dst_c_stride": row_stride, "dst_h_stride": 0}
        )
        self._send(f, src, dst)

    def _send(self, f: dict[str, int], src: Global | Operand, dst: Global | Operand) -> None:
        for key in ("src_h_stride", "dst_h_stride"):
            if f["src_h"] == 1 and f["dst_h"] == 1:
                f[key] = min(f[key], MAX_ROW_STRIDE)  # one row: it is not used
            if not 0 <= f[key] <= MAX_ROW_STRIDE:
                raise InternalError(f"{key} {f[key]} exceeds 16 bits")
        reads = [src.range] if isinstance(src, Operand) else []
        writes = [dst.range] if isinstance(dst, Operand) else []
        self.commands.tdma(f, reads, writes)
