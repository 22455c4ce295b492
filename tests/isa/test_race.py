"""The race checker: vendor streams, a removed wait, and the regions of single instructions."""

import re

import numpy as np
import pytest
from tpuforge.compiler import isa
from tpuforge.compiler.chip import CHIPS
from tpuforge.compiler.isa.cv18xx.access import Region, accesses
from tpuforge.compiler.isa.cv18xx.race import check_stream

CV181X, CV180X = CHIPS["cv181x"], CHIPS["cv180x"]

#: The vendor's tiled fully connected layers load the same input again over itself while it is read.
#: The bytes are the same, so it is harmless, but it is a race.
VENDOR_RACES = {"resnet18_cv181x": 7, "resnet18_cv180x": 31}


def test_vendor_streams(small_vendor_name, stream):
    check_vendor_stream(small_vendor_name, stream)


@pytest.mark.model
def test_large_vendor_streams(large_vendor_name, stream):
    check_vendor_stream(large_vendor_name, stream)


def check_vendor_stream(vendor_name, stream):
    """Nothing but the known reloads is found."""
    chip, data = stream(vendor_name)
    commands = isa.parse_stream(chip, data)
    found = check_stream(chip, commands)
    assert len(found) == VENDOR_RACES.get(vendor_name, 0), "\n".join(map(str, found))
    for f in found:
        tiu, tdma = (commands[i].fields for i in f.commands)
        same = [commands[i].fields for i in range(f.commands[0] - 20, f.commands[0])
                if commands[i].engine == "tdma"]  # fmt: skip
        assert f.kind == "race" and tdma["dst_base_addr_low"] == tiu["opd0_addr"]
        assert any(
            (s["src_base_addr_low"], s["dst_base_addr_low"], s["src_w"])
            == (tdma["src_base_addr_low"], tdma["dst_base_addr_low"], tdma["src_w"])
            for s in same
        ), "another race than reloading the same bytes"


def edit(chip, commands, index, **changes):
    """The stream with some fields of one command changed."""
    out = []
    for i, c in enumerate(commands):
        fields = {**c.fields, **(changes if i == index else {})}
        encode = isa.encode_tdma if c.engine == "tdma" else None
        body = encode(fields) if encode else isa.encode_tiu(chip.generation, fields)
        out.append(isa.packet(chip, c.engine, body))
    return isa.parse_stream(chip, b"".join(out))


@pytest.mark.parametrize("name", ["tiny_resnet_cv181x", "tiny_mobilenet_cv183x"])
def test_removed_waits_are_found(name, stream):
    """Without its wait (and the later waits it implies) a consumer races with its producer."""
    chip, data = stream(name)
    commands = isa.parse_stream(chip, data)
    first = next(i for i, c in enumerate(commands) if c.engine == "tiu")
    found = check_stream(chip, edit(chip, commands, first, cmd_id_gdma=0))
    assert found and found[0].kind == "race" and first in found[0].commands
    text = r"\(tiu 1\) reads opd\d while .*\(tdma \d\) may run and writes dst"
    assert re.search(text, str(found[0]))
    last = max(i for i, c in enumerate(commands) if c.engine == "tdma")  # stores the output
    earlier = max(c.wait for c in commands[:last] if c.engine == "tdma")
    assert commands[last].wait > earlier and commands[last].fields["trans_dir"] == 1
    found = check_stream(chip, edit(chip, commands, last, wait_id_tpu=0))
    producer = max(i for i, c in enumerate(commands) if c.engine == "tiu")
    assert [f.commands for f in found] == [(producer, last)]
    assert re.search(r"writes res0 while .* reads src", str(found[0]))


def test_ids_and_waits(stream):
    chip, data = stream("tiny_resnet_cv181x")
    commands = isa.parse_stream(chip, data)
    tdma = [i for i, c in enumerate(commands) if c.engine == "tdma"]
    (found,) = check_stream(chip, edit(chip, commands, tdma[3], cmd_id=commands[tdma[2]].id))
    assert found.kind == "ids" and "does not follow" in str(found)
    (found,) = check_stream(chip, edit(chip, commands, tdma[0], wait_id_tpu=500))
    assert found.kind == "wait" and "waits for id 500" in str(found)


