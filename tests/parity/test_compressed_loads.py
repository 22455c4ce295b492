"""Decompressing loads of our streams (hw/cv18xx-tdma.md sections 4, 6) on the vendor's runtime and
on our simulator, all chips: the elements go to the lanes as in an ordinary load."""

from __future__ import annotations

import numpy as np
import pytest
from format.sample import tiny
from sim import simlib
from tpuforge.compiler.chip import CHIPS
from tpuforge.compiler.format import cvimodel
from tpuforge.compiler.format.cvimodel import DType, Section, Tensor, address
from tpuforge.compiler.isa import encode_tdma
from tpuforge.compiler.isa.cv18xx.compress import bf16_exponents, compress_int8, decompress
from tpuforge.compiler.isa.cv18xx.stream import packet

pytestmark = pytest.mark.parity

LOAD, STORE, BYTE_COPY = 0, 1, 1
IN, OUT, WEIGHT = 3, 4, 1


def laplace(count, scale):
    values = np.round(np.random.default_rng(count).laplace(0, scale, count))
    return np.clip(values, -128, 127).astype(np.int8)


def shape(side, c, row, stride, element=1):
    return {f"{side}_c": c, f"{side}_w": row, f"{side}_c_stride": stride,
            f"{side}_h_stride": row * element, f"{side}_n_stride": 1 << 20}  # fmt: skip


def commands(chip, *words):
    """The stream of these fields; every DDR address gets the start of DDR."""
    parts = []
    for number, fields in enumerate(words, 1):
        f = {"vld": 1, "bar_en": 1, "cmd_id": number} | fields
        side = "dst" if f["trans_dir"] == STORE else "src"
        f[f"{side}_base_addr"] = f.get(f"{side}_base_addr", 0) + chip.ddr_start
        parts.append(packet(chip, "tdma", encode_tdma(f)))
    return b"".join(parts)


def run_everywhere(oracle, chip, stream, weights, given, out_bytes):
    """Output buffer after the stream: the vendor's runtime and our simulator."""
    model = tiny(chip.name)
    model.sections = [Section("weight", "weight", weights), Section("cmdbuf", "run", stream)]
    model.programs[0].tensors = [
        Tensor("in", address(IN), DType.INT8, (1, 1, 1, given.size)),
        Tensor("out", address(OUT), DType.INT8, (1, 1, 1, out_bytes)),
    ]
    theirs = oracle.vendor_run(cvimodel.write(model), {"in": given})["out"].tobytes()
    out = np.zeros(out_bytes, np.uint8)
    constants = np.frombuffer(weights, np.uint8)
    regions = {WEIGHT: constants, IN: given.view(np.uint8), OUT: out}
    simlib.Sim(chip.name).run(stream, regions)
    return theirs, out.tobytes()


@pytest.fixture
def simulator():
    if simlib.compiler() is None:
        pytest.skip("no C compiler for the simulator: install gcc or set CC")


CASES = (  # channels of L lanes, row, local stride, offset, first lane, scale, options
    (1, 0, 13, 13, 0, 0, 2, {}),
    (1, 0, 32768, 32768, 0, 0, 12, {}),
    (1, 0, 20000, 20000, 1001, 0, 3, {"signed": False}),
    (3, 1, 333, 1000, 7, 0, 12, {}),
    (2, -1, 577, 601, 5, 1, 40, {}),
    (2, 0, 9, 48, 3, 0, 5, {"bias0": 3, "bias1": 5}),
    (4, 1, 100, 117, 16, 0, 90, {"bias0": 127, "bias1": 127}),
)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
def test_load(oracle, simulator, chip, case):
    """(1, c, 1, row) with any stride, offset and first lane, local memory compared whole: the bytes
    beside the rows keep their value."""
    groups, more, row, stride, offset, lane, scale, options = case
    c, memory = groups * chip.lanes + more, chip.lanes * 32768
    data = laplace(c * row, scale)
    weights = bytes(48) + compress_int8(data, **options) + bytes(16)
    before = np.random.default_rng(5).integers(-128, 128, memory, np.int8)
    load = {
        "trans_dir": LOAD, "compress_en": 1, "cmprs_fmt": int(options.get("signed", True)),
        "src_base_addr": 48, "src_base_reg_sel": WEIGHT, "dst_base_addr": lane * 32768 + offset,
        **shape("src", c, row, row), **shape("dst", c, row, stride),
    }  # fmt: skip
    copy = {"trans_fmt": BYTE_COPY, "src_n_stride": memory}
    stream = commands(
        chip,
        {"trans_dir": LOAD, "src_base_reg_sel": IN, **copy},
        load,
        {"trans_dir": STORE, "dst_base_reg_sel": OUT, **copy},
    )
    expected = before.reshape(chip.lanes, 32768).copy()
    for i, values in enumerate(data.reshape(c, row), lane):
        at = offset + i // chip.lanes * stride
        expected[i % chip.lanes, at : at + row] = values
    theirs, ours = run_everywhere(oracle, chip, stream, weights, before, memory)
    assert theirs == expected.tobytes()
    assert ours == expected.tobytes()


@pytest.mark.parametrize("guard", (0, 1))
@pytest.mark.parametrize("bf16", (0, 1))
@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
def test_compressing_store(oracle, simulator, chip, bf16, guard):
    """What the hardware compresses we decode, and for bytes it is our stream (guard: signed).
    The vendor's simulator wants packed strides in DDR here, other than for loads."""
    lanes, row = chip.lanes, 601
    values = laplace(lanes * row * 2, 6)
    if bf16:
        rng = np.random.default_rng(guard)
        spread = np.float32(2.0) ** rng.integers(-9, 9, lanes * row).astype(np.float32)
        halves = (rng.standard_normal(lanes * row).astype("<f4") * spread).view(np.uint32) >> 16
        halves[rng.random(halves.size) < 0.3 * guard] = 0
        halves[100 : 100 + 300 * guard] = 0  # whole blocks
        values = halves.astype("<u2").view(np.int8)
    e = 1 + bf16
    data = values[: lanes * row * e]
    local = shape("src", lanes, row, row * e, e)
    formats = {"src_fmt": e, "dst_fmt": e}
    room = 2 * data.size + 1024
    stream = commands(
        chip,
        {"trans_dir": LOAD, "src_base_reg_sel": IN, **formats, **local,
         **shape("dst", lanes, row, row * e, e)},
        {"trans_dir": STORE, "dst_base_reg_sel": OUT, "compress_en": 1, **formats, **local,
         **shape("dst", lanes, row, row * e, e), "dst_n_stride": data.size,
         "cmprs_fmt": 0 if bf16 else guard,
         "compress_bias0": 127 * bf16, "compress_zero_guard": guard * bf16},
    )  # fmt: skip
    theirs, ours = run_everywhere(oracle, chip, stream, bytes(16), data, room)
    for stored in (theirs, ours):
        assert decompress(stored, lanes * row) == data.tobytes()
        if not bf16:
            assert stored.startswith(compress_int8(data, signed=bool(guard)))


@pytest.mark.parametrize("guard", (False, True))
def test_exponents_are_a_permutation(guard):
    """Every bias: no exponent is lost in the table of the decoder."""
    for bias in range(256):
        assert len(set(bf16_exponents(bias, guard).tolist())) == 256, bias
