"""The checked-in C header is what the tables give, compiles, and unpacks like the Python tables."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tpuforge.compiler.isa import cheader
from tpuforge.compiler.isa.cv18xx.tdma import Tdma
from tpuforge.compiler.isa.cv18xx.tiu_a import TiuA
from tpuforge.compiler.isa.cv18xx.tiu_b import TiuB

HEADER = Path(__file__).resolve().parents[2] / "device/runtime/src/sim/cv18xx_fields.h"

PROGRAM = """
#include "cv18xx_fields.h"
#include <stdio.h>
int main(void) {
    uint32_t w[28];
    while (fread(w, 4, 28, stdin) == 28) {
        cv_tiu a, b;
        cv_tdma d;
        cv_tiu_unpack_a(&a, w);
        cv_tiu_unpack_b(&b, w);
        cv_tdma_unpack(&d, w);
        printf("[{");
#define X(n, alo, aw, blo, bw) printf("\\"%s\\": %lld, ", #n, (long long)a.n);
        CV_TIU_FIELDS(X) printf("\\"\\": 0}, {");
#undef X
#define X(n, alo, aw, blo, bw) printf("\\"%s\\": %lld, ", #n, (long long)b.n);
        CV_TIU_FIELDS(X) printf("\\"\\": 0}, {");
#undef X
#define X(n, lo, w) printf("\\"%s\\": %lld, ", #n, (long long)d.n);
        CV_TDMA_FIELDS(X) printf("\\"\\": 0}]\\n");
    }
    return 0;
}
"""


def test_header_is_current():
    text = HEADER.read_text()
    assert text == cheader.header(), "run: python -m tpuforge.compiler.isa.cheader > " + HEADER.name


def test_c_unpacks_like_python(tmp_path):
    cc = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if cc is None:
        pytest.skip("no C compiler")
    (tmp_path / "t.c").write_text(PROGRAM)
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{HEADER.parent}"]
    subprocess.run([cc, *flags, "-o", tmp_path / "t", tmp_path / "t.c"], check=True)
    words = np.random.default_rng(1).bytes(112 * 8)
    out = subprocess.run([tmp_path / "t"], input=words, capture_output=True, check=True).stdout
    for i, line in enumerate(out.decode().splitlines()):
        raw = words[112 * i : 112 * i + 112]
        expected = (TiuA.decode(raw), TiuB.decode(raw), Tdma.decode(raw[:64]))
        for got, want in zip(json.loads(line), expected, strict=True):
            named = {k: v for k, v in want.items() if not k.startswith(cheader.RESERVED)}
            assert got == {**dict.fromkeys(got, 0), **named}
    assert i == 7
