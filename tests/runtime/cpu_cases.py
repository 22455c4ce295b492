"""Cases for the CPU functions: random inputs, arguments and an independent numpy formula each
(api/cvi_nn.md section 10). test_cpu_op.py compares our runtime with the formula, and, in the parity
tier, the vendor's runtime with ours.

A case returns (function, arguments, inputs, [(shape, dtype) of the outputs], [expected outputs]).
`exact`: bytes are equal; else 1e-5 relative. `vendor`: the vendor computes the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

F = np.float32


@dataclass
class Case:
    function: str
    arguments: dict[str, Any]
    inputs: list[np.ndarray]
    expected: list[np.ndarray]
    dtypes: list[str] | None = None
    out_dtypes: list[str] = field(default_factory=list)
    exact: bool = True
    vendor: bool = True  # False: the vendor's formula is wrong here (the docstring says why)


Maker = Callable[[np.random.Generator], Case]
CASES: dict[str, Maker] = {}


def case(make: Maker) -> Maker:
    CASES[make.__name__] = make
    return make


def normal(rng: np.random.Generator, *shape: int, scale: float = 1) -> np.ndarray:
    return rng.normal(0, scale, shape).astype(F)


# ---- data types ----


def _make_quant(to: str, key: str, value: float) -> Maker:
    def make(rng):
        scale = F(value) if key == "scale" else F(128) / F(value)
        x = normal(rng, 2, 3, 5, 7, scale=90) / scale
        if to == "INT8":
            v = (x * scale).astype(np.float64)
            q = np.clip(np.sign(v) * np.floor(np.abs(v) + 0.5), -128, 127).astype(np.int8)
            return Case("quant", {"from": "FP32", "to": to, key: value}, [x], [q])
        q = rng.integers(-128, 128, (2, 3, 5, 7)).astype(np.int8)
        back = F(value) if key == "scale" else F(value) / F(128)
        return Case("quant", {"from": "INT8", "to": to, key: value}, [q], [q * back])

    return make


for _to in ("INT8", "NONE"):
    CASES[f"quant_{_to}_scale"] = _make_quant(_to, "scale", 0.7384)
    CASES[f"quant_{_to}_threshold"] = _make_quant(_to, "threshold", 3.7)


@case
def quant_to_bf16(rng):
    x = normal(rng, 2, 3, 5, 7)
    bits = ((x * F(1.001957)).view(np.uint32) >> 16).astype(np.uint16)
    arguments = {"from": "FP32", "to": "BF16", "scale": 1.0}
    return Case("quant", arguments, [x], [bits], out_dtypes=["bf16"])


@case
def quant_from_bf16(rng):
    bits = _bf16(normal(rng, 1, 2, 5, 7))
    arguments = {"from": "BF16", "to": "NONE", "scale": 1.0}
    return Case("quant", arguments, [bits], [_real(bits)], dtypes=["bf16"])


# ---- layout ----


@case
def preprocess(rng):
    x = normal(rng, 2, 3, 5, 7)
    mean, order = [1.5, -2.0, 0.25], [2, 0, 1]
    v = np.empty_like(x)
    v[:, order] = x
    v = (v * F(0.37) - np.array(mean, F).reshape(1, 3, 1, 1)) * F(1.7)
    arguments = {"scale": 1.7, "raw_scale": 0.37, "mean": mean, "color_order": order}
    return Case("preprocess", arguments, [x], [v])


@case
def preprocess_plain(rng):
    x = normal(rng, 1, 4, 3, 3)
    arguments = {
        "scale": 0.5,
        "raw_scale": 0.0,
        "mean": [1.0, 2.0, 3.0, 4.0],
        "color_order": [0, 1, 2, 3],
    }
    return Case(
        "preprocess", arguments, [x], [(x - np.arange(1, 5, dtype=F).reshape(1, 4, 1, 1)) * F(0.5)]
    )


@case
def transpose(rng):
    x = normal(rng, 2, 4, 5, 3)
    return Case("transpose", {}, [x], [np.ascontiguousarray(x.transpose(0, 3, 1, 2))])


@case
def pixelshuffle(rng):
    x = rng.integers(-128, 128, (2, 12, 3, 4)).astype(np.int8)
    r, oc = 2, 3
    out = x.reshape(2, r, r, oc, 3, 4).transpose(0, 3, 4, 1, 5, 2).reshape(2, oc, 6, 8)
    return Case("pixelshuffle", {"upscale_factor": r, "mode": "DCR"}, [x], [out])


@case
def pixelshuffle_crd(rng):
    """The vendor has DCR only."""
    x = normal(rng, 1, 18, 2, 2)
    out = x.reshape(1, 2, 3, 3, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(1, 2, 6, 6)
    return Case("pixelshuffle", {"upscale_factor": 3, "mode": "CRD"}, [x], [out], vendor=False)


# ---- reductions and scans ----


def _softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x.astype(np.float64) - x.max(axis, keepdims=True))
    return (e / e.sum(axis, keepdims=True)).astype(F)


@case
def softmax(rng):
    x = normal(rng, 1, 10, 3, 2, scale=4)
    return Case("softmax", {"axis": 1}, [x], [_softmax(x, 1)], exact=False)


@case
def softmax_cpu_last_axis(rng):
    x = normal(rng, 3, 2, 4, 9)
    return Case("softmax_cpu", {"axis": 3}, [x], [_softmax(x, 3)], exact=False)


@case
def softmax_far_rows(rng):
    """The vendor takes the maximum of outer index 0 for every row and gives NaN."""
    x = normal(rng, 2, 5, 1, 1)
    x[1] -= 500
    return Case("softmax", {"axis": 1}, [x], [_softmax(x, 1)], exact=False, vendor=False)


def _ordered_sum(x: np.ndarray, axis: int) -> np.ndarray:
    return np.add.accumulate(x, axis, dtype=x.dtype).take([x.shape[axis] - 1], axis)


@case
def reduce_mean(rng):
    x = normal(rng, 2, 3, 5, 7)
    m = _ordered_sum(x, 2) / F(5)
    m = _ordered_sum(m, 3) / F(7)
    return Case("cpu_reduce_mean", {"axes": [2, 3]}, [x], [m])


@case
def reduce_mean_int8(rng):
    """The vendor sums in uint8, which wraps."""
    x = rng.integers(-128, 128, (2, 9, 4, 1)).astype(np.int8)
    total = x.astype(np.int64).sum(1, keepdims=True)
    m = np.trunc(total / 9).astype(np.int8)
    return Case("cpu_reduce_mean", {"axes": [1]}, [x], [m], vendor=False)


def _l2(x: np.ndarray, axis: int) -> np.ndarray:
    """Every step of the sum rounds once to fp32."""
    total = np.zeros_like(x.take([0], axis))
    for i in range(x.shape[axis]):
        total = (total + x.take([i], axis).astype(np.float64) ** 2).astype(F)
    return np.sqrt(total)


@case
def reduce_l2(rng):
    x = normal(rng, 2, 3, 5, 7)
    v = _l2(_l2(x, 1), 3)
    return Case("reduce_l2", {"axes": [1, 3]}, [x], [v])


@case
def reduce_max(rng):
    x = normal(rng, 2, 3, 5, 7)
    return Case("cpu_reduce_max", {"axes": [2]}, [x], [x.max(2, keepdims=True)])


@case
def reduce_max_two_axes(rng):
    """The vendor reduces the first axis only."""
    x = normal(rng, 2, 3, 5, 7)
    return Case(
        "cpu_reduce_max", {"axes": [2, 3]}, [x], [x.max((2, 3), keepdims=True)], vendor=False
    )


@case
def reduce_max_int8(rng):
    """The vendor compares int8 as uint8."""
    x = rng.integers(-128, 128, (1, 3, 5, 7)).astype(np.int8)
    return Case("cpu_reduce_max", {"axes": [1]}, [x], [x.max(1, keepdims=True)], vendor=False)


@case
def reduce_max_uint8(rng):
    x = rng.integers(0, 256, (2, 9, 4, 2)).astype(np.uint8)
    return Case("cpu_reduce_max", {"axes": [1]}, [x], [x.max(1, keepdims=True)])


@case
def reduce_mean_uint8(rng):
    """Sums that the vendor's uint8 can hold, too."""
    x = rng.integers(0, 28, (2, 9, 4, 2)).astype(np.uint8)
    mean = (x.astype(np.int64).sum(1, keepdims=True) // 9).astype(np.uint8)
    return Case("cpu_reduce_mean", {"axes": [1]}, [x], [mean])


@case
def cumsum(rng):
    x = normal(rng, 2, 3, 5, 7)
    return Case("cumsum", {"axis": 2}, [x], [np.add.accumulate(x, 2, dtype=F)])


@case
def topk(rng):
    x = normal(rng, 2, 3, 20, 1)
    out = -np.sort(-x, 2)[:, :, :6]
    arguments = {"axis": 2, "K": 6, "sorted": True, "largest": True}
    return Case("topk", arguments, [x], [np.ascontiguousarray(out)])


@case
def topk_smallest(rng):
    x = normal(rng, 1, 30, 1, 1)
    arguments = {"axis": 1, "K": 4, "sorted": True, "largest": False}
    return Case("topk", arguments, [x], [np.ascontiguousarray(np.sort(x, 1)[:, :4])])


@case
def topk_inner_and_positions(rng):
    """The vendor needs inner dims of 1 and writes no positions."""
    x = rng.integers(0, 5, (2, 9, 3, 1)).astype(F)
    order = np.argsort(-x, 1, kind="stable")[:, :4]
    arguments = {"axis": 1, "K": 4, "sorted": True, "largest": True}
    return Case(
        "topk",
        arguments,
        [x],
        [np.take_along_axis(x, order, 1), order.astype(np.int32)],
        out_dtypes=["fp32", "int32"],
        vendor=False,
    )


# ---- arg-max ----


def _tiles(x: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Maximum of every 256 values of the last axis, in the type of x."""
    outer, length = x.shape
    rows = []
    for r in range(outer):
        row = []
        for start in range(0, length, 256):
            piece = real[r, start : start + 256]
            row.append(x[r, start + int(piece.argmax())])
        rows.append(row)
    return np.array(rows, x.dtype)


def _bf16(values: np.ndarray) -> np.ndarray:
    return (np.ascontiguousarray(values, F).view(np.uint32) >> 16).astype(np.uint16)


def _real(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(F)


def _four(x: np.ndarray) -> np.ndarray:
    return x.reshape(1, *x.shape, *(1,) * (3 - x.ndim))


@case
def argmax_int8(rng):
    x = rng.integers(-128, 127, (5, 700)).astype(np.int8)
    return Case(
        "argmax",
        {"axis": 2},
        [_four(x), _four(_tiles(x, x))],
        [x.argmax(1).astype(F).reshape(1, 5, 1, 1)],
    )


@case
def argmax_negative_rows(rng):
    """The vendor ignores negative entries of the map."""
    x = rng.integers(-128, -1, (4, 300)).astype(np.int8)
    return Case(
        "argmax",
        {"axis": 2},
        [_four(x), _four(_tiles(x, x))],
        [x.argmax(1).astype(F).reshape(1, 4, 1, 1)],
        vendor=False,
    )


@case
def argmax_bf16(rng):
    x = _bf16(normal(rng, 3, 520))
    real = _real(x)
    return Case(
        "argmax",
        {"axis": 2},
        [_four(x), _four(_tiles(x, real))],
        [real.argmax(1).astype(F).reshape(1, 3, 1, 1)],
        dtypes=["bf16", "bf16"],
    )


@case
def argmax_bf16_negative_rows(rng):
    """The vendor compares bf16 as 16-bit integers."""
    x = _bf16(-1 - abs(normal(rng, 3, 520)))
    real = _real(x)
    return Case(
        "argmax",
        {"axis": 2},
        [_four(x), _four(_tiles(x, real))],
        [real.argmax(1).astype(F).reshape(1, 3, 1, 1)],
        dtypes=["bf16", "bf16"],
        vendor=False,
    )


@case
def argmax_with_conf(rng):
    x = rng.integers(-128, 127, (5, 270)).astype(np.int8)
    pairs = np.stack([x.max(1) * F(0.25), x.argmax(1).astype(F)], 1).astype(F)
    return Case(
        "argmax_with_conf",
        {"axis": 2, "scale": 0.25},
        [_four(x), _four(_tiles(x, x))],
        [pairs.reshape(1, 5, 2, 1)],
    )


@case
def argmax_v3(rng):
    x = rng.integers(-128, 127, (5, 270)).astype(np.int8)
    return Case(
        "argmax_v3",
        {"axis": 2, "scale": 0.25},
        [_four(x), _four(_tiles(x, x))],
        [x.argmax(1).astype(F).reshape(1, 5, 1, 1), (x.max(1) * F(0.25)).reshape(1, 5, 1, 1)],
    )


@case
def argmax_v3_bf16(rng):
    x = _bf16(normal(rng, 4, 256))
    real = _real(x)
    return Case(
        "argmax_v3",
        {"axis": 2},
        [_four(x), _four(_tiles(x, real))],
        [real.argmax(1).astype(F).reshape(1, 4, 1, 1), real.max(1).reshape(1, 4, 1, 1)],
        dtypes=["bf16", "bf16"],
    )


@case
def topk_positions_as_floats(rng):
    """The vendor writes no positions."""
    x = normal(rng, 2, 3, 20, 1)
    order = np.argsort(x, 2, kind="stable")[:, :, :5]
    arguments = {"axis": -2, "K": 5, "sorted": False, "largest": False}
    values = np.take_along_axis(x, order, 2)
    return Case("topk", arguments, [x], [values, order.astype(F)], vendor=False)


# ---- gather ----


@case
def embedding_int8(rng):
    table = rng.integers(-128, 128, (50, 12)).astype(np.int8)
    i = rng.integers(0, 50, (1, 1, 1, 9)).astype(np.int32)
    return Case("embedding", {}, [i, table], [table[i.ravel()].reshape(1, 9, 12, 1)])


@case
def embedding_bf16(rng):
    table = _bf16(normal(rng, 40, 6))
    i = rng.integers(0, 40, (1, 1, 1, 7)).astype(np.uint16)
    return Case(
        "embedding",
        {},
        [i, table],
        [table[i.ravel()].reshape(1, 7, 6, 1)],
        dtypes=["uint16", "bf16"],
        out_dtypes=["bf16"],
    )


@case
def embedding_fp32(rng):
    """The vendor copies 2 bytes per element."""
    table = normal(rng, 40, 6)
    i = rng.integers(0, 40, (1, 1, 1, 7)).astype(np.int16)
    return Case("embedding", {}, [i, table], [table[i.ravel()].reshape(1, 7, 6, 1)], vendor=False)


@case
def embedding_uint32(rng):
    table = rng.integers(-128, 128, (70, 5)).astype(np.int8)
    i = rng.integers(0, 70, (1, 1, 2, 3)).astype(np.uint32)
    return Case("embedding", {}, [i, table], [table[i.ravel()].reshape(1, 6, 5, 1)])


@case
def gatherelements(rng):
    x = normal(rng, 2, 6, 5, 3)
    i = rng.integers(0, 6, (2, 4, 5, 3)).astype(np.int32)
    return Case("gatherelements_pt", {"axis": 1}, [x, i], [np.take_along_axis(x, i, 1)])


@case
def gatherelements_negative(rng):
    """Negative indices count from the end; the vendor does not check them."""
    x = normal(rng, 2, 6, 5, 3)
    i = rng.integers(-6, 6, (2, 4, 5, 3)).astype(np.int32)
    out = np.take_along_axis(x, i % 6, 1)
    return Case("gatherelements_pt", {"axis": -3}, [x, i], [out], vendor=False)


@case
def gathernd(rng):
    x = normal(rng, 5, 6, 7, 1)
    i = np.stack([rng.integers(0, 5, 9), rng.integers(0, 6, 9)], 1).astype(np.int32)
    out = x[i[:, 0], i[:, 1]].reshape(9, 7, 1, 1)
    return Case(
        "gathernd_tf", {"batch_dims": 0, "indice_dims": 2}, [x, i.reshape(9, 2, 1, 1)], [out]
    )


@case
def gathernd_batch(rng):
    x = normal(rng, 3, 6, 7, 1)
    i = rng.integers(0, 6, (3, 4, 1)).astype(np.int32)
    out = np.stack([x[b, i[b, :, 0]] for b in range(3)]).reshape(3, 4, 7, 1)
    return Case(
        "gathernd_tf", {"batch_dims": 1, "indice_dims": 3}, [x, i.reshape(3, 4, 1, 1)], [out]
    )


# ---- sampling ----


def _interp_args(mode: str, h: int, w: int, **kw: int) -> dict[str, Any]:
    base = {
        "shrink_factor": 0,
        "zoom_factor": 0,
        "pad_beg": 0,
        "pad_end": 0,
        "height": h,
        "width": w,
    }
    return {**base, **kw, "coordinate_transformation_mode": mode}


def _bilinear(x: np.ndarray, sy: np.ndarray, sx: np.ndarray) -> np.ndarray:
    """Sample planes at fractional rows and columns inside the image."""
    y0, x0 = np.floor(sy).astype(int), np.floor(sx).astype(int)
    y1, x1 = np.minimum(y0 + 1, x.shape[2] - 1), np.minimum(x0 + 1, x.shape[3] - 1)
    fy, fx = (sy - y0)[:, None], (sx - x0)[None]
    top = x[:, :, y0][..., x0] * (1 - fx) + x[:, :, y0][..., x1] * fx
    bottom = x[:, :, y1][..., x0] * (1 - fx) + x[:, :, y1][..., x1] * fx
    return (top * (1 - fy) + bottom * fy).astype(F)


def _positions(mode: str, size: int, out: int) -> np.ndarray:
    k = np.arange(out, dtype=np.float64)
    if mode == "pytorch_half_pixel" and out <= 1:
        return np.zeros(out)
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return np.clip((k + 0.5) * size / out - 0.5, 0, size - 1)
    if mode == "asymmetric":
        return np.minimum(k * size / out, size - 1)
    return k * (size - 1) / (out - 1) if out > 1 else k * 0


def _make_interp(mode: str, oh: int, ow: int) -> Maker:
    def make(rng):
        x = normal(rng, 2, 3, 6, 9)
        out = _bilinear(x.astype(np.float64), _positions(mode, 6, oh), _positions(mode, 9, ow))
        return Case("interp", _interp_args(mode, oh, ow), [x], [out], exact=False)

    return make


for _mode in ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"):
    for _h, _w in ((13, 20), (3, 9), (6, 4)):
        CASES[f"interp_{_mode}_{_h}x{_w}"] = _make_interp(_mode, _h, _w)
CASES["interp_pytorch_half_pixel_to_one"] = _make_interp("pytorch_half_pixel", 1, 1)


def _make_nearest(mode: str, dtype: str, oh: int, ow: int) -> Maker:
    def make(rng):
        x = normal(rng, 1, 2, 7, 10, scale=50)
        x = x if dtype == "fp32" else x.astype(np.int8) if dtype == "int8" else _bf16(x)

        def index(size: int, out: int) -> np.ndarray:
            k = np.arange(out)
            if mode == "nearest":
                return np.minimum((k.astype(F) * F(size / out)).astype(int), size - 1)
            return np.maximum(np.ceil((k + 0.5) * size / out - 1), 0).astype(int)

        out = x[:, :, index(7, oh)][..., index(10, ow)]
        return Case(
            "interp",
            _interp_args(mode, oh, ow),
            [x],
            [np.ascontiguousarray(out)],
            dtypes=[dtype],
            out_dtypes=[dtype],
        )

    return make


for _mode in ("nearest", "nearest_half_pixel"):
    for _type in ("fp32", "int8", "bf16"):
        CASES[f"interp_{_mode}_{_type}"] = _make_nearest(_mode, _type, 14, 5)
    CASES[f"interp_{_mode}_odd"] = _make_nearest(_mode, "fp32", 17, 23)


@case
def interp_zoom_and_crop(rng):
    x = normal(rng, 1, 2, 8, 9)
    inner = x[:, :, 1:-2, 1:-2].astype(np.float64)
    oh, ow = 5 + 4 * 2, 6 + 5 * 2
    out = _bilinear(inner, _positions("align_corners", 5, oh), _positions("align_corners", 6, ow))
    arguments = _interp_args("align_corners", 0, 0, zoom_factor=3, pad_beg=-1, pad_end=-2)
    return Case("interp", arguments, [x], [out], exact=False)


@case
def interp_shrink(rng):
    x = normal(rng, 1, 2, 9, 13)
    out = np.ascontiguousarray(x[:, :, ::4, ::4])
    return Case(
        "interp", _interp_args("align_corners", 0, 0, shrink_factor=4), [x], [out], exact=False
    )


def _make_grid(mode: int, padding: int, align: bool) -> Maker:
    def make(rng):
        x, grid = normal(rng, 2, 3, 5, 6), rng.uniform(-1.6, 1.6, (2, 4, 7, 2)).astype(F)

        def unnormalise(g: np.ndarray, size: int) -> np.ndarray:
            g = g.astype(np.float64)
            p = (g + 1) / 2 * (size - 1) if align else ((g + 1) * size - 1) / 2
            if padding == 2:
                low, high = (0, size - 1) if align else (-0.5, size - 0.5)
                span = high - low
                p = np.abs(p - low) % (2 * span)
                p = np.where(p > span, 2 * span - p, p) + low
            return np.clip(p, 0, size - 1) if padding else p

        px, py = unnormalise(grid[..., 0], 6), unnormalise(grid[..., 1], 5)
        padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (4, 4), (4, 4)))
        out = np.zeros((2, 3, 4, 7))
        for n in range(2):
            if mode == 1:
                iy = np.trunc(py[n] + np.copysign(0.5, py[n])).astype(int) + 4
                ix = np.trunc(px[n] + np.copysign(0.5, px[n])).astype(int) + 4
                out[n] = padded[n][:, iy, ix]
                continue
            y0, x0 = np.floor(py[n]).astype(int), np.floor(px[n]).astype(int)
            for dy in (0, 1):
                for dx in (0, 1):
                    weight = (1 - abs(py[n] - y0 - dy)) * (1 - abs(px[n] - x0 - dx))
                    out[n] += padded[n][:, y0 + dy + 4, x0 + dx + 4] * weight
        arguments = {"mode": mode, "padding_mode": padding, "align_corners": align}
        return Case("grid_sampler", arguments, [x, grid], [out.astype(F)], exact=False)

    return make


for _mode in (0, 1):
    for _padding in (0, 1, 2):
        for _align in (False, True):
            CASES[f"grid_{_mode}{_padding}{int(_align)}"] = _make_grid(_mode, _padding, _align)


def _columns(x, offsets, mask, kh, kw, s, p, d, g):
    n, c, h, w = x.shape
    oh, ow = ((v + 2 * p - (d * (k - 1) + 1)) // s + 1 for v, k in ((h, kh), (w, kw)))
    offsets = offsets.reshape(n, g, kh * kw, 2, oh, ow)
    mask = mask.reshape(n, g, kh * kw, oh, ow)
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.zeros((n, c, kh * kw, oh, ow))
    ys, xs = np.arange(oh)[:, None] * s - p, np.arange(ow)[None] * s - p
    for b in range(n):
        for ch in range(c):
            group = ch // (c // g)
            for t in range(kh * kw):
                py = ys + t // kw * d + offsets[b, group, t, 0]
                px = xs + t % kw * d + offsets[b, group, t, 1]
                good = (py > -1) & (px > -1) & (py < h) & (px < w)
                y0, x0 = np.floor(py).astype(int), np.floor(px).astype(int)
                for dy in (0, 1):
                    for dx in (0, 1):
                        weight = (1 - abs(py - y0 - dy)) * (1 - abs(px - x0 - dx))
                        iy, ix = np.clip(y0 + dy + 1, 0, h + 1), np.clip(x0 + dx + 1, 0, w + 1)
                        out[b, ch, t] += np.where(good, weight * padded[b, ch][iy, ix], 0)
                out[b, ch, t] *= mask[b, group, t]
    return out


def _deform_inputs(rng, g=2, kh=3, kw=2, s=2, p=1, d=1):
    x = normal(rng, 2, 4, 7, 8)
    oh, ow = ((v + 2 * p - (d * (k - 1) + 1)) // s + 1 for v, k in ((7, kh), (8, kw)))
    offsets = normal(rng, 2, 2 * g * kh * kw, oh, ow, scale=1.5)
    mask = rng.uniform(0, 1, (2, g * kh * kw, oh, ow)).astype(F)
    arguments = {
        "stride_h": s,
        "stride_w": s,
        "padding_t": p,
        "padding_l": p,
        "dilation_h": d,
        "dilation_w": d,
        "deform_group": g,
    }
    return x, offsets, mask, arguments, _columns(x, offsets, mask, kh, kw, s, p, d, g)


@case
def deform_im2col(rng):
    x, offsets, mask, arguments, columns = _deform_inputs(rng)
    arguments = {**arguments, "kernel_h": 3, "kernel_w": 2}
    out = columns.reshape(2, 4 * 6, -1, 1).astype(F)
    return Case("deform_im2col", arguments, [x, offsets, mask], [out], exact=False)


@case
def deform_conv2d(rng):
    """The vendor's product reads uninitialised memory: NaN now and then."""
    x, offsets, mask, arguments, columns = _deform_inputs(rng)
    weight, bias = normal(rng, 5, 4, 3, 2), normal(rng, 1, 5, 1, 1)
    out = np.einsum("ocf,ncfhw->nohw", weight.reshape(5, 4, 6), columns) + bias
    return Case(
        "deform_conv2d",
        arguments,
        [x, weight, bias, offsets, mask],
        [out.astype(F)],
        exact=False,
        vendor=False,
    )


@case
def instance_norm_plain(rng):
    """scale 1 and one image: the vendor's formula agrees."""
    x, bias = normal(rng, 1, 4, 6, 5), normal(rng, 1, 4, 1, 1)
    m, v = x.mean((2, 3), keepdims=True), x.var((2, 3), keepdims=True)
    return Case(
        "instance_norm",
        {"variance_epsilon": 1e-5},
        [x, np.ones((1, 4, 1, 1), F), bias],
        [((x - m) / np.sqrt(v + 1e-5) + bias).astype(F)],
        exact=False,
    )


@case
def instance_norm(rng):
    """The vendor uses scale[0] for all and the last image's statistics."""
    x, scale, bias = normal(rng, 3, 4, 6, 5), normal(rng, 1, 4, 1, 1), normal(rng, 1, 4, 1, 1)
    m, v = x.mean((2, 3), keepdims=True), x.var((2, 3), keepdims=True)
    return Case(
        "instance_norm",
        {"variance_epsilon": 1e-3},
        [x, scale, bias],
        [((x - m) / np.sqrt(v + 1e-3) * scale + bias).astype(F)],
        exact=False,
        vendor=False,
    )


def _make_roi(swap: bool) -> Maker:
    def make(rng):
        x = normal(rng, 1, 3, 12, 14)
        a = rng.uniform(0, 150, (9, 2))
        rois = np.concatenate([np.zeros((9, 1)), a, a + rng.uniform(-5, 90, (9, 2))], 1).astype(F)
        ph, pw, scale = 3, 4, F(0.0625)
        out = np.zeros((9, 3, ph, pw), F)
        for r, roi in enumerate(rois):
            x1, y1, x2, y2 = (int(np.floor(v * scale + F(0.5))) for v in roi[1:])
            h, w = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
            for i in range(ph):
                for j in range(pw):
                    ys = np.clip(
                        [int(np.floor(i * h / ph)) + y1, int(np.ceil((i + 1) * h / ph)) + y1], 0, 12
                    )
                    xs = np.clip(
                        [int(np.floor(j * w / pw)) + x1, int(np.ceil((j + 1) * w / pw)) + x1], 0, 14
                    )
                    block = x[0, :, ys[0] : ys[1], xs[0] : xs[1]].reshape(3, -1)
                    out[r, :, i, j] = np.maximum(block.max(1, initial=0), 0)
        inputs = [x, rois.reshape(1, 1, 9, 5)]
        arguments = {"pooled_h": ph, "pooled_w": pw, "spatial_scale": float(scale)}
        return Case("roi_pooling", arguments, inputs[::-1] if swap else inputs, [out])

    return make


CASES["roi_pooling"] = _make_roi(False)
CASES["roi_pooling_swapped"] = _make_roi(True)
