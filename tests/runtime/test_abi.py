"""Layout of the public structs (api/cvi_nn.md section 2.2): the C compiler on 64 and 32 bit, and
cffi; exported names; enum values and codes (sections 1, 2.1)."""

import re
import shutil
import subprocess
from pathlib import Path

import cvi_nn
import pytest
from cvi_nn._cviruntime_cffi import ffi

INCLUDE = Path(__file__).resolve().parents[2] / "device" / "runtime" / "include"

# struct: (sizeof 64, sizeof 32, {field: (offset 64, offset 32)})
LAYOUT = {
    "CVI_SHAPE": (32, 28, {"dim": (0, 0), "dim_size": (24, 24)}),
    "CVI_TENSOR": (
        168,
        136,
        {
            "name": (0, 0),
            "shape": (8, 4),
            "fmt": (40, 32),
            "count": (48, 36),
            "mem_size": (56, 40),
            "sys_mem": (64, 44),
            "paddr": (72, 48),
            "mem_type": (80, 56),
            "qscale": (84, 60),
            "zero_point": (88, 64),
            "pixel_format": (92, 68),
            "aligned": (96, 72),
            "mean": (100, 76),
            "scale": (112, 88),
            "owner": (128, 100),
            "reserved": (136, 104),
        },
    ),
    "CVI_VIDEO_FRAME_INFO": (
        80,
        72,
        {"type": (0, 0), "shape": (8, 4), "fmt": (40, 32), "stride": (44, 36), "pyaddr": (56, 48)},
    ),
    "CVI_RT_ARRAYBASE": (64, 64, {}),
}

CONSTANTS = {
    "CVI_RC_SUCCESS": 0,
    "CVI_RC_FAILURE": -1,
    "CVI_RC_INVALID_ARG": -1065910269,
    "CVI_RC_UNINIT": -1065910265,
    "CVI_RC_UNSUPPORT": -1065910264,
    "CVI_RC_NOMEM": -1065910260,
    "CVI_RC_AGAIN": -1065910256,
    "CVI_RC_BUSY": -1065910254,
    "CVI_RC_TIMEOUT": -1065910251,
    "CVI_RC_DATA_ERR": -1065910250,
    "CVI_FMT_FP32": 0,
    "CVI_FMT_INT32": 1,
    "CVI_FMT_UINT32": 2,
    "CVI_FMT_BF16": 3,
    "CVI_FMT_INT16": 4,
    "CVI_FMT_UINT16": 5,
    "CVI_FMT_INT8": 6,
    "CVI_FMT_UINT8": 7,
    "CVI_MEM_SYSTEM": 1,
    "CVI_MEM_DEVICE": 2,
    "CVI_NN_PIXEL_BGR_PLANAR": 3,
    "CVI_NN_PIXEL_YUV_NV12": 11,
    "CVI_NN_PIXEL_YUV_420_PLANAR": 13,
    "CVI_NN_PIXEL_GRAYSCALE": 15,
    "CVI_NN_PIXEL_TENSOR": 100,
    "CVI_NN_PIXEL_RGBA_PLANAR": 1000,
    "CVI_FRAME_PLANAR": 101,
    "CVI_FRAME_PACKAGE": 102,
    "OPTION_OUTPUT_ALL_TENSORS": 4,
    "OPTION_PROGRAM_INDEX": 9,
    "CVI_ALLOC_DMABUF": 4,
    "CVI_DIM_MAX": 6,
}


def source(bits: int) -> str:
    """A program of static assertions."""
    which = 0 if bits == 64 else 1
    lines = ["#include <stddef.h>", '#include "cviruntime.h"', '#include "cviruntime_extra.h"']
    for name, (*sizes, fields) in LAYOUT.items():
        lines.append(f'_Static_assert(sizeof({name}) == {sizes[which]}, "sizeof {name}");')
        for field, offsets in fields.items():
            lines.append(
                f'_Static_assert(offsetof({name}, {field}) == {offsets[which]}, "{name}.{field}");'
            )
    for name, value in CONSTANTS.items():
        lines.append(f'_Static_assert((int){name} == {value}, "{name}");')
    return "\n".join([*lines, "int main(void) { return 0; }", ""])


@pytest.mark.parametrize(("bits", "options"), [(64, []), (32, ["-m32", "-malign-double"])])
def test_layout_in_c(tmp_path, bits, options):
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    file = tmp_path / "layout.c"
    file.write_text(source(bits))
    command = ["cc", "-std=c11", "-ffreestanding", "-fsyntax-only", "-Wall", "-Werror", *options]
    done = subprocess.run(
        [*command, "-I", INCLUDE, file], capture_output=True, text=True, check=False
    )
    if bits == 32 and "unrecognized" in done.stderr:
        pytest.skip("this compiler has no 32-bit x86 target")
    assert done.returncode == 0, done.stderr


def test_headers_in_cpp(tmp_path):
    if not shutil.which("c++"):
        pytest.skip("needs a C++ compiler")
    file = tmp_path / "use.cpp"
    file.write_text('#include "cviruntime.h"\n#include "cviruntime_extra.h"\n')
    subprocess.run(["c++", "-fsyntax-only", "-Wall", "-Werror", "-I", INCLUDE, file], check=True)


def test_layout_in_cffi():
    for name, (size, _, fields) in LAYOUT.items():
        assert ffi.sizeof(name) == size
        for field, (offset, _) in fields.items():
            assert ffi.offsetof(name, field) == offset


def declared() -> set[str]:
    text = "".join(path.read_text() for path in INCLUDE.glob("*.h"))
    return set(re.findall(r"^CVI_API [^;]*?\b(CVI_\w+)\(", text, re.MULTILINE))


def test_exported_names():
    """Exactly the declared functions, nothing else."""
    if not shutil.which("nm"):
        pytest.skip("needs nm")
    command = ["nm", "-D", "--defined-only", cvi_nn.library_path()]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1] for line in table.splitlines()}
    assert names == declared() and len(names) > 65


@pytest.mark.parity
def test_every_vendor_name_is_exported(oracle):
    library = oracle.vendor_library_dir() / "libcviruntime.so"
    command = ["nm", "-D", "--defined-only", library]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs = {line.split()[-1] for line in table.splitlines()}
    assert {name for name in theirs if name.startswith(("CVI_NN_", "CVI_RT_"))} <= declared()
