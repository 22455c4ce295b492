"""The cost model against zoo/baseline.json and against sums done one by one."""

import json
import random

import numpy as np
import pytest
from tpuforge.compiler import isa
from tpuforge.compiler.chip import CHIPS, chip_named
from tpuforge.compiler.errors import InternalError, UserInputError
from tpuforge.compiler.format import cvimodel
from tpuforge.compiler.isa.cv18xx import cost
from tpuforge.compiler.isa.cv18xx.stream_cost import stream_cost

CV181X, CV183X = CHIPS["cv181x"], CHIPS["cv183x"]

#: print precision of the baseline; one file of 22 (mobilenet_v2 on cv180x) is 0.0002 ms beyond it
TOLERANCE_MS = 0.0005 + 0.0003


def test_vendor_baseline(small_vendor_name, shared):
    check_baseline(small_vendor_name, shared)


@pytest.mark.model
def test_large_vendor_baseline(large_vendor_name, shared):
    check_baseline(large_vendor_name, shared)


def check_baseline(vendor_name, shared):
    """Counts and DDR bytes exactly, times within the printed digits."""
    expected = json.loads((shared / "zoo/baseline.json").read_text())[vendor_name]
    model = cvimodel.read((shared / f"zoo/vendor/{vendor_name}.cvimodel").read_bytes())
    chip = chip_named(model.chip)
    weights = next(s.contents() for s in model.sections if s.kind == "weight")
    (stream,) = (s.contents() for s in model.sections if s.kind == "cmdbuf")
    got = stream_cost(chip, isa.parse_stream(chip, stream), weights)
    assert got.tiu_commands == expected["tiu_commands"]
    assert got.tdma_commands == expected["tdma_commands"]
    assert got.ddr_read_bytes == expected["ddr_read_bytes"]
    assert got.ddr_write_bytes == expected["ddr_write_bytes"]
    times = {
        "est_ms": got.total_cycles,
        "est_tiu_busy_ms": got.tiu_cycles,
        "est_tdma_busy_ms": got.tdma_cycles,
    }
    for name, cycles in times.items():
        assert got.ms(cycles) == pytest.approx(expected[name], abs=TOLERANCE_MS), name
    assert got.total_cycles >= max(got.tiu_cycles, got.tdma_cycles)
    assert got.bounds.tiu_cycles >= got.bounds.mac_cycles > 0
    assert got.total_cycles >= got.bounds.ddr_cycles * 0.75  # compressed loads count 80 %