def test_range():
    word = isa.encode_tdma(dict(vld=1, cmd_id=1, src_c=2, src_w=64, dst_c=2, dst_w=64,
                                dst_base_addr=0x7FF0, dst_c_stride=64))  # fmt: skip
    found = check_stream(CV181X, isa.parse_stream(CV181X, isa.packet(CV181X, "tdma", word)))
    assert [f.kind for f in found] == ["range"] and "0x8030" in str(found[0])


def test_interleaved_tensors_do_not_conflict():
    """Even and odd bytes of the same rows: the bounding boxes overlap, the bytes do not."""
    copy = dict(tsk_typ=3, tsk_eu_typ=10, res0_c=8, res0_w=8, opd0_c=8, opd0_w=8, cmd_id_tpu=1,
                short_res0_str=3, short_opd0_str=3, res0_w_str=2, opd0_addr=0x1000)  # fmt: skip
    load = dict(vld=1, cmd_id=1, src_c=8, src_w=1, src_h=8, dst_c=8, dst_w=1, dst_h=8,
                dst_h_stride=2, dst_c_stride=16)  # fmt: skip
    for odd, count in ((1, 0), (2, 1)):
        data = isa.packet(CV181X, "tiu", isa.encode_tiu("B", copy))
        data += isa.packet(CV181X, "tdma", isa.encode_tdma({**load, "dst_base_addr": odd}))
        assert len(check_stream(CV181X, isa.parse_stream(CV181X, data))) == count


@pytest.mark.parametrize("seed", range(40))
def test_bounds_enclose_the_bytes(seed):
    """The box of a region is the smallest one around its bytes, its lanes are the lanes touched."""
    rng = np.random.default_rng(seed)
    chip = (CV180X, CV181X, CHIPS["cv183x"])[seed % 3]
    n, c, h, w = (int(x) for x in rng.integers(1, (3, 70, 4, 6)))
    lane = int(rng.integers(chip.lanes))
    strides = (1000, 200, 40, 3)
    r = Region("x", True, lane * chip.lane_bytes + 77, (n, c, h, w), strides, 2, 2, 500)
    at = r.bytes(chip)
    mask, low, high = r.bounds(chip)
    assert set(at // chip.lane_bytes) == {i for i in range(chip.lanes) if mask >> i & 1}
    inside = at % chip.lane_bytes
    assert (low <= inside.min()) and inside.max() == high - 1


def regions(generation_chip, engine, **fields):
    encode = isa.encode_tdma if engine == "tdma" else None
    word = encode(fields) if encode else isa.encode_tiu(generation_chip.generation, fields)
    data = isa.packet(generation_chip, engine, word)
    (command,) = isa.parse_stream(generation_chip, data)
    return {(r.what, r.write): r for r in accesses(generation_chip, command)}


def test_convolution_regions():
    """opd0 aligned; weights unaligned; 9-byte parameter blocks; 32-bit partial sums."""
    conv = dict(tsk_typ=0, opt_chl_quan=1, tsk_opd_num=3, res0_addr=0x4000, opt_res0_seg=1,
                opd0_c=16, opd0_h=5, opd0_w=5, opd1_n=16, opd1_c=20, opd1_h=3, opd1_w=3,
                opd1_addr=0x1000, opd2_addr=0x2000, res0_c=20, res0_h=3, res0_w=3)  # fmt: skip
    r = regions(CV181X, "tiu", **conv)
    assert r["opd0", False].bounds(CV181X) == (0xFF, 0, 32 + 25)
    assert r["opd1", False].bounds(CV181X) == (0xFF, 0x1000, 0x1000 + 3 * 144)
    assert r["opd2", False].bounds(CV181X) == (0xFF, 0x2000, 0x2000 + 3 * 9)
    assert r["res0", True].bounds(CV181X) == (0xFF, 0x4000, 0x4000 + 2 * 16 + 9)
    r = regions(CV181X, "tiu", **{**conv, "ps32_md": 3, "res0_b_str": 48})
    for write in (True, False):
        assert r["res0", write].bounds(CV181X) == (0xFF, 0x4000, 0x4000 + 3 * 48 + 2 * 16 + 9)


def test_byte_copy_runs_over_lanes():
    r = regions(CV181X, "tdma", trans_fmt=1, src_n_stride=40000, dst_base_addr=0x8000 + 100)
    region = r["dst", True]
    assert region.bounds(CV181X) == (0b110, 0, 0x8000)
    assert region.bytes(CV181X).tolist() == list(range(0x8064, 0x8064 + 40000))
