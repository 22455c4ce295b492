"""Integer arithmetic against an independent numpy model and the examples of the specification
(hw/cv18xx-tiu.md sections 3, 5; hw/cv18xx-tdma.md section 6.4). No vendor library needed.
"""

from __future__ import annotations

import numpy as np
import pytest
from sim.cases import ceil_div
from sim.simlib import Sim, compiler
from tpuforge.compiler.chip import CHIPS, Chip
from tpuforge.compiler.isa.cv18xx.stream import encode_tdma, encode_tiu, packet

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler")


def shift_round(x: np.ndarray, s: int) -> np.ndarray:
    """R with rounding, arithmetic: half towards +infinity, the increment wraps at 32 bits."""
    if s == 0:
        return x
    wrapped = ((x >> (s - 1)) + 1 + 2**31) % 2**32 - 2**31
    return wrapped >> 1


def quantise(acc: int, m: int, s: int) -> int:
    """Q of section 3.2 in plain integers."""
    if s < 0:
        acc, s = ((acc << -s) + 2**31) % 2**32 - 2**31, 0
    p = acc * m
    p += 2**30 if p >= 0 else 1 - 2**30
    q = abs(p) // 2**31 * (1 if p >= 0 else -1)
    size = (abs(q) + (2**s >> 1)) >> s
    return size if q >= 0 else -size


