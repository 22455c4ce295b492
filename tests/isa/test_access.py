"""access.py against the simulator: an instruction changes only bytes of its write regions, and
bytes outside its regions have no influence on the result.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from tpuforge.compiler import isa
from tpuforge.compiler.chip import CHIPS, chip_named
from tpuforge.compiler.format import cvimodel
from tpuforge.compiler.isa.cv18xx.access import accesses

SIMLIB = Path(__file__).resolve().parents[1] / "sim" / "simlib.py"
KINDS_TIU = ("tsk_typ", "tsk_eu_typ", "tsk_opd_num", "ps32_md", "opt_chl_quan", "opd_typ",
             "opt_opd1_const", "opt_res0_seg")  # fmt: skip
KINDS_TDMA = ("trans_dir", "spec_func", "sys_dtype", "compress_en", "src_fmt", "dst_fmt")
PER_KIND = 3


@pytest.fixture(scope="module")
def simlib():
    """The simulator binding of tests/sim."""
    spec = importlib.util.spec_from_file_location("isa_simlib", SIMLIB)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.compiler() is None:
        pytest.skip("no C compiler")
    return module


class Checker:
    """Runs single commands on one chip."""

    def __init__(self, simlib, chip, seed=0):
        self.chip, self.sim = chip, simlib.Sim(chip.name)
        self.rng = np.random.default_rng(seed)
        self.before = self.rng.integers(0, 256, self.sim.lmem.shape, np.uint8)

    def run(self, stream, memory, ddr):
        self.sim.lmem[...] = memory
        ddr = {k: v.copy() for k, v in ddr.items()}
        self.sim.run(stream, ddr)
        return self.sim.lmem.copy().ravel(), ddr

    def check(self, engine, fields, ddr=None):
        ids = {"cmd_id_tpu": 1, "cmd_id_gdma": 0, "cmd_en": 1, "cmd_id_en": 1}
        if engine == "tdma":
            body = isa.encode_tdma({**fields, "vld": 1, "bar_en": 1, "cmd_id": 1, "wait_id_tpu": 0})
        else:
            body = isa.encode_tiu(self.chip.generation, {**fields, **ids})
        stream = isa.packet(self.chip, engine, body)
        (command,) = isa.parse_stream(self.chip, stream)
        inside = {True: np.zeros(self.before.size, bool), False: np.zeros(self.before.size, bool)}
        for region in accesses(self.chip, command):
            inside[region.write][region.bytes(self.chip)] = True
        ddr = ddr or {}
        first, ddr_first = self.run(stream, self.before, ddr)
        changed = first != self.before.ravel()
        assert not (changed & ~inside[True]).any(), "writes outside its write regions"
        other = self.before.ravel().copy()
        free = ~(inside[True] | inside[False])
        other[free] ^= self.rng.integers(1, 256, int(free.sum()), np.uint8)
        second, ddr_second = self.run(stream, other.reshape(self.before.shape), ddr)
        written = inside[True]
        assert (first[written] == second[written]).all(), "reads outside its read regions"
        for k in ddr:
            assert (ddr_first[k] == ddr_second[k]).all(), "stores bytes outside its read regions"
        return changed.any() or any((ddr_first[k] != ddr[k]).any() for k in ddr)


@pytest.mark.parametrize(
    "name",
    ["tiny_resnet_cv180x", "tiny_mobilenet_cv181x", "mobilenet_v2_cv181x", "resnet18_cv181x",
     "squeezenet1_1_cv183x", "mobilenet_v2_cv183x"],
)  # fmt: skip
def test_vendor_commands(name, shared, simlib):
    """A few commands of every kind of a vendor model."""
    model = cvimodel.read((shared / f"zoo/vendor/{name}.cvimodel").read_bytes())
    chip = chip_named(model.chip)
    weights = next(s.contents() for s in model.sections if s.kind == "weight")
    (stream,) = (s.contents() for s in model.sections if s.kind == "cmdbuf")
    checker, seen, effective = Checker(simlib, chip), {}, 0
    ddr = {k: np.random.default_rng(k).integers(0, 256, 1 << 20, np.uint8) for k in range(8)}
    ddr[1] = np.frombuffer(weights, np.uint8)
    for c in isa.parse_stream(chip, stream):
        kinds = KINDS_TIU if c.engine == "tiu" else KINDS_TDMA
        kind = tuple(c.fields[k] for k in kinds)
        seen[c.engine, kind] = seen.get((c.engine, kind), 0) + 1
        if seen[c.engine, kind] > PER_KIND:
            continue
        used = (
            {c.fields["src_base_reg_sel"], c.fields["dst_base_reg_sel"]}
            if c.engine == "tdma"
            else ()
        )
        effective += checker.check(c.engine, c.fields, {k: ddr[k] for k in used})
    assert effective > len(seen) // 2 > 2


BASE = dict(tsk_opd_num=2, opt_res_shift=0, opt_relu_typ=0, opt_opd0_sign=1, opt_opd1_sign=1,
            opt_res0_sign=1, opt_shift_typ=1, opt_opd2_seg=1)  # fmt: skip
CONV = dict(BASE, opd0_n=2, opd0_c=5, opd0_h=6, opd0_w=7, opd1_n=5, opd1_c=11, opd1_h=3, opd1_w=3,
            opd1_addr=0x1000, short_opd1_str=1, short_opd2_str=2, opd2_addr=0x1800, opd2_c=11,
            opd2_h=1, opd2_w=1, res0_n=2, res0_c=11, res0_h=4, res0_w=5,
            res0_addr=0x2000)  # fmt: skip
DEPTHWISE = dict(CONV, tsk_typ=1, tsk_eu_typ=2, opd0_c=11, opd1_n=1, short_opd1_str=0)
ARITH = dict(BASE, tsk_typ=3, short_res0_str=3, short_opd0_str=3, short_opd1_str=3,
             short_opd2_str=3, res0_addr=0x2000, opd1_addr=0x1000, opd0_b_str=512, opd1_b_str=512,
             res0_b_str=512)  # fmt: skip
for _side in ("res0", "opd0", "opd1", "opd2"):
    ARITH |= {f"{_side}_{d}": v for d, v in zip("nchw", (2, 11, 3, 4), strict=True)}
    ARITH |= {f"{_side}_{d}_str": v for d, v in zip("nchw", (256, 32, 9, 2), strict=True)}
MATRIX = dict(BASE, tsk_typ=2, opt_opd2_seg=0, opd0_n=3, opd0_c=4, opd0_w=16, opd1_n=60, opd1_c=5,
              opd1_w=12, opd1_addr=0x1000, res0_n=3, res0_c=5, res0_w=16, res0_addr=0x4000,
              opd2_n=1, opd2_c=5, opd2_w=16, opd2_addr=0x3800)  # fmt: skip
BF16 = dict(opd_typ=1, opt_shift_typ=0, opt_res0_sign=0, opt_opd0_sign=0, opt_opd1_sign=0)


def rows(chip, elem=1):
    """Bytes of the three result rows of MATRIX."""
    return 3 * 16 * elem * -(-5 // chip.lanes)


@pytest.mark.parametrize("chip", [CHIPS["cv183x"], CHIPS["cv181x"], CHIPS["cv180x"]])
def test_made_up_commands(chip, simlib):
    """Forms that the vendor's INT8 models do not contain."""
    groups = -(-11 // chip.lanes)
    plane = 2 * 32 * groups  # bytes of CONV's 8-bit result
    bias = dict(tsk_opd_num=3, opt_opd2_seg=0, opd2_b_str=groups)
    bf_bias = dict(BF16, tsk_opd_num=3, opt_opd2_seg=0, opd2_b_str=2 * groups)
    table = dict(BASE, tsk_typ=3, opt_shift_typ=0, opt_opd0_sign=0, opt_opd1_sign=0,
                 opt_res0_sign=0, opt_opd2_seg=0, opd0_c=11, opd0_h=3, opd0_w=5, res0_c=11,
                 res0_h=3, res0_w=5, res0_addr=0x2000, opd1_addr=0x1000, opd1_c=chip.lanes,
                 opd1_h=16, opd1_w=16)  # fmt: skip
    table |= {"tens_lookup": 1} if chip.generation == "A" else {"tsk_eu_typ": 12}
    cases = [
        CONV, {**CONV, **bias}, {**CONV, **BF16}, {**CONV, **bf_bias},
        {**CONV, "opt_chl_quan": 1}, {**CONV, "opt_chl_quan": 1, "tsk_opd_num": 3},
        {**CONV, "opt_opd1_const": 1},
        *({**CONV, "ps32_md": m, "res0_b_str": plane} for m in (1, 2, 3)),
        *({**CONV, **BF16, "ps32_md": m, "res0_b_str": 2 * 48 * groups} for m in (1, 2, 3)),
        DEPTHWISE, {**DEPTHWISE, **bias}, {**DEPTHWISE, "opt_chl_quan": 1},
        {**DEPTHWISE, **bf_bias, "opt_shift_typ": 1, "opt_opd1_sign": 1},
        {**DEPTHWISE, "tsk_eu_typ": 0, "tsk_opd_num": 1},
        {**DEPTHWISE, "tsk_eu_typ": 1, "opt_opd1_const": 1, "opt_opd1_sign": 0, "opd1_addr": 3},
        {**ARITH, "tsk_eu_typ": 0}, {**ARITH, "tsk_eu_typ": 0, "opt_res0_seg": 0},
        {**ARITH, "tsk_eu_typ": 1, "opt_res_add": 1, "opt_left_shift": 1},
        {**ARITH, "tsk_eu_typ": 2, "opt_opd0_seg": 0, "opt_opd1_seg": 0},
        {**ARITH, "tsk_eu_typ": 3, "opt_opd0_seg": 0, "opt_opd1_seg": 0, "opt_res0_seg": 0},
        {**ARITH, "tsk_eu_typ": 4, "opd1_c_str": 0, "opd1_h_str": 0},
        {**ARITH, "tsk_eu_typ": 10, "tsk_opd_num": 1, "opt_shift_typ": 0, "opt_opd0_sign": 0,
         "opt_res0_sign": 0, "opt_opd1_sign": 0},
        {**ARITH, "tsk_eu_typ": 0, "res0_addr": 0x8000 + 0x2000, "opd0_addr": 0x8000 + 64},
        table,
        MATRIX, {**MATRIX, "opt_res0_seg": 0, "res0_b_str": rows(chip)},
        {**MATRIX, "tsk_opd_num": 3, "opd2_b_str": 16},
        {**MATRIX, "opt_chl_quan": 1, "quan_m": 1 << 30, "tsk_opd_num": 3},
        {**MATRIX, "opt_res_add": 1, "opt_left_shift": 1, "res0_b_str": rows(chip)},
        *({**MATRIX, "ps32_md": m, "res0_b_str": rows(chip)} for m in (1, 2, 3)),
        {**MATRIX, **BF16, "tsk_opd_num": 3},
    ]  # fmt: skip
    checker = Checker(simlib, chip)
    for i, case in enumerate(cases):
        assert checker.check("tiu", case), f"case {i} has no effect: {case}"


def test_made_up_transfers(simlib):
    """Fills, byte copies, transposes and conversions."""
    chip = CHIPS["cv181x"]
    shape = dict(src_n=2, src_c=11, src_h=3, src_w=5, dst_c=11, dst_h=3, dst_w=5)
    dense = dict(src_n_stride=165, src_c_stride=15, src_h_stride=5)
    local = dict(dst_n_stride=64, dst_c_stride=32, dst_h_stride=5, dst_base_addr=0x8000 + 48)
    transposed = dict(shape, dst_c=2, **dense, dst_n_stride=16, dst_c_stride=16, dst_h_stride=5)
    matrix = dict(sys_dtype=1, src_n=7, src_c=7, src_w=30, src_c_stride=30, dst_h=1)
    cases = [
        dict(shape, spec_func=4, const_val=7, **local),
        dict(trans_fmt=1, src_n_stride=40000, dst_base_addr=0x8100),
        dict(transposed, spec_func=1),
        dict(shape, src_fmt=1, dst_fmt=2, **dense, dst_n_stride=200, dst_c_stride=64,
             dst_h_stride=10),
        dict(shape, trans_dir=3, src_n_stride=64, src_c_stride=32, src_h_stride=5, dst_n_stride=64,
             dst_c_stride=32, dst_h_stride=5, dst_base_addr=0x9000),
        dict(matrix, dst_c=2, dst_w=16, dst_n_stride=16, dst_c_stride=16, dst_h_stride=16),
        dict(matrix, spec_func=1, dst_c=1, dst_w=16, dst_n_stride=16, dst_c_stride=16,
             dst_h_stride=16),
        dict(trans_dir=1, trans_fmt=1, src_n_stride=40000, src_base_addr=0x8100),
    ]  # fmt: skip
    checker = Checker(simlib, chip)
    ddr = {0: np.random.default_rng(5).integers(0, 256, 1 << 16, np.uint8)}
    for i, case in enumerate(cases):
        assert checker.check("tdma", case, ddr), f"case {i} has no effect: {case}"
