"""Functions that exist so that programs link, and answer UNSUPPORT with a reason (docs/runtime.md):
the secure path, command building through cvikernel, a ready-made kernel; counters on the simulator.
"""

import ctypes
import re
from pathlib import Path

import cvi_nn
import pytest
from runtime import builder as b

UNSUPPORT, INVALID_ARG = -1065910264, -1065910269
INCLUDE = Path(__file__).resolve().parents[2] / "device" / "runtime" / "include"
CODES = {
    "CVI_RT_LoadCmdbufTee": "encrypted models",
    "CVI_RT_RunCmdbufTee": "encrypted models",
    "CVI_RT_UnRegisterKernel": "no kernel handles",
    "CVI_RT_Submit": "no kernel handles",
    "CVI_RT_SubmitAsync": "no kernel handles",
    "CVI_RT_WaitForAsync": "no kernel handles",
}
HANDLES = {
    "CVI_RT_RegisterKernel": "LoadCmdbuf",
    "CVI_NN_PrepareGrayImageLightKernelFunc": "not offered",
}


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    library = ctypes.CDLL(cvi_nn.library_path())
    library.CVI_NN_GetLastError.restype = ctypes.c_char_p
    library.CVI_NN_Global_SetLogLevel(2)
    return library


def text(library: ctypes.CDLL) -> str:
    return library.CVI_NN_GetLastError().decode()


@pytest.mark.parametrize("name", CODES)
def test_codes(library: ctypes.CDLL, name: str) -> None:
    zeros = [ctypes.c_uint64(0)] * 7
    assert getattr(library, name)(*zeros) == UNSUPPORT
    assert CODES[name] in text(library)


@pytest.mark.parametrize("name", HANDLES)
def test_handles(library: ctypes.CDLL, name: str) -> None:
    function = getattr(library, name)
    function.restype = ctypes.c_void_p
    assert function(*[ctypes.c_uint64(0)] * 5) is None
    assert HANDLES[name] in text(library)


def test_this_list_is_the_documented_one() -> None:
    source = INCLUDE.parent / "src" / "model" / "unsupported.c"
    names = set(re.findall(r"^\w[^\n]*?\b(CVI_\w+)\(", source.read_text(), re.MULTILINE))
    assert names == {*CODES, *HANDLES}
    document = (INCLUDE.parents[2] / "docs" / "runtime.md").read_text()
    paragraph = document.split("Not offered (UNSUPPORT)")[1].split("\n\n")[0]
    assert all(name in paragraph for name in names)


def test_counters_on_the_simulator(library: ctypes.CDLL) -> None:
    stream, out = b.copy_command("cv181x", (2, 0), (3, 0), 64), ctypes.c_void_p()
    zero, size = ctypes.c_uint64(0), ctypes.c_uint64(len(stream))
    load, words = library.CVI_RT_LoadCmdbuf, (zero, stream, size, zero, zero)
    assert load(*words, True, ctypes.byref(out)) == UNSUPPORT and not out.value
    assert "no performance counters" in text(library)
    assert load(*words, False, ctypes.byref(out)) == 0
    start, length = ctypes.c_void_p(1), ctypes.c_uint32(1)
    parse, places = library.CVI_RT_ParsePmuBuf, (ctypes.byref(start), ctypes.byref(length))
    assert parse(out, *places) == UNSUPPORT and not start.value and length.value == 0
    assert parse(out, None, None) == UNSUPPORT
    assert parse(None, *places) == INVALID_ARG
    library.CVI_RT_MemFree(None, out)
