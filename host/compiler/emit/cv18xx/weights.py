"""Constants of a layer as the chip wants them, and as they lie in DDR.

In local memory a slice is one block per lane (hw/cv18xx.md sections 4.2, 4.4), groups =
ceil(channels / lanes):

    convolution      groups x [9 (5) parameter bytes]  padded to 2  groups x [kh*kw*ic bytes]
    depthwise        groups x align16(kh*kw)  groups x [9 (5) parameter bytes]
    fully connected  rows of the right matrix, then four rows of bias bytes
    average pooling  per window count: groups x [5 bytes], padded to 16; the plain form: nothing

In DDR the blocks of the lanes lie one behind the other, so that one command loads a slice. Where
that would waste bytes (channels that are no multiple of the lanes, depthwise kernels) weights and
parameters lie channel by channel and are loaded by one command each; the TDMA deals the channels
out to the lanes. Files without compressed constants have all of them channel by channel, each layer
whole, whatever slices it is loaded in: batch 1 and batch 4 then have the same bytes, although their
tiles differ, and can share them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...chip import Chip, align16
from ...errors import InternalError
from ...isa.cv18xx.compress import compress_int8
from ...schedule.layers import Layer
from ...schedule.program import Interval, WeightSlice
from .dequantize import dequantize_factors
from .quantize import FACTOR_BYTES, quantize_factors
from .softmax import SOFTMAX_BYTES, softmax_tables
from .spread import row_bytes

TABLE_KINDS = ("softmax",)  # constants are tables, the same in every lane
#: kinds whose constants are a row of bf16 factors, in every lane (quantize) or in lane 0
FACTORS = {"quantize": quantize_factors, "dequantize": dequantize_factors}


def padded_inputs(ic: int, chip: Chip) -> int:
    """Input channels a convolution is given: odd counts from 3 on get a channel of zero weights, so
    that double_conv applies (hw/cv18xx-quant.md section 1), on chips that gain from it."""
    return ic + 1 if ic >= 3 and ic % 2 and chip.conv_macs_per_step > 1 else ic


def parameter_bytes(layer: Layer) -> int:
    """9 with a bias, 5 without (hw/cv18xx-tiu.md section 5.10)."""
    return 9 if layer.kind in ("conv", "depthwise") and layer.op.operand("bias") is not None else 5


def weights_and_parameters(layer: Layer, groups: int, last: bool = True) -> tuple[int, int]:
    """Where the weights and the parameters begin in a block: the weights of a convolution may begin
    at any even byte, everything else at multiples of 16. last: with parameters; a convolution that
    leaves partial sums behind has none."""
    kh, kw = layer.window.kernel
    if not last:
        return 0, 0
    if layer.kind == "conv":
        return -(-groups * parameter_bytes(layer) // 2) * 2, 0
    return 0, groups * (16 if layer.kind == "prelu" else align16(kh * kw))


def blob_bytes(layer: Layer, oc: int, ic: int, chip: Chip, last: bool = True) -> int:
    """Bytes per lane of the block of `oc` output and `ic` input channels, the last of them or not
    (bias and parameters come with the last); 0: the layer has no constants."""
    groups = -(-oc // chip.lanes)
    if layer.kind in ("conv", "depthwise", "prelu"):
        weights, params = weights_and_parameters(layer, groups, last)
        if layer.kind != "conv":
            return align16(params + groups * parameter_bytes(layer))
        kh, kw = layer.window.kernel
        return align16(weights + groups * kh * kw * padded_inputs(ic, chip))
    if layer.kind == "avgpool":
        if not layer.op.attrs["multipliers"]:
            return 0
        return len(layer.op.attrs["counts"]) * align16(groups * 5)
    if layer.kind in FACTORS:
        return FACTOR_BYTES if layer.kind == "quantize" else 16
    if layer.kind == "softmax":
        return SOFTMAX_BYTES
    if layer.kind == "fc":
        return (ic + (bias_rows(layer) if last else 0)) * row_bytes(oc, chip.lanes)
    return 0


def bias_rows(layer: Layer) -> int:
    """Rows that the bias adds to the right matrix: its four bytes (hw/cv18xx.md section 4.5)."""
    return 0 if layer.op.operand("bias") is None else 4


def parameters(bias: NDArray | None, multiplier: NDArray, shift: NDArray) -> NDArray[np.uint8]:
    """(channels, 9 or 5) bytes of section 5.10."""
    columns = (
        [] if bias is None else [np.ascontiguousarray(bias, "<i4").view(np.uint8).reshape(-1, 4)]
    )
    columns.append(
        np.ascontiguousarray(multiplier.astype(np.int64) & 0xFFFFFFFF, dtype="<u4")
        .view(np.uint8)
        .reshape(-1, 4)
    )
    columns.append(shift.astype(np.int8).view(np.uint8).reshape(-1, 1))
    return np.concatenate(columns, 1)


@dataclass(frozen=True)
class Segment:
    """One load: `count` rows of `row` bytes, row i to lane i mod L, place i div L at `stride`
    bytes. compressed: in DDR they are a stream that the TDMA decompresses (hw/cv18xx-tdma.md
    section 6). whole_row: in DDR they are parts of rows of so many bytes; both consist of `runs`
    equal pieces, which are contiguous."""

    offset: int  # in the block of the lane
    count: int
    row: int
    stride: int
    compressed: bool = False
    whole_row: int = 0
    runs: int = 1

    @property
    def ddr_strides(self) -> tuple[int, int, int]:
        """Bytes from one set of rows, row and piece to the next."""
        row = self.whole_row or self.row
        return self.count * row, row, row // self.runs


def compressed(segment: Segment, data: bytes) -> tuple[Segment, bytes]:
    """The segment as a compressed stream where that is clearly shorter."""
    if len(data) < LEAST_COMPRESSED:
        return segment, data
    stream = compress_int8(data)
    if len(stream) > WORTH_COMPRESSING * len(data):
        return segment, data
    return replace(segment, compressed=True), stream


def compresses(layer: Layer) -> bool:
    """Would the constants of a layer be stored compressed? Judged from the beginning of its
    weights."""
    w = layer.op.operands[1] if layer.kind in ("conv", "fc") else None
    if w is None or w.data is None:
        return False
    sample = np.ascontiguousarray(w.data).reshape(-1)[:SAMPLE].view(np.uint8).tobytes()
    return len(compress_int8(sample)) <= WORTH_COMPRESSING * len(sample)


SAMPLE = 4096  # bytes of weights that tell how they compress
LEAST_COMPRESSED = 1024  # bytes; shorter streams only grow
WORTH_COMPRESSING = 0.99


@dataclass(frozen=True)
class _Part:
    """One kind of constants: (channels, k) bytes, channel c at offset + c div L * stride."""

    offset: int
    stride: int
    rows: NDArray[np.uint8]


class Constants:
    """The constants of a program: what lies in DDR, and the loads of slices out of it.

    stored: name -> bytes in DDR. compress: slices as streams where that is shorter; else layers lie
    there whole, so that the bytes can be shared: they do not depend on the slices that are loaded.
    """

    def __init__(self, chip: Chip, compress: bool):
        self.chip, self.compress = chip, compress
        self.stored: dict[str, bytes] = {}
        self._wholes: dict[tuple[Layer, Interval, Interval], list[tuple[str, Segment]]] = {}

    def loads(self, piece: WeightSlice) -> list[tuple[Segment, str, int]]:
        """(segment, name in `stored`, first byte there) of every load of a slice; puts there what
        is missing."""
        oc, ic = (piece.oc, piece.ic) if self.compress else self._whole(piece)
        key = (piece.layer, oc, ic)
        if key not in self._wholes:
            self._wholes[key] = self._put(replace(piece, oc=oc, ic=ic))
        stored = self._wholes[key]
        if (oc, ic) == (piece.oc, piece.ic):
            return [(segment, name, 0) for name, segment in stored]
        row, column = piece.oc[0] - oc[0], piece.ic[0] - ic[0]
        if piece.layer.kind == "fc":
            row, column = column, row
        found = []
        parts = segments(piece, self.chip, True)  # all, or only the weights, which are last
        for (s, _), (name, whole) in zip(parts, stored[-len(parts) :], strict=True):
            if s.row == whole.row:
                found.append((s, name, row * whole.row))
            else:
                kh, kw = (1, 1) if piece.layer.kind == "fc" else piece.layer.window.kernel
                s = replace(s, whole_row=whole.row, runs=kh * kw)
                found.append((s, name, row * whole.row + column))
        return found

    def _put(self, piece: WeightSlice) -> list[tuple[str, Segment]]:
        """Store the constants of a slice; their names and segments."""
        found = []
        for k, (segment, data) in enumerate(segments(piece, self.chip, not self.compress)):
            if self.compress and piece.layer.kind not in TABLE_KINDS:
                segment, data = compressed(segment, data)
            what = f"param{k}" if k else "weight"
            name = f"{piece.layer.name}_{what}_{piece.oc[0]}_{piece.ic[0]}"
            if self.stored.setdefault(name, data) != data:
                raise InternalError(f"two constants are called {name}")
            found.append((name, segment))
        return found

    def _whole(self, piece: WeightSlice) -> tuple[Interval, Interval]:
        """(output, input channels) of the whole layer that a slice can be loaded from."""
        kind, op = piece.layer.kind, piece.layer.op
        if kind == "fc":
            rows, columns = op.arg(1).shape[:2]
            return (0, columns), (0, rows)
        if kind not in ("conv", "depthwise", "prelu"):
            return piece.oc, piece.ic
        outputs = (0, op.arg(1).shape[0] // piece.layer.groups)
        if kind != "conv":
            return outputs, piece.ic
        inputs, count = op.arg(1).shape[1], piece.ic[1] - piece.ic[0]
        if piece.ic[1] < inputs and padded_inputs(count, self.chip) > count:
            return outputs, piece.ic  # its zeros are not those of the whole
        return outputs, (0, inputs)


def segments(piece: WeightSlice, chip: Chip, by_channel: bool) -> list[tuple[Segment, bytes]]:
    """The loads of a slice with their bytes in DDR."""
    lanes = chip.lanes
    if piece.layer.kind == "softmax":
        return [(Segment(0, 1, SOFTMAX_BYTES, SOFTMAX_BYTES), softmax_tables(piece.layer))]
    if piece.layer.kind in FACTORS:
        factors = FACTORS[piece.layer.kind](piece.layer)
        count = lanes if piece.layer.kind == "quantize" else 1
        return [(Segment(0, count, len(factors), len(factors)), count * factors)]
    if piece.layer.kind == "fc":
        rows = _matrix(piece)
        count, columns = rows.shape
        return [(Segment(0, count, columns, row_bytes(columns, lanes)), rows.tobytes())]
    parts = {"prelu": _prelu, "avgpool": _avgpool}.get(piece.layer.kind, _conv)(piece, chip)
    channels = parts[0].rows.shape[0]
    last = parts[-1]
    length = last.offset + (-(-channels // lanes) - 1) * last.stride + last.rows.shape[1]
    dense = sum(p.rows.size for p in parts)
    if not by_channel and lanes * length <= dense * MAX_WASTE:
        return [(Segment(0, lanes, length, length), _blocks(parts, lanes, length))]
    return [
        (Segment(p.offset, channels, p.rows.shape[1], p.stride), p.rows.tobytes()) for p in parts
    ]


def _blocks(parts: list[_Part], lanes: int, length: int) -> bytes:
    """One block of `length` bytes per lane."""
    blocks = np.zeros((lanes, length), np.uint8)
    for p in parts:
        for c0 in range(0, p.rows.shape[0], lanes):
            rows = p.rows[c0 : c0 + lanes]
            at = p.offset + c0 // lanes * p.stride
            blocks[: len(rows), at : at + rows.shape[1]] = rows
    return blocks.tobytes()


MAX_WASTE = 1.06  # bytes of the one-command form over the dense bytes


def _conv(piece: WeightSlice, chip: Chip) -> list[_Part]:
    layer, (oc0, oc1), (ic0, ic1) = piece.layer, piece.oc, piece.ic
    _, w, bias, multiplier, shift = layer.op.operands
    assert w is not None and w.data is not None
    assert multiplier is not None and multiplier.data is not None
    assert shift is not None and shift.data is not None
    first = layer.group * (w.shape[0] // layer.groups)
    sel = slice(first + oc0, first + oc1)
    weights = w.data[sel, ic0:ic1] if layer.kind == "conv" else w.data[sel]
    params = parameters(
        None if bias is None or bias.data is None else bias.data[sel],
        multiplier.data[sel],
        shift.data[sel],
    )
    rows = _weight_rows(layer.kind, spread(weights, layer), chip)
    at, params_at = weights_and_parameters(layer, -(-(oc1 - oc0) // chip.lanes), piece.last)
    if not piece.last:
        return [_Part(at, rows.shape[1], rows)]
    table = _Part(params_at, params.shape[1], params)
    if layer.kind == "conv":
        return [table, _Part(at, rows.shape[1], rows)]
    return [_Part(at, align16(rows.shape[1]), rows), table]


def spread(w: NDArray, layer: Layer) -> NDArray:
    """Weights (oc, ic, kh, kw) with zeros between them where the window of the layer holds the
    dilation in its kernel (Cv18xxBackend.window)."""
    if w.shape[2:] == layer.window.kernel:
        return w
    dy, dx = layer.op.attrs["dilations"]
    out = np.zeros((*w.shape[:2], *layer.window.kernel), w.dtype)
    out[:, :, ::dy, ::dx] = w
    return out


def _weight_rows(kind: str, w: NDArray, chip: Chip) -> NDArray[np.uint8]:
    """(oc, bytes): a convolution kh, kw, ic with ic fastest and padded; depthwise kh, kw."""
    oc, ic, kh, kw = w.shape
    if kind != "conv":
        return np.ascontiguousarray(w).reshape(oc, -1).view(np.uint8)
    rows = np.zeros((oc, kh, kw, padded_inputs(ic, chip)), np.int8)
    rows[..., :ic] = w.transpose(0, 2, 3, 1)
    return rows.reshape(oc, -1).view(np.uint8)


def _matrix(piece: WeightSlice) -> NDArray[np.uint8]:
    """(rows, columns) of a slice of the right matrix; behind its last rows the bias, least
    significant bytes first."""
    _, right, bias = piece.layer.op.operands
    assert right is not None and right.data is not None
    columns, (k0, k1) = slice(*piece.oc), piece.ic
    rows = np.ascontiguousarray(right.data[k0:k1, columns]).view(np.uint8)
    if bias is None or not piece.last:
        return rows
    assert bias.data is not None
    return np.concatenate(
        [rows, np.ascontiguousarray(bias.data[columns], "<i4").view(np.uint8).reshape(-1, 4).T]
    )


def _avgpool(piece: WeightSlice, chip: Chip) -> list[_Part]:
    channels, a = piece.oc[1] - piece.oc[0], piece.layer.op.attrs
    run = align16(-(-channels // chip.lanes) * 5)
    pairs = zip(a["multipliers"], a["shifts"], strict=True)
    return [
        _Part(i * run, 5, parameters(None, np.full(channels, m), np.full(channels, s)))
        for i, (m, s) in enumerate(pairs)
    ]


def _prelu(piece: WeightSlice, chip: Chip) -> list[_Part]:
    _, slope, multiplier, shift = piece.layer.op.operands
    assert slope is not None and slope.data is not None
    assert multiplier is not None and multiplier.data is not None
    assert shift is not None and shift.data is not None
    sel = slice(*piece.oc)
    params = parameters(None, multiplier.data[sel], shift.data[sel])
    rows = slope.data[sel].view(np.uint8).reshape(-1, 1)
    return [_Part(0, 16, rows), _Part(-(-len(rows) // chip.lanes) * 16, 5, params)]
