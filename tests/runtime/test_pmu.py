"""Performance counters of the TPU on the fake driver, whose commands take 10 ticks of 500 MHz each,
one after the other, and move 64 bytes (hw/cv18xx-driver.md section 8)."""

import csv
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.model

MODEL = """
import sys, numpy as np, cvi_nn
x, y = np.load(sys.argv[2])["input"], np.load(sys.argv[3])["output_Gemm_f32"]
model = cvi_nn.Model(sys.argv[1])
for m in (model, model.clone()):
    assert m.forward([x])["output_Gemm_f32"].tobytes() == y.tobytes()
"""
BARE = """
import ctypes, sys, cvi_nn
from runtime import builder as b
c = ctypes.CDLL(cvi_nn.library_path())
context = cvi_nn.Context()
memory = context.alloc(256)
memory.view()[:64] = range(64)
memory.flush()
stream = b.copy_command("cv181x", (2, 0), (3, 128), 64, 1)
stream += b.copy_command("cv181x", (3, 128), (3, 64), 64, 2)
zero, out = ctypes.c_uint64(0), ctypes.c_void_p()
raw = ctypes.c_void_p(int(cvi_nn.model.ffi.cast("uintptr_t", context.raw)))
def load(counters):
    code = c.CVI_RT_LoadCmdbuf(raw, stream, ctypes.c_uint64(len(stream)), zero, zero, counters,
                               ctypes.byref(out))
    assert code == 0
    place = ctypes.c_uint64(memory.paddr)
    assert c.CVI_RT_RunCmdbuf(raw, out, place, place) == 0
load(False)
start, size = ctypes.c_void_p(), ctypes.c_uint32()
places = ctypes.byref(start), ctypes.byref(size)
assert c.CVI_RT_ParsePmuBuf(out, *places) == -1065910269
c.CVI_RT_MemFree(raw, out)
load(True)
assert c.CVI_RT_ParsePmuBuf(out, *places) == 0
head = (ctypes.c_uint32 * 8).from_address(start.value)
assert head[0] & 0xFFFF == 0xB5B5 and head[5] == 500000000
assert size.value == head[7] + head[6] and head[7] == head[1]
records = (ctypes.c_uint32 * 20).from_address(start.value + head[7])
print([w & 15 for w in records[0::4]], records[18] or records[19])
c.CVI_RT_MemFree(raw, out)
memory.invalidate()
assert (memory.view()[64:128] == range(64)).all()
"""


