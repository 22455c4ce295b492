"""Constants of a layer as the chip wants them: one block of bytes per lane, so that one TDMA command loads it.

Block of a convolution slice, output channels oc in lanes oc mod L, groups g = oc div L (hw/cv18xx.md sections 4.2, 4.4):

    groups x [kh*kw*ic bytes of weights]   padded to 16   groups x [9 (5) bytes: bias, multiplier, shift]

depthwise: groups x align16(kh*kw); average pooling: no weights, one run of parameter groups (padded to 16) per window
count. In DDR the block of lane 0 is followed by that of lane 1, and so on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...schedule.layers import Layer
from ...schedule.program import WeightSlice

TABLE_BYTES = 1024  # Dequantize: four look-up tables


def align16(x: int) -> int:
    return -(-x // 16) * 16


def padded_inputs(ic: int) -> int:
    """Input channels a convolution is given: odd counts from 3 on get a channel of zero weights, so that double_conv
    applies (hw/cv18xx-quant.md section 1)."""
    return ic + 1 if ic >= 3 and ic % 2 else ic


def parameter_bytes(layer: Layer) -> int:
    """9 with a bias, 5 without (hw/cv18xx-tiu.md section 5.10)."""
    return 9 if layer.kind in ("conv", "depthwise") and layer.op.operand("bias") is not None else 5


def weights_part(layer: Layer, groups: int, ic: int) -> int:
    """Bytes of the weights in a block, up to where the parameters begin."""
    kh, kw = layer.window.kernel
    if layer.kind == "conv":
        return align16(groups * kh * kw * padded_inputs(ic))
    if layer.kind == "depthwise":
        return groups * align16(kh * kw)
    if layer.kind == "prelu":
        return groups * 16
    return 0


def blob_bytes(layer: Layer, oc: int, ic: int, lanes: int) -> int:
    """Bytes per lane of the block of `oc` output and `ic` input channels; 0: the layer has no constants."""
    groups = -(-oc // lanes)
    if layer.kind in ("conv", "depthwise", "prelu"):
        return align16(weights_part(layer, groups, ic) + groups * parameter_bytes(layer))
    if layer.kind == "avgpool":
        return len(layer.op.attrs["counts"]) * align16(groups * 5)
    if layer.kind == "dequantize":
        return TABLE_BYTES
    return 0


def parameters(bias: NDArray | None, multiplier: NDArray, shift: NDArray) -> NDArray[np.uint8]:
    """(channels, 9 or 5) bytes of section 5.10."""
    columns = [] if bias is None else [np.ascontiguousarray(bias, "<i4").view(np.uint8).reshape(-1, 4)]
    columns.append(np.ascontiguousarray(multiplier.astype(np.int64) & 0xFFFFFFFF, dtype="<u4").view(np.uint8).reshape(-1, 4))
    columns.append(shift.astype(np.int8).view(np.uint8).reshape(-1, 1))
    return np.concatenate(columns, 1)


def to_lanes(rows: NDArray[np.uint8], lanes: int) -> NDArray[np.uint8]:
    """(channels, k) -> (lanes, groups * k): channel c to lane c mod L, place c div L."""
    c, k = rows.shape
    groups = -(-c // lanes)
    full = np.zeros((groups * lanes, k), np.uint8)
    full[:c] = rows
    return full.reshape(groups, lanes, k).transpose(1, 0, 2).reshape(lanes, groups * k)


def pack(piece: WeightSlice, lanes: int) -> bytes:
    """The bytes of a slice as they lie in DDR: lanes x piece.size."""
    layer = piece.layer
    if layer.kind == "dequantize":
        return dequantize_tables(layer)
    parts = {"prelu": _prelu, "avgpool": _avgpool}.get(layer.kind, _conv)(piece, lanes)
    out = np.zeros((lanes, piece.size), np.uint8)
    for start, rows in parts:
        block = to_lanes(rows, lanes)
        out[:, start : start + block.shape[1]] = block
    return out.tobytes()


Part = tuple[int, NDArray[np.uint8]]  # (first byte in the block, rows of the channels)


def _conv(piece: WeightSlice, lanes: int) -> list[Part]:
    layer, (oc0, oc1), (ic0, ic1) = piece.layer, piece.oc, piece.ic
    _, w, bias, multiplier, shift = layer.op.operands
    assert w is not None and multiplier is not None and shift is not None
    first = layer.group * (w.shape[0] // layer.groups)
    sel = slice(first + oc0, first + oc1)
    weights = w.data[sel, ic0:ic1] if layer.kind == "conv" else w.data[sel]
    params = parameters(None if bias is None else bias.data[sel], multiplier.data[sel], shift.data[sel])
    groups = -(-(oc1 - oc0) // lanes)
    return [(0, _weight_rows(layer.kind, weights)), (weights_part(layer, groups, ic1 - ic0), params)]


def _weight_rows(kind: str, w: NDArray) -> NDArray[np.uint8]:
    """(oc, bytes): a convolution kh, kw, ic with ic fastest and padded; depthwise kh, kw padded to 16."""
    oc, ic, kh, kw = w.shape
    if kind == "conv":
        rows = np.zeros((oc, kh, kw, padded_inputs(ic)), np.int8)
        rows[..., :ic] = w.transpose(0, 2, 3, 1)
        return rows.reshape(oc, -1).view(np.uint8)
    rows = np.zeros((oc, align16(kh * kw)), np.int8)
    rows[:, : kh * kw] = w.reshape(oc, -1)
    return rows.view(np.uint8)


def _avgpool(piece: WeightSlice, lanes: int) -> list[Part]:
    channels, a = piece.layer.output.shape[1], piece.layer.op.attrs
    run = align16(-(-channels // lanes) * 5)
    pairs = zip(a["multipliers"], a["shifts"], strict=True)
    return [(i * run, parameters(None, np.full(channels, m), np.full(channels, s))) for i, (m, s) in enumerate(pairs)]


def _prelu(piece: WeightSlice, lanes: int) -> list[Part]:
    _, slope, multiplier, shift = piece.layer.op.operands
    assert slope is not None and multiplier is not None and shift is not None
    channels = slope.shape[0]
    rows = np.zeros((channels, 16), np.uint8)
    rows[:, 0] = slope.data.view(np.uint8)
    return [(0, rows), (-(-channels // lanes) * 16, parameters(None, multiplier.data, shift.data))]


def dequantize_tables(layer: Layer) -> bytes:
    """Four tables of 256 bytes: byte k of float32(q) * float32(scale) at index q & 255."""
    q = np.arange(256).astype(np.uint8).view(np.int8).astype(np.float32)
    values = (q * np.float32(layer.op.attrs["scale"])).astype("<f4")
    return values.view(np.uint8).reshape(256, 4).T.tobytes()
