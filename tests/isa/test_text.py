"""The disassembler: lines of known words, and the tool on vendor and LZ4-compressed files."""

import pytest
from tpuforge.compiler import isa
from tpuforge.compiler.chip import CHIPS
from tpuforge.compiler.format import cvimodel, lz4
from tpuforge.compiler.isa.cv18xx.text import describe, tdma_name, tiu_name
from tpuforge.tools import disasm

CV181X, CV183X = CHIPS["cv181x"], CHIPS["cv183x"]

# the golden words of hw/cv18xx-tiu.md section 9 and hw/cv18xx-tdma.md section 8
GOLDEN_CONV = """05c0809807000900000000005f250100 00000000000011110100041cc0014210
                 00400000000000600070300901000220 38800320000403300001000401100030
                 0500200610031c000100100010000040 10000000010010001000100000000050
                 01001000100010000000010000000060"""
GOLDEN_LOAD = """11000300280002000000000000000100 20002001400200002000200100480000
                 40004000200009002000090000600000 60452301010000000000000000000500"""


def line(chip, engine, fields_or_word):
    word = fields_or_word
    if isinstance(word, dict):
        word = isa.encode_tdma(word) if engine == "tdma" else isa.encode_tiu(chip.generation, word)
    (command,) = isa.parse_stream(chip, isa.packet(chip, engine, word))
    return " ".join(describe(chip, command).split())


def test_golden_words():
    assert line(CV181X, "tiu", bytes.fromhex(GOLDEN_CONV)) == (
        "tiu 7 <- tdma 9 conv 0:0x4000 s8 [1,64,28,28] str(1568,784,28,1) = "
        "0:0x0000 s8 [1,32,56,56], 0:0x6000 s8 [32,64,3,3] unaligned, quant+bias 0x7000 ; "
        "stride 2x2, pad t1 b1 l1 r1, relu, double"
    )
    assert line(CV181X, "tdma", bytes.fromhex(GOLDEN_LOAD)) == (
        "tdma 3 <- tiu 2 load 0:0x6000 i8 [1,64,9,32] str(576,288,32) = "
        "base1+0x1234560 i8 [1,64,9,32]"
    )