@pytest.fixture
def execute(c_program: Callable[..., Path], tmp_path: Path) -> Callable:
    """Run a script on the fake board; its output, the driver noticing every violation."""

    def run(chip: str, script: str, *words: Path, **env: str) -> "subprocess.CompletedProcess[str]":
        report = tmp_path / "report"
        done = subprocess.run(
            [sys.executable, "-c", script, *words],
            env={
                **os.environ,
                "LD_PRELOAD": str(c_program("fake_tpu")),
                "FAKE_TPU": f"chip={chip};evict",
                "FAKE_TPU_REPORT": str(report),
                "PYTHONPATH": os.pathsep.join([*sys.path]),
                **env,
            },
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "violations 0" in report.read_text(), report.read_text()
        return done

    return run


def numbers(text: str) -> dict[str, float]:
    """Labels of the summary with their values."""
    rows = [line for line in text.splitlines() if re.match(r"\w+:? ", line)]
    found = {}
    for row in rows:
        for part in (row[0:36], row[36:72], row[72:]):
            found[part[:20].strip()] = float(part[20:30])
    return found


@pytest.mark.parametrize("chip", ["cv183x", "cv182x", "cv181x", "cv180x"])
def test_every_routine_is_summed_up(
    execute: Callable, vendor_dir: Path, tmp_path: Path, chip: str
) -> None:
    files = [f"tiny_resnet_{chip}.cvimodel", "tiny_resnet_in.npz", f"tiny_resnet_{chip}_out.npz"]
    prefix = str(tmp_path / "pmu")
    done = execute(
        chip,
        MODEL,
        *(vendor_dir / f for f in files),
        TPU_ENABLE_PMU="1",
        TPU_PMUBUF_OUTPUT_FILE=prefix,
    )
    assert done.stderr.count(" inference total info ") == 2 and done.stdout == ""
    got = numbers(done.stderr)
    with open(f"{prefix}_des.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    runs = len(rows) // 2
    tiu = [r for r in rows[:runs] if r["type"] == "4"]
    tdma = [r for r in rows[:runs] if r["type"] != "4"]
    assert len(tiu) > 10 and len(tdma) > 10
    assert got[f"{chip}_tpu_clock:"] == 500
    assert got["tiu_exe_tick"] == 10 * len(tiu) and got["tdma_exe_tick:"] == 10 * len(tdma)
    assert got["inference_tick"] == 10 * runs
    assert got["inferece_data:"] == pytest.approx(64e-6 * len(tdma), abs=5e-4)
    assert got["tiu_exe_percent:"] == pytest.approx(100 * len(tiu) / runs, abs=1e-3)
    assert got["paralellism_percent"] == 100
    assert got["inference_ms:"] == pytest.approx(10 * runs / 5e8 * 1e3, abs=1e-3)
    assert [int(r["id"]) for r in tiu] == list(range(1, len(tiu) + 1))  # in order
    assert {r["operation"] for r in tiu} >= {"convolution", "arithmetic"}
    assert {r["operation"] for r in tdma} >= {"load", "store"}
    assert all(len(r["w14"]) == 8 for r in tdma)
    with open(f"{prefix}_layer.csv", newline="") as f:
        layers = list(csv.DictReader(f))
    assert {r["layer"] for r in layers} == {r["layer"] for r in rows} and len(layers) > 4
    assert sum(int(r["bytes"]) for r in layers) == 2 * 64 * len(tdma)
    for r in layers:
        shares = [float(r[k]) for k in ("tiu%", "load_neuron%", "load_weight%", "store%")]
        assert max(shares) > 0 and sum(shares) <= 100.5
        assert int(r["end"]) == int(r["start"]) + int(r["duration"])
    weights = {r["layer"] for r in tdma if int(r["w3"], 16) >> 16 & 7 == 1}
    assert weights == {r["layer"] for r in layers if float(r["load_weight%"]) > 0}


def test_model_runner(
    execute: Callable, c_program: Callable[..., Path], vendor_dir: Path, tmp_path: Path
) -> None:
    """-p asks for the counters; every run prints them."""
    runner = c_program("runner")
    words = ["-m", vendor_dir / "tiny_resnet_cv181x.cvimodel", "-c", "3"]
    script = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"
    done = execute("cv181x", script, runner, *words, "-p")
    assert done.stderr.count(" inference total info ") == 3
    assert "CVI_NN_Forward succeeded" in done.stdout
    assert execute("cv181x", script, runner, *words).stderr == ""


def test_command_buffers(execute: Callable) -> None:
    """A copy inside DDR has two records and is counted once; ParsePmuBuf gives the buffer."""
    done = execute("cv181x", BARE)
    assert done.stdout == "[1, 2, 1, 2, 0] 0\n"
    got = numbers(done.stderr)
    assert got["tdma_exe_tick:"] == 20 and got["inference_tick"] == 20 and got["tiu_exe_tick"] == 0
    assert got["tdma_exe_percent:"] == 100


def test_without_the_variable_nothing_is_reserved_or_printed(
    execute: Callable, vendor_dir: Path
) -> None:
    files = ["tiny_resnet_cv181x.cvimodel", "tiny_resnet_in.npz", "tiny_resnet_cv181x_out.npz"]
    for value in ("0", "", "no"):
        words = [vendor_dir / f for f in files]
        assert execute("cv181x", MODEL, *words, TPU_ENABLE_PMU=value).stderr == ""