def slow_traffic(start, piece, dims, gap, burst):
    """ddr_traffic from its description, byte by byte."""
    merging, pieces = True, [(0, piece)]
    for count, stride in dims:
        if count == 1:
            continue
        length = pieces[0][1]
        if merging and 0 <= stride - length <= gap:
            pieces = [(0, length + (count - 1) * stride)]
        else:
            merging = False
            pieces = [(a + i * stride, length) for i in range(count) for a, _ in pieces]
    total = 0
    for a, length in pieces:
        at, end = (start + a) // 16 * 16, start + a + length
        while at < end:
            stop = min(at + burst, (at // 4096 + 1) * 4096, end)
            total += len({b // 64 for b in range(at, stop)}) * 64
            at = stop
    return total


def test_ddr_traffic_is_the_sum_of_its_bursts():
    rng = random.Random(3)
    for _ in range(300):
        row, rows, planes, batches = (rng.randint(1, m) for m in (700, 5, 4, 2))
        row_stride = row + rng.choice((0, 0, 0, 3, 16, 17, 200))
        plane_stride = rows * row_stride + rng.choice((0, 0, 8, 40, 5000))
        batch_stride = planes * plane_stride + rng.choice((0, 0, 999))
        start, store = rng.randrange(20000), rng.random() < 0.5
        beats = rng.choice((16, 8))
        got = cost.ddr_traffic(row, rows, row_stride, planes, plane_stride, batches, batch_stride,
                               start=start, store=store, burst_beats=beats)  # fmt: skip
        dims = ((rows, row_stride), (planes, plane_stride), (batches, batch_stride))
        assert got == slow_traffic(start, row, dims, 0 if store else 16, beats * 16)


def test_ddr_traffic_examples():
    assert cost.ddr_traffic(16, 100, 1000) == 100 * 64 + 64 * sum(
        i * 1000 % 64 > 48 for i in range(100)
    )  # short strided rows cost a unit each
    assert cost.ddr_traffic(4096) == 4096
    assert cost.ddr_traffic(4096, start=16) == 15 * 320 + 256 + 64
    assert cost.ddr_traffic(256, 4, 0, start=0) == 4 * 256  # broadcast: read four times
    assert cost.transposed_matrix_traffic(8, 128, 1024) == 8 * 128


def test_local_words():
    assert cost.local_words(n=1, c=3, h=5, w=7) == 3 * 3
    assert cost.local_words(n=1, c=3, h=5, w=7, packed=False) == 3 * 5
    assert cost.local_words(n=2, c=3, h=5, w=9, elem_bytes=2, packed=False) == 2 * 3 * 5 * 2


def test_tdma_takes_the_slower_side():
    ddr = cost.tdma_cycles(CV181X, ddr_bytes=56000, local_words=10)
    assert ddr == pytest.approx(56000 / (0.75 * 1866 * 2 / 500) + 100)
    assert cost.tdma_cycles(CV181X, ddr_bytes=64, local_words=500) == 600


def test_conv_formula():
    kw = dict(n=1, oc=64, oh=28, ow=28, ic=32, kh=3, kw=3)
    assert cost.conv_cycles(CV181X, double=True, **kw) == 41 + 8 * 49 * (9 * 16 + 1) + 31
    assert cost.conv_cycles(CHIPS["cv180x"], double=True, **kw) == 41 + 32 * 49 * 289 + 31
    assert cost.conv_cycles(CV181X, quant=False, bias16=True, ps32=1, **kw) == (
        41 + 8 * 49 * (9 * 32 + 2 + 4 + 4) + 12
    )
    assert cost.conv_cycles(CV183X, n=1, oc=32, oh=1, ow=1, ic=4, kh=1, kw=1) == 41 + 16 + 31
    few = dict(n=1, oc=8, oh=4, ow=4, ic=1, kh=7, kw=7, x_stride=2)  # fetching 16 columns dominates
    assert cost.conv_cycles(CV181X, **few) == 41 + 49 * 1 + 49 * (3 - 1) + 1 + 31


def test_other_formulas():
    dw = dict(n=1, c=16, oh=7, ow=7)
    assert cost.depthwise_cycles(CV181X, kh=3, kw=3, **dw) == 26 + 2 * 4 * (17 + 1) + 31
    assert cost.depthwise_cycles(CV181X, kh=1, kw=1, quant=False, **dw) == 26 + 8 * (1 + 3) + 12
    assert cost.max_pool_cycles(CV181X, kh=3, kw=3, x_stride=2, **dw) == 26 + 8 * (25 + 2)
    one = dict(n=1, c=8, oh=1, ow=1, kh=7, kw=7)
    assert cost.avg_pool_cycles(CV181X, **one) == 26 + 49 + 4 + 12
    assert cost.matrix_cycles(
        CV181X, rows=1, inner=64, res_c=4, res_w=16, quant=True, bias=True
    ) == (41 + 64 + 2 + 4 + 31)
    ew = dict(n=1, c=8, h=4, w=4)
    assert cost.arith_cycles(CV181X, "mul", const=True, res16=True, **ew) == 26 + 3.5 + 12
    assert cost.arith_cycles(CV181X, "mul", const=True, **ew) == 26 + 5.5 + 12
    assert cost.arith_cycles(CV181X, "add", const=True, opd16=True, **ew) == 26 + 6.5 + 12
    assert cost.arith_cycles(CV181X, "max", res_c_stride=20, **ew) == 26 + 3 * 30 / 16 + 12
    assert cost.lookup_cycles(CV181X, **ew) == 26 + 19 + 12
    assert cost.mdsum_cycles(CV183X, **ew) == 26 + 3 + 12
    with pytest.raises(InternalError, match="frobnicate"):
        cost.arith_cycles(CV181X, "frobnicate", **ew)


def make(chip, *words):
    """A stream of ("tiu"|"tdma", fields)."""
    data = b""
    for engine, fields in words:
        body = (
            isa.encode_tdma(fields)
            if engine == "tdma"
            else isa.encode_tiu(chip.generation, {"cmd_en": 1, "cmd_id_en": 1, **fields})
        )
        data += isa.packet(chip, engine, body)
    return isa.parse_stream(chip, data)


COPY = dict(tsk_typ=3, tsk_eu_typ=10, res0_c=8, opt_relu_typ=0)
LOAD = dict(vld=1, bar_en=1, src_c=8, src_h=1, src_w=160, dst_c=8, dst_h=1, dst_w=160,
            src_c_stride=160, src_h_stride=160, dst_c_stride=160, dst_h_stride=160)  # fmt: skip


def test_timeline_waits_for_ids():
    stream = make(
        CV181X,
        ("tdma", {**LOAD, "cmd_id": 1}),
        ("tiu", {**COPY, "cmd_id_tpu": 1, "cmd_id_gdma": 3}),  # 2 is a gap: 4 satisfies 3
        ("tdma", {**LOAD, "cmd_id": 4}),
        ("tdma", {**LOAD, "cmd_id": 5, "wait_id_tpu": 1}),
    )
    got = stream_cost(CV181X, stream)
    load, copy = got.cycles[0], got.cycles[1]
    np.testing.assert_allclose(got.start, [0, 2 * load, load, 2 * load + copy])
    assert got.total_cycles == pytest.approx(3 * load + copy)
    assert got.ddr_read_bytes == 3 * 1280


def test_dead_stream():
    stream = make(
        CV181X,
        ("tiu", {**COPY, "cmd_id_tpu": 1, "cmd_id_gdma": 1}),
        ("tdma", {**LOAD, "cmd_id": 1, "wait_id_tpu": 1}),
    )
    with pytest.raises(UserInputError, match=r"command 0 .* waits for id 1.*command 1"):
        stream_cost(CV181X, stream)


def test_empty_stream():
    got = stream_cost(CV181X, [])
    assert (got.total_cycles, got.ddr_read_bytes, got.tiu_commands) == (0, 0, 0)


def test_compressed_load_beyond_the_weights():
    stream = make(CV181X, ("tdma", {**LOAD, "cmd_id": 1, "compress_en": 1, "src_base_reg_sel": 1}))
    assert stream_cost(CV181X, stream).ddr_read_bytes == 1024  # assumed: 80 %
    weights = (320).to_bytes(3, "little") + bytes(13) + bytes(80 + 320)
    assert stream_cost(CV181X, stream, weights).ddr_read_bytes == 16 + 80 + 320
    with pytest.raises(UserInputError, match="8 bytes"):
        stream_cost(CV181X, stream, bytes(8))
