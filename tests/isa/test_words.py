"""Bit-field tables: golden words of the specification, ranges, and every word of the vendor's
models.
"""

import numpy as np
import pytest
from tpuforge.compiler import isa
from tpuforge.compiler.chip import chip_named
from tpuforge.compiler.errors import InternalError, UserInputError
from tpuforge.compiler.isa.cv18xx.tdma import Tdma
from tpuforge.compiler.isa.cv18xx.tiu_a import TiuA
from tpuforge.compiler.isa.cv18xx.tiu_b import TiuB

CONV = dict(
    cmd_id_tpu=7, cmd_id_gdma=9, opd0_addr=0, opd0_n=1, opd0_c=32, opd0_h=56, opd0_w=56,
    opt_opd0_sign=1, opd1_addr=0x6000, opt_opd1_sign=1, short_opd1_str=1, opd1_n=32, opd1_c=64,
    opd1_h=3, opd1_w=3, opd2_addr=0x7000, opd2_n=1, opd2_c=64, opd2_h=1, opd2_w=1,
    short_opd2_str=2, opt_opd2_sign=1, opt_opd2_seg=1, opd2_b_str=0, res0_addr=0x4000, res0_n=1,
    res0_c=64, res0_h=28, res0_w=28, short_res0_str=3, res0_n_str=1568, res0_c_str=784,
    res0_h_str=28, res0_w_str=1, opt_res0_sign=1, tsk_opd_num=3, opt_chl_quan=1, opt_res_shift=0,
    opt_shift_typ=1, opt_relu_typ=1, double_conv=1, layer_info=5, cmd_en=1, cmd_id_en=1,
    conv_op_x_str=2, conv_op_y_str=2, conv_opd0_up_pad=1, conv_opd0_dn_pad=1, conv_opd0_lf_pad=1,
    conv_opd0_rt_pad=1,
)  # fmt: skip
GOLDEN = {
    "A": """3d00480000000662e51f260100000008 0100041cc00100400000000000600000
            00702080033830000310112102000000 01000240100040100001000000000000
            200610031c0001001000100010000000 00000100100010001000000001000000
            10001000100000000100000005000000""",
    "B": """05c0809807000900000000005f250100 00000000000011110100041cc0014210
            00400000000000600070300901000220 38800320000403300001000401100030
            0500200610031c000100100010000040 10000000010010001000100000000050
            01001000100010000000010000000060""",
}
LOAD = dict(
    vld=1, bar_en=1, cmd_id=3, wait_id_tpu=2, trans_dir=0, src_n=1, src_c=64, src_h=9, src_w=32,
    dst_c=64, dst_h=9, dst_w=32, src_n_stride=18432, src_c_stride=288, src_h_stride=32,
    dst_n_stride=576, dst_c_stride=288, dst_h_stride=32, src_base_reg_sel=1,
    src_base_addr=0x1234560, dst_base_addr=0x6000, layer_ID=5,
)  # fmt: skip
GOLDEN_LOAD = """11000300280002000000000000000100 20002001400200002000200100480000
                 40004000200009002000090000600000 60452301010000000000000000000500"""


@pytest.mark.parametrize("generation", "AB")
def test_tiu_golden_word(generation):
    assert isa.encode_tiu(generation, CONV) == bytes.fromhex(GOLDEN[generation])
    decoded = isa.decode_tiu(generation, bytes.fromhex(GOLDEN[generation]))
    assert {k: decoded[k] for k in CONV} == CONV


def test_tdma_golden_word():
    assert isa.encode_tdma(LOAD) == bytes.fromhex(GOLDEN_LOAD)
    decoded = isa.decode_tdma(bytes.fromhex(GOLDEN_LOAD))
    assert (decoded["src_base_addr_low"], decoded["src_c_stride_low"]) == (0x1234560, 288)


@pytest.mark.parametrize("word", [TiuA, TiuB, Tdma])
def test_tables_cover_every_bit(word):
    bits = [b for f in word.fields.values() for b in range(f.lo, f.hi + 1)]
    assert bits == list(range(word.size * 8))


@pytest.mark.parametrize("word", [TiuA, TiuB, Tdma])
def test_every_field_at_its_extremes(word):
    for f in word.fields.values():
        for value in (f.min, f.max, f.reset):
            data = word.encode({f.name: value})
            assert word.decode(data)[f.name] == value
            assert isa.Columns(word, data)[f.name].tolist() == [value]
            reset = int.from_bytes(word.encode({}), "little")
            assert (int.from_bytes(data, "little") ^ reset) & ~(f.mask << f.lo) == 0
        for value in (f.min - 1, f.max + 1):
            with pytest.raises(InternalError, match=rf"{f.name} = {value} .*{f.min}\.\.{f.max}"):
                word.encode({f.name: value})


