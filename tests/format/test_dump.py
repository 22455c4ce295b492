"""Texts of section 14: expected lines were printed by the vendor's model_tool 1.30.2 for the same
files."""

from __future__ import annotations

import hashlib

import pytest
from format.sample import full, tiny
from tpuforge.compiler.format import dump
from tpuforge.compiler.format.cvimodel import load, read, write

TINY = """\
Mlir Version: hand
Cvimodel Version: 1.4.0
tiny Build at 2024-01-01 00:00:00
For cv183x chip ONLY
CviModel Need ION Memory Size: (0.00 MB)

Sections:
ID   TYPE      NAME                     SIZE        OFFSET      MD5
000  weight    weight                   0           0           d41d8cd98f00b204e9800998ecf8427e
001  cmdbuf    run                      72          0           0e86ba697968b26eb74d10348e1cbec5

WeightMap:
ID   OFFSET    SIZE      TYPE    N    C    H    W    NAME

Program #0
    batch_num   : 0
    private_gmem_size: 0
    shared_gmem_size: 0
    inputs      : in
    outputs     : out
    routines    :
     #00  tpu
        inputs  : in
        outputs : out
        section : run

    tensor_map  :
        ID   OFFSET      TYPE  N    C    H    W    QSCALE     MEM     NAME
        000  0           int8  1    1    1    64   1.000000   io_mem  in
        001  0           int8  1    1    1    64   1.000000   io_mem  out
"""

FULL_PROGRAMS = """\
WeightMap:
ID   OFFSET    SIZE      TYPE    N    C    H    W    NAME
000  0         12        int8    3    4    1    1    w0
001  16        8         int32   2    1    1    1    w1

Program #0
    batch_num   : 1
    private_gmem_size: 128
    shared_gmem_size: 4096
    inputs      : in_raw
    outputs     : out
    routines    :
     #00  tpu
        inputs  : in_raw
        outputs : a
        section : run
     #01  cpu
        inputs  : a,w0
        outputs : out
        function: quant

    tensor_map  :
        ID   OFFSET      TYPE  N    C    H    W    QSCALE     MEM     NAME
        000  0           uint8 1    4    6    3    1.000000   io_mem  in_raw
        001  32          int8  1    3    4    6    0.250000   private a
        002  16          bf16  1    3    4    6    -          shared  b
        003  -1          fp32  1    1    1    10   1.000000      -    out

Program #1
    batch_num   : 2
    neuron_size : 64
    inputs      : x
    outputs     : x
    routines    :

    tensor_map  :
        ID   OFFSET      TYPE  N    C    H    W    QSCALE     MEM     NAME
        000  16          int16 2    1    1    8    1.000000   private x
"""

EXTRACT = """\
private_mem_size: 128
shared_gmem_size: 4096
routine #run
         n    c    h    w    dtype offset  name
  [IN ]  1    4    6    3    uint8 0       in_raw
  [OUT]  1    3    4    6    int8  32      a
store section to full_program_1_cmdbuf_run.bin
neuron_size: 64
store section to full_weight.bin
"""

#: md5 of what the vendor's `model_tool --info` and `--extract` 1.30.2 print, joined, for each
#: stored file
VENDOR_TEXTS = {
    "efficientnet_lite0_cv181x": "56cc6c523b4bedf083cef8879225d4f9",
    "efficientnet_lite0_cv183x": "d8f649201c5e55f639faa2d924c7e6f1",
    "googlenet_cv181x": "d5c6fb795fe851a72a90b9a358b97bf1",
    "googlenet_cv183x": "882af9b359ccfa903a6604deb02b0e27",
    "mobilenet_v2_cv180x": "93fd0ecffe3cc0f9c92fe065c849597b",
    "mobilenet_v2_cv181x": "f3b26e84c8c3197d76e740db0859774a",
    "mobilenet_v2_cv182x": "1a8ded41a2ade44a8ad07cc0e2c28a11",
    "mobilenet_v2_cv183x": "e48f34c3f9ff87ff3dbf486929eacf79",
    "resnet18_cv180x": "624f640141a8c750dc7c6d703e4423c1",
    "resnet18_cv181x": "230003d882c7ccdb09346402f46fccea",
    "resnet18_cv183x": "57f953aa50b84a39be3b751ac7992d30",
    "squeezenet1_1_cv180x": "fc36b86e1263992825163d9a458bacb4",
    "squeezenet1_1_cv181x": "b5ffe75fbf576911a4987158ca9c7a6a",
    "squeezenet1_1_cv183x": "203e60907ded5f0ae19037c97b3ee014",
    "tiny_mobilenet_cv180x": "3f0aa6f16888131ff4c089fb84aad74c",
    "tiny_mobilenet_cv181x": "c9a309d099cece4072dd2b972dcafe01",
    "tiny_mobilenet_cv182x": "ba8a3c8795cfebf1fbed593329c3044a",
    "tiny_mobilenet_cv183x": "24a2c36ad0711c2f78285accc94a6219",
    "tiny_resnet_cv180x": "4f6de73260b25ca6d1378418f478bad3",
    "tiny_resnet_cv181x": "d3223fc928dd62d90fd2387dc7e69902",
    "tiny_resnet_cv182x": "f94da7a90fa6e796bb07e530e859d3c2",
    "tiny_resnet_cv183x": "cb1456925e6db4f86fe4e5a45706488b",
}


