"""What the scheduler asks about a CV18xx chip: bytes, limits, cycles (hw/cv18xx.md sections 3, 4,
9)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ...chip import ALIGNMENT, Chip, align16
from ...errors import UnsupportedError
from ...isa.cv18xx import cost, cost_tdma
from ...schedule.layers import Layer, Tensor, Window
from .dequantize import dequantize_cycles, dequantize_temp
from .quantize import (
    float_parts,
    float_planes,
    is_quantised,
    plane_counts,
    quantize_cycles,
    quantize_temp,
)
from .softmax import softmax_temp
from .spread import row_bytes, spread
from .weights import LEAST_COMPRESSED, blob_bytes, compresses, padded_inputs
from .windows import fits_one_instruction, padding_limit

MAX_DIM = 4063
MAX_DILATION = 15
TDMA_MERGE_GAP = 16
PRICES: tuple[float, ...] = (0.2,)
SLOW = 16  # MACs per byte of DDR: with fewer, plans differ little in time but much in bytes
SLOW_PRICES = (0.3, 0.6)
PLAIN = "plain"  # the form of an average pooling without parameters


class Cv18xxBackend:
    """Sizes are bytes per lane, times are cycles of the TPU clock."""

    def __init__(self, chip: Chip, compress: bool = True):
        self.chip, self.compress = chip, compress
        self.compressible: dict[int, bool] = {}  # by the id of an operation of the graph
        self.lanes = chip.lanes
        self.local_bytes, self.alignment = chip.lane_bytes, ALIGNMENT
        self.max_dim = MAX_DIM
        macs = chip.lanes * chip.exec_units * chip.conv_macs_per_step
        self.prices = SLOW_PRICES if macs < SLOW * chip.ddr_bytes_per_cycle else PRICES
        self.weight_bytes_cached = lru_cache(maxsize=None)(self._weight_bytes)
        self.layer_cycles_cached = lru_cache(maxsize=None)(self._layer_cycles)
        self.compute_cycles_cached = lru_cache(maxsize=None)(self._compute_cycles)
        self.weight_cycles_cached = lru_cache(maxsize=None)(self._weight_cycles)
        self.transfer_cached = lru_cache(maxsize=None)(self._transfer)

    # ---- sizes
    def plane_bytes(self, h: int, w: int) -> int:
        """One channel of bytes: its plane rounded up to 16 bytes (section 4.1)."""
        return align16(h * w)

    def tile_planes(self, tensor: Tensor, c: int, h: int, w: int) -> tuple[int, int]:
        """A plane per group of channels; floats that are quantised are dealt out to the lanes
        (quantize.py)."""
        if tensor.itemsize == 4 and is_quantised(tensor):
            return float_planes((1, c, h, w), tensor.shape[3], self.lanes)
        return -(-c // self.lanes), align16(h * w * tensor.itemsize)

    def weight_bytes(self, layer: Layer, oc: int, ic: int, last: bool = True) -> int:
        return self.weight_bytes_cached(layer, oc, ic, last)

    def _weight_bytes(self, layer: Layer, oc: int, ic: int, last: bool) -> int:
        return blob_bytes(layer, oc, ic, self.chip, last)

    def channel_step(self, layer: Layer) -> int:
        """Only convolutions are cut along output channels, and matrices along their columns (so
        that every execution unit has work)."""
        return {"conv": self.lanes, "fc": 16 * self.lanes}.get(layer.kind, 0)

    def spread(self, columns: int) -> tuple[int, int]:
        return spread(columns, self.lanes)

    def temp_bytes(self, layer: Layer, shape: tuple[int, int, int, int]) -> int:
        """Add: the high bytes of the 16-bit product; PRelu: the negative part; Quantize,
        Dequantize, Softmax: planes of 16 bits."""
        n, c, h, w = shape
        if layer.kind == "softmax":
            return softmax_temp(layer, -(-c // self.lanes), h, w)
        if layer.kind == "quantize":
            return quantize_temp(layer, shape, self.lanes)
        if layer.kind == "dequantize":
            return dequantize_temp(shape, self.lanes)
        if layer.kind in ("add", "prelu"):
            return n * -(-c // self.lanes) * align16(h * w)
        return 0

    # ---- cycles
    def compute_cycles(
        self, kind: str, layer: Layer, out: tuple[int, int, int, int], ic: int, partial: bool
    ) -> float:
        return self.layer_cycles_cached(kind, layer, out, ic, partial)

    def _layer_cycles(
        self, kind: str, layer: Layer, out: tuple[int, int, int, int], ic: int, partial: bool
    ) -> float:
        """Equal layers share an entry of the cache behind."""
        return self.compute_cycles_cached(kind, layer.window, out, ic, partial, _constant(layer))

    def _compute_cycles(
        self,
        kind: str,
        window: Any,
        out: tuple[int, int, int, int],
        ic: int,
        partial: bool,
        extra: Any,
    ) -> float:
        chip, (n, c, h, w) = self.chip, out
        (kh, kw), sx = window.kernel, window.strides[1]
        arith = lambda op, **more: cost.arith_cycles(chip, op, n=n, c=c, h=h, w=w, **more)  # noqa: E731
        if kind == "conv":
            icp = padded_inputs(ic, chip)
            return cost.conv_cycles(
                chip,
                n=n,
                oc=c,
                oh=h,
                ow=w,
                ic=icp,
                kh=kh,
                kw=kw,
                x_stride=sx,
                double=icp % 2 == 0 and icp >= 4,
                ps32=3 if partial else 0,
            )
        if kind == "fc":
            res_c, res_w = spread(c, self.lanes)
            return cost.matrix_cycles(
                chip,
                rows=n,
                inner=ic,
                res_c=res_c,
                res_w=res_w,
                quant=True,
                bias=bool(extra),
                ps32=3 if partial else 0,
            )
        if kind == "avgpool" and extra == PLAIN:
            return cost.avg_pool_cycles(chip, n=n, c=c, oh=h, ow=w, kh=kh, kw=kw, x_stride=sx)
        if kind in ("depthwise", "avgpool"):
            one = cost.depthwise_cycles(chip, n=n, c=c, oh=h, ow=w, kh=kh, kw=kw, x_stride=sx)
            return one * (1.3 if extra else 1.0)
        if kind == "maxpool":
            return cost.max_pool_cycles(chip, n=n, c=c, oh=h, ow=w, kh=kh, kw=kw, x_stride=sx)
        if kind == "add":
            return arith("mul", res16=True, const=True) + arith("mac", const=True)
        if kind in ("requant", "mul"):
            return arith("mul", quant=True)
        if kind == "leaky_relu":
            return arith("mul", quant=True) + arith("max")
        if kind == "prelu":
            return 3 * arith("max") + cost.depthwise_cycles(chip, n=n, c=c, oh=h, ow=w, kh=1, kw=1)
        if kind == "quantize":
            return quantize_cycles(chip, out, *extra)
        if kind == "softmax":
            total = cost.conv_cycles(
                chip, n=n, oc=chip.lanes, oh=h, ow=w, ic=c, kh=1, kw=1, quant=False, bf16=True
            )
            index = cost.lookup_cycles(chip, n=n, c=c, h=h, w=w, table_h=32, bf16=True)
            return total + 2 * index + arith("copy") + 2 * arith("mul", bf16=True)
        if kind == "dequantize":
            return dequantize_cycles(chip, out)
        return arith("copy" if kind == "copy" else "max")

    def transfer_cycles(
        self, shape: tuple[int, int, int, int], tensor: Tensor, store: bool
    ) -> float:
        if tensor.itemsize == 4 and is_quantised(tensor):  # the other parts come later
            shape = float_parts(shape, tensor.shape[3], self.lanes)[0].box.shape
        return self.transfer_cached(
            shape, tensor.root.shape[1] == shape[1], tensor.shape[2:], tensor.itemsize, store
        )

    def _transfer(
        self,
        shape: tuple[int, int, int, int],
        all_channels: bool,
        plane: tuple[int, int],
        e: int,
        store: bool,
    ) -> float:
        """max(DDR bytes / rate, local words) + command (hw/cv18xx.md section 9.2), with an average
        for the position of a piece inside its 64-byte units."""
        n, c, h, w = shape
        full_h, full_w = plane
        if (full_w - w) * e > (0 if store else TDMA_MERGE_GAP):
            pieces, length = n * c * h, w * e
        elif (full_h - h) * full_w * e > (0 if store else TDMA_MERGE_GAP):
            pieces, length = n * c, h * full_w * e
        elif not all_channels:
            pieces, length = n, c * h * full_w * e
        else:
            pieces, length = 1, n * c * h * full_w * e
        units = length / 64 + (63 / 64 if length % 64 or full_w * e % 64 else 0)
        words = n * c * -(-(h * w * e) // 16)
        return (
            max(pieces * units * 64 / self.chip.ddr_bytes_per_cycle, words)
            + self.chip.tdma_command_cycles
        )

    def copy_cycles(self, shape: tuple[int, int, int, int], itemsize: int) -> float:
        """A transfer inside local memory: its words, one per cycle (section 9.2)."""
        n, c, h, w = shape
        return n * c * -(-(h * w * itemsize) // 16) + self.chip.tdma_command_cycles

    def matrix_cycles(self, shape: tuple[int, int, int, int]) -> float:
        """Rows of a matrix: every row is a piece; local memory takes 16 columns at once."""
        rows, columns = shape[:2]
        words = rows * row_bytes(columns, self.lanes) // 16 * self.lanes
        traffic = rows * (columns + (63 if columns % 64 else 0))
        return max(traffic / self.chip.ddr_bytes_per_cycle, words) + self.chip.tdma_command_cycles

    def weight_cycles(self, size: int) -> float:
        return self.weight_cycles_cached(size)

    def _weight_cycles(self, size: int) -> float:
        """A block of constants: `size` contiguous bytes for every lane."""
        total = size * self.lanes
        return (
            max(total / self.chip.ddr_bytes_per_cycle, self.lanes * -(-size // 16))
            + self.chip.tdma_command_cycles
        )

    def constant_cycles(self, layer: Layer, size: int) -> float:
        """As weight_cycles; compressed constants take the time of a share of their bytes."""
        total = size * self.lanes
        if total < LEAST_COMPRESSED or not self.compresses(layer):
            return self.weight_cycles(size)
        traffic = cost_tdma.compressed_traffic(total) / self.chip.ddr_bytes_per_cycle
        return max(traffic, self.lanes * -(-size // 16)) + self.chip.tdma_command_cycles

    def compresses(self, layer: Layer) -> bool:
        """Does the TDMA decompress the weights of a layer?"""
        key = id(layer.op)
        if key not in self.compressible:
            self.compressible[key] = self.compress and compresses(layer)
        return self.compressible[key]

    # ---- limits
    def can_sum(self, layer: Layer) -> bool:
        """32-bit sums have the place of the whole result (hw/cv18xx-tiu.md section 6)."""
        return fits_one_instruction(layer.window)

    def window(self, layer: Layer) -> Window:
        """Depthwise dilation is ignored by the sums of generation B (hw/cv18xx-tiu.md section 5.6):
        there the kernel is spread with zeros instead."""
        w = layer.window
        if layer.kind == "depthwise" and self.chip.generation == "B" and w.dilations != (1, 1):
            return Window(w.extent, w.strides, w.pads)
        return w

    def check(self, layer: Layer) -> None:
        """Raise UnsupportedError when no tiling can express the layer (hw/cv18xx-tiu.md section
        1.3)."""
        w = layer.window
        where = f"layer {layer.name} ({layer.kind})"
        if max(w.strides) > self.chip.max_stride:
            raise UnsupportedError(
                f"{where}: stride {w.strides} exceeds {self.chip.max_stride} of {self.chip.name}"
            )
        if reason := padding_limit(w):
            raise UnsupportedError(f"{where}: {reason} of {self.chip.name}")
        if max(w.dilations) > MAX_DILATION:
            raise UnsupportedError(
                f"{where}: dilation {w.dilations} exceeds {MAX_DILATION} of {self.chip.name}"
            )


def _constant(layer: Layer) -> Any:
    """The part of the op that its cost depends on."""
    if layer.kind == "fc":
        return layer.op.operand("bias") is not None
    if layer.kind == "quantize":
        return layer.inputs[0].shape[3], plane_counts(layer)
    if layer.kind == "avgpool":
        return len(layer.op.attrs["counts"]) > 1 if layer.op.attrs["multipliers"] else PLAIN
    return None