def put(sim: Sim, offset: int, x: np.ndarray, aligned: bool = True) -> None:
    """Store (n, c, h, w) bytes from lane 0 on."""
    lanes, (n, c, h, w) = sim.lmem.shape[0], x.shape
    plane = ceil_div(h * w, 16) * 16 if aligned else h * w
    for i in range(n):
        for k in range(c):
            at = offset + (i * ceil_div(c, lanes) + k // lanes) * plane
            sim.lmem[k % lanes, at : at + h * w] = x[i, k].view(np.uint8).ravel()


def get(sim: Sim, offset: int, shape: tuple[int, int, int, int]) -> np.ndarray:
    lanes, (n, c, h, w) = sim.lmem.shape[0], shape
    plane, out = ceil_div(h * w, 16) * 16, np.zeros(shape, np.int8)
    for i in range(n):
        for k in range(c):
            at = offset + (i * ceil_div(c, lanes) + k // lanes) * plane
            out[i, k] = sim.lmem[k % lanes, at : at + h * w].view(np.int8).reshape(h, w)
    return out


def tiu(chip: Chip, **fields: int) -> bytes:
    f = {"cmd_en": 1, "cmd_id_en": 1, "cmd_id_tpu": 1, "opt_relu_typ": 0, "opt_res_shift": 0}
    return packet(chip, "tiu", encode_tiu(chip.generation, f | fields))


def dims(prefix: str, n: int, c: int, h: int, w: int) -> dict[str, int]:
    return {f"{prefix}_n": n, f"{prefix}_c": c, f"{prefix}_h": h, f"{prefix}_w": w}


QUANTISED = [(1, 0x40000000, 0, 1), (3, 0x40000000, 0, 2), (-1, 0x40000000, 0, 0),
             (-3, 0x40000000, 0, -1), (1000, 0x55555555, 4, 42), (7, 0x7FFFFFFF, 1, 4),
             (-1000, 0x55555555, 4, -42), (12345678, 0x60000000, 20, 9), (5, 0x7FFFFFFF, 1, 3),
             (-5, 0x7FFFFFFF, 1, -3), (100, -(2**31), 3, -13), (3, 0x40000000, -4, 24)]  # fmt: skip


@pytest.mark.parametrize("name", CHIPS)
def test_quantised_examples(name: str) -> None:
    """The table of section 3.2, through the bias of a 1x1 depthwise with zero input."""
    chip, sim = CHIPS[name], Sim(name)
    for acc, m, s, expected in QUANTISED:
        assert quantise(acc, m, s) == expected
        if s < 0 and chip.generation == "A":
            continue
        sim.lmem[:] = 0
        block = np.array([acc, m], np.int64).astype("<i4").tobytes() + bytes([s & 63])
        sim.lmem[0, 256:265] = np.frombuffer(block, np.uint8)
        one = {"opd1_n": 1, "opd1_c": 1, "opd1_h": 1, "opd1_w": 1}
        sim.run(tiu(chip, tsk_typ=1, tsk_eu_typ=2, tsk_opd_num=3, opt_chl_quan=1, opt_opd2_seg=1,
                    opt_opd0_sign=1, opt_res0_sign=1, short_opd2_str=2, opd1_addr=128,
                    opd2_addr=256, res0_addr=512, **dims("res0", 1, 1, 1, 1),
                    **dims("opd0", 1, 1, 1, 1), **dims("opd2", 1, 1, 1, 1), **one))  # fmt: skip
        assert sim.lmem[0, 512:513].view(np.int8)[0] == expected, (acc, m, s)


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("s", [0, 1, 4, 7])
def test_multiply_shift(name: str, s: int) -> None:
    chip, sim, rng = CHIPS[name], Sim(name), np.random.default_rng(s)
    shape = (2, 5, 3, 21)
    a, b = (rng.integers(-128, 128, shape, dtype=np.int8) for _ in range(2))
    put(sim, 0, a)
    put(sim, 4096, b)
    groups = ceil_div(5, chip.lanes)
    strides = {f"{o}_{k}_str": v for o in ("res0", "opd0", "opd1")
               for k, v in (("n", 64 * groups), ("c", 64), ("h", 21), ("w", 1))}  # fmt: skip
    codes = {f"short_{o}_str": 3 for o in ("res0", "opd0", "opd1", "opd2")}
    sim.run(tiu(chip, tsk_typ=3, tsk_eu_typ=0, tsk_opd_num=2, opt_opd2_seg=1, opt_opd0_sign=1,
                opt_res0_sign=1, opt_res_shift=s, opd1_addr=4096, res0_addr=8192,
                **dims("res0", *shape), **dims("opd0", *shape), **dims("opd1", *shape), **strides,
                **codes))  # fmt: skip
    expected = np.clip(shift_round(a.astype(np.int64) * b, s), -128, 127)
    assert (get(sim, 8192, shape) == expected).all()


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("ic, oc, size, kernel, stride, pad", [
    (3, 9, 17, 3, 2, 1), (8, 16, 9, 1, 1, 0), (16, 33, 7, 3, 1, 1), (5, 7, 11, 5, 3, 2),
])  # fmt: skip
def test_quantised_convolution(name: str, ic: int, oc: int, size: int, kernel: int, stride: int,
                               pad: int) -> None:  # fmt: skip
    chip, sim, rng = CHIPS[name], Sim(name), np.random.default_rng(ic)
    x = rng.integers(-128, 128, (1, ic, size, size), dtype=np.int8)
    w = rng.integers(-128, 128, (oc, kernel, kernel, ic), dtype=np.int8)
    bias = rng.integers(-5000, 5000, oc)
    mult, right = rng.integers(2**30, 2**31, oc), rng.integers(4, 10, oc)
    out = (size + 2 * pad - kernel) // stride + 1
    put(sim, 0, x)
    put(sim, 8192, w.reshape(1, oc, kernel * kernel, ic), aligned=False)
    for c in range(oc):
        block = np.array([bias[c], mult[c]]).astype("<i4").tobytes() + bytes([right[c]])
        at = 24576 + c // chip.lanes * 9
        sim.lmem[c % chip.lanes, at : at + 9] = np.frombuffer(block, np.uint8)
    pads = {f"conv_opd0_{k}_pad": pad for k in ("up", "dn", "lf", "rt")}
    sim.run(tiu(chip, tsk_typ=0, tsk_opd_num=3, opt_chl_quan=1, opt_opd2_seg=1, opt_opd0_sign=1,
                opt_res0_sign=1, short_opd1_str=1, short_opd2_str=2, opd1_n=ic, opd1_c=oc,
                opd1_h=kernel, opd1_w=kernel, conv_op_x_str=stride, conv_op_y_str=stride,
                opd1_addr=8192, opd2_addr=24576, res0_addr=16384, **pads,
                **dims("opd0", 1, ic, size, size), **dims("res0", 1, oc, out, out),
                **dims("opd2", 1, oc, 1, 1)))  # fmt: skip
    padded = np.pad(x[0].astype(np.int64), ((0, 0), (pad, pad), (pad, pad)))
    got = get(sim, 16384, (1, oc, out, out))[0]
    for c in range(oc):
        for i in range(out):
            for j in range(out):
                at = padded[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
                acc = int((at * w[c].transpose(2, 0, 1)).sum()) + int(bias[c])
                value = max(-128, min(127, quantise(acc, int(mult[c]), int(right[c]))))
                assert got[c, i, j] == value


EXAMPLE = (
    "0001ff02fe03000005000100807f0404 00000000000000000000000000000000 0a0a0a0a0a",
    "20000010000000000000000000000000 9e005900000000000000000000000000"
    "14103235283000f1ff0f000800f8ff3f 00000000088220f87f00000000000000",
)
EXAMPLE_BF16 = (
    "803f80bf00004940003e0000003f00c0 0041813f823f833f00401040000080be",
    "200000207f8000000000000000000000 2d000000000000000000000000000000"
    "8b3f73b1e23501009300000001020406 00200001000000000000000000000000",
)


@pytest.mark.parametrize("e, example", [(1, EXAMPLE), (2, EXAMPLE_BF16)])
def test_compression_examples(e: int, example: tuple[str, str]) -> None:
    """Section 6.4, both ways."""
    chip, (data, stream) = CHIPS["cv181x"], (bytes.fromhex(x) for x in example)
    count = len(data) // e
    f = {"compress_en": 1, "src_fmt": e, "dst_fmt": e, "cmprs_fmt": int(e == 1), "src_n": 1,
         "src_w": count, "dst_w": count, "src_h_stride": len(data), "dst_h_stride": len(data),
         "src_c_stride_low": len(data), "dst_c_stride_low": len(data), "bar_en": 1,
         "src_n_stride": len(data), "dst_n_stride": len(data)}  # fmt: skip
    store = f | {"cmd_id": 1, "trans_dir": 1, "compress_bias0": 0 if e == 1 else 127,
                 "compress_zero_guard": int(e == 2)}  # fmt: skip
    sim, memory = Sim("cv181x"), np.zeros(256, np.uint8)
    sim.lmem[0, : len(data)] = np.frombuffer(data, np.uint8)
    sim.run(packet(chip, "tdma", encode_tdma(store)), {0: memory})
    assert memory[: len(stream)].tobytes() == stream and not memory[len(stream) :].any()
    load = f | {"cmd_id": 1, "trans_dir": 0, "dst_base_addr_low": 4096}
    sim.run(packet(chip, "tdma", encode_tdma(load)), {0: memory})
    assert sim.lmem[0, 4096 : 4096 + len(data)].tobytes() == data