@pytest.mark.parametrize("base", VENDOR_TEXTS)
def test_texts_equal_the_vendors_byte_for_byte(vendor_dir, base):
    model = load(vendor_dir / f"{base}.cvimodel")
    text = dump.info(model) + dump.extract(model)[0]
    assert hashlib.md5(text.encode()).hexdigest() == VENDOR_TEXTS[base]


def test_info_of_the_worked_example():
    assert dump.info(read(write(tiny("cv183x")))) == TINY


def test_info_of_programs():
    assert dump.info(full()).endswith("\n\n" + FULL_PROGRAMS)


def test_columns_of_cvimodel_tool():
    lines = dump.info(full(), encryption=True).splitlines()
    head = lines.index("Sections:") + 1
    assert lines[head] == (
        "ID   TYPE      NAME                     SIZE        OFFSET      "
        "ENCRYPT     COMPRESS    MD5"
    )
    assert lines[head + 3] == (
        "002  x86_64    custom                   4           240         True        False       "
        "d1531b1622de54fe3a0187c3344600e9"
    )


def test_qscale_of_an_old_quantiser():
    """128 / threshold for the first output of quant NONE -> INT8; `-` outside 0.000001 .. 400."""
    model = full()
    routine = model.programs[0].routines[1]
    routine.args = {"from": "NONE", "to": "INT8", "threshold": 2.0}
    row = next(r for r in dump.info(model).splitlines() if r.endswith("   out"))
    assert row == "        003  -1          fp32  1    1    1    10   64.000000     -    out"
    for threshold in (0.1, 1e9):
        routine.args["threshold"] = threshold
        row = next(r for r in dump.info(model).splitlines() if r.endswith("   out"))
        assert row == "        003  -1          fp32  1    1    1    10   -             -    out"
    model.programs[0].tensors[3].qscale = 3.0
    routine.args = {"from": "NONE", "to": "INT8", "scale": 5.0}
    row = next(r for r in dump.info(model).splitlines() if r.endswith("   out"))
    assert row == "        003  -1          fp32  1    1    1    10   3.000000      -    out"


def test_absent_texts():
    model = full()
    model.target = model.mlir_version = None
    assert dump.info(model).splitlines()[:3] == [
        "Cvimodel Version: 1.4.0",
        "full Build at 2024-02-03 04:05:06",
        "CviModel Need ION Memory Size: (0.00 MB)",
    ]


def test_device_memory():
    """Sections + private and neuron regions + largest shared region + io tensors (dense)."""
    assert dump.device_bytes(full()) == (24 + 216 + 4 + 3) + 128 + 64 + 4096 + 72


def test_extract():
    text, files = dump.extract(full())
    assert text == EXTRACT
    assert files["full_program_1_cmdbuf_run.bin"] == full().sections[1].data
    assert files["full_weight.bin"] == bytes(range(24))


def test_extract_keeps_programs_apart_and_stays_in_the_folder():
    model = tiny()
    model.name = "../../etc/x"
    model.programs *= 2
    _, files = dump.extract(model)
    assert list(files) == [
        ".._.._etc_x_program_0_cmdbuf_run.bin",
        ".._.._etc_x_program_0_1_cmdbuf_run.bin",
        ".._.._etc_x_weight.bin",
    ]