NEUTRAL = dict(opt_res_shift=0, opt_relu_typ=0, opt_opd0_sign=1, opt_res0_sign=1)


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        (dict(tsk_typ=3, tsk_eu_typ=1, opt_res_add=1, opt_left_shift=3, opt_res_shift=7,
              opt_opd1_const=1, opd1_addr=0x5B, opt_relu_typ=1, short_res0_str=3),
         ["mac", "const 0x5b s8", "str(16,16,0,1)", ">> 7", "add old << 3", "relu"]),
        (dict(tsk_typ=3, tsk_eu_typ=2, opt_res0_seg=0, res0_b_str=64, opt_rshift_typ=0,
              opt_res_shift=2), ["add", "s16", "planes +64", ">>floor 2"]),
        (dict(tsk_typ=1, tsk_eu_typ=0, opd1_h=3, opd1_w=2, conv_opd0_lf_pad=1, opd0_ins_val=128),
         ["maxpool", "kernel 3x2", "pad t0 b0 l1 r0", "fill 0x80"]),
        (dict(tsk_typ=1, tsk_eu_typ=2, opt_chl_quan=1, tsk_opd_num=2, opd2_addr=0x70,
              conv_opd0_y_ins0=1, conv_opd1_x_ins0=2),
         ["depthwise", "quant 0x0070", "insert 1x0 last 0x0", "dilation 1x3"]),
        (dict(tsk_typ=2, ps32_md=2, res0_b_str=256, tsk_opd_num=2),
         ["matrix", "planes +256", "ps32 first"]),
        (dict(tsk_typ=2, opt_chl_quan=1, quan_m=0x1234, opt_res_shift=9, opd2_addr=16,
              tsk_opd_num=3, opd2_b_str=32), ["bias 0x0010 planes +32", "quant m 0x1234 >> 9"]),
        (dict(tsk_typ=3, tsk_eu_typ=0, opd_typ=1, opt_opd1_const=1, opd1_addr=0x3F80),
         ["mul", "bf16", "const 0x3f80 bf16"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("chip", [CV181X, CV183X])
def test_tiu_settings_are_shown(chip, fields, parts):
    text = line(chip, "tiu", {**NEUTRAL, **fields})
    for part in parts:
        assert part in text, text
    plain = line(chip, "tiu", NEUTRAL)
    assert ";" not in plain


def test_names():
    a, b = (isa.decode_tiu(g, isa.encode_tiu(g, {})) for g in "AB")
    assert tiu_name({**a, "tsk_typ": 3, "tens_lookup": 1}) == "lookup"
    assert tiu_name({**b, "tsk_typ": 3, "tsk_eu_typ": 12}) == "lookup"
    assert tiu_name({**a, "tsk_typ": 3, "tens_mdsum": 1}) == "mdsum"
    d = isa.decode_tdma(isa.encode_tdma({}))
    for fields, name in (
        (dict(trans_dir=1, spec_func=1, transpose_md=3), "store.cw"),
        (dict(trans_dir=0, spec_func=1, sys_dtype=1), "load.matrix.nc"),
        (dict(trans_dir=0, spec_func=4), "load.fill"),
        (dict(trans_dir=0, compress_en=1), "load.lz"),
        (dict(trans_dir=2, trans_fmt=1), "ddrcopy.bytes"),
        (dict(trans_dir=3), "copy"),
    ):
        assert tdma_name({**d, **fields}) == name
    fill = line(CV183X, "tdma", dict(spec_func=4, const_val=0x80, dst_base_addr=0x8010))
    assert "1:0x0010" in fill and "= const 0x80" in fill


def test_ddr_addresses_of_cv183x_start_at_zero():
    text = line(CV183X, "tdma", dict(src_base_addr=0x1_0000_0040, src_base_reg_sel=3))
    assert "base3+0x40 " in text


def test_tool_on_vendor_files(small_vendor_name, shared, capsys):
    path = shared / f"zoo/vendor/{small_vendor_name}.cvimodel"
    assert disasm.main([str(path)]) == 0
    model = cvimodel.read(path.read_bytes())
    (stream,) = (s.contents() for s in model.sections if s.kind == "cmdbuf")
    commands = isa.parse_stream(model.chip, stream)
    head, *out = capsys.readouterr().out.splitlines()
    assert head.startswith("program 0 routine ") and f"{len(commands)} commands" in head
    assert len(out) == len(commands)
    for text, c in zip(out, commands, strict=True):
        assert text.split()[:2] == [c.engine, str(c.id)]
        assert "type3" not in text and "fmt" not in text


def test_tool_on_compressed_sections(shared, tmp_path, capsys):
    path = shared / "zoo/vendor/tiny_resnet_cv181x.cvimodel"
    assert disasm.main([str(path), "--cycles"]) == 0
    plain = capsys.readouterr().out
    model = cvimodel.read(path.read_bytes())
    (section,) = (s for s in model.sections if s.kind == "cmdbuf")
    raw = section.contents()
    section.data, section.compress, section.decompressed_size = lz4.compress(raw), True, len(raw)
    packed = tmp_path / "packed.cvimodel"
    packed.write_bytes(cvimodel.write(model))
    assert len(section.data) < len(raw)
    assert disasm.main([str(packed), "--cycles"]) == 0
    assert capsys.readouterr().out == plain


def test_tool_refuses_other_files(tmp_path, capsys):
    bad = tmp_path / "bad.cvimodel"
    bad.write_bytes(b"nonsense" * 10)
    assert disasm.main([str(bad)]) == 1
    assert disasm.main([str(tmp_path / "missing.cvimodel")]) == 1
    assert "missing.cvimodel" in capsys.readouterr().err


def test_tool_checks_waits(shared, tmp_path, capsys):
    path = shared / "zoo/vendor/tiny_resnet_cv181x.cvimodel"
    assert disasm.main([str(path), "--check"]) == 0
    assert ": no findings" in capsys.readouterr().out
    model = cvimodel.read(path.read_bytes())
    (section,) = (s for s in model.sections if s.kind == "cmdbuf")
    section.data = b"".join(
        isa.packet(CV181X, c.engine, isa.encode_tiu("B", {**c.fields, "cmd_id_gdma": 0})
                   if c.engine == "tiu" else c.raw)
        for c in isa.parse_stream(CV181X, section.data)
    )  # fmt: skip
    racy = tmp_path / "racy.cvimodel"
    racy.write_bytes(cvimodel.write(model))
    assert disasm.main([str(racy), "--check"]) == 1
    assert "race: command" in capsys.readouterr().out