def test_split_quantities():
    data = isa.encode_tdma({"src_base_addr": 0x1_2345_6789, "dst_c_stride": 0x5_4321})
    fields = isa.decode_tdma(data)
    assert (fields["src_base_addr_low"], fields["src_base_addr_high"]) == (0x23456789, 1)
    assert (fields["dst_c_stride_low"], fields["dst_c_stride_high"]) == (0x4321, 5)
    assert isa.Columns(Tdma, data)["src_base_addr"].tolist() == [0x1_2345_6789]
    with pytest.raises(InternalError, match="together"):
        isa.encode_tdma({"src_c_stride": 1, "src_c_stride_low": 1})
    with pytest.raises(InternalError, match="src_base_addr_high"):
        isa.encode_tdma({"src_base_addr": 1 << 40})
    with pytest.raises(InternalError, match="negative"):
        isa.encode_tdma({"src_base_addr": -1})


def test_fields_of_the_other_generation():
    assert isa.encode_tiu("B", {"tens_mdsum": 0}) == isa.encode_tiu("B", {})
    assert isa.encode_tiu("A", {"opt_relu_value": 0}) == isa.encode_tiu("A", {})
    with pytest.raises(InternalError, match=r"TiuB has no field tens_mdsum.* not 1"):
        isa.encode_tiu("B", {"tens_mdsum": 1})
    with pytest.raises(InternalError, match="TiuA has no field nonsense"):
        isa.encode_tiu("A", {"nonsense": 0})


def test_shift_is_signed_in_generation_b_only():
    assert isa.decode_tiu("B", isa.encode_tiu("B", {"opt_res_shift": -3}))["opt_res_shift"] == -3
    with pytest.raises(InternalError, match="opt_res_shift"):
        isa.encode_tiu("A", {"opt_res_shift": -3})


def test_vendor_words_survive(vendor_name, stream):
    """Decoding and encoding every command of a vendor model gives the same bytes; so do both ways
    of decoding.
    """
    chip, data = stream(vendor_name)
    commands = isa.parse_stream(chip, data)
    step = max(
        1, len(commands) // 2000
    )  # every word of small models, a regular sample of the largest
    out = {"tiu": isa.columns(commands, "tiu"), "tdma": isa.columns(commands, "tdma")}
    seen = {"tiu": 0, "tdma": 0}
    for i, c in enumerate(commands):
        if i % step == 0:
            again = (
                isa.encode_tdma(c.fields)
                if c.engine == "tdma"
                else isa.encode_tiu(chip.generation, c.fields)
            )
            assert isa.packet(chip, c.engine, again) == data[c.offset : c.offset + 8 + len(c.raw)]
            k = seen[c.engine]
            for field in (
                ("opt_res_shift", "res0_addr", "cmd_id_gdma")
                if c.engine == "tiu"
                else ("src_n", "cmd_id")
            ):
                assert out[c.engine][field][k] == c.fields[field]
        seen[c.engine] += 1
    assert sum(8 + len(c.raw) for c in commands) == len(data)


def test_damaged_streams():
    chip = chip_named("cv181x")
    good = isa.packet(chip, "tdma", isa.encode_tdma({"vld": 1})) + isa.packet(
        chip, "tiu", isa.encode_tiu("B", {})
    )
    assert [c.engine for c in isa.parse_stream("cv181x", good)] == ["tdma", "tiu"]
    assert isa.parse_stream(chip, memoryview(b"")) == []
    for damaged, what in (
        (good[:-1], "cut off: 112 bytes announced, 111 left"),
        (good[:75], "stray bytes at 72"),
        (b"\xa5" + good[1:], "magic 0xa5 .*cv183x"),
        (good[:2] + b"\x03" + good[3:], "engine 3"),
        (good[:1] + b"\x70" + good[2:], "tdma has 112 bytes"),
        (good[:3] + b"\x01" + good[4:], "flags 0x01"),
        (good[:1] + b"\0\1" + good[3:4] + b"\xff\xff\xff\xff" + good[8:], "cut off: 4294967295"),
    ):
        with pytest.raises(UserInputError, match=what):
            isa.parse_stream(chip, damaged)


def test_columns_of_many_words():
    word = isa.encode_tiu("B", CONV)
    cols = isa.Columns(TiuB, np.frombuffer(word * 20000, np.uint8))
    assert all(int(cols[name][-1]) == value for name, value in CONV.items())
