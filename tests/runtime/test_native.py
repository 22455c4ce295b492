"""C programs against the runtime with sanitizers: damaged files, failing allocations, threads
(issue 3 "Bad input", issue 4 points 1 and 3)."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from runtime import builder as b
from runtime.cpu_cases import CASES
from runtime.test_cpu_op import model_of
from tpuforge.compiler.calibrate.table import read_table
from tpuforge.compiler.chip import CHIPS
from tpuforge.compiler.emit.cv18xx import compile_graph
from tpuforge.compiler.format import cvimodel
from tpuforge.compiler.frontend import transform_graph
from tpuforge.compiler.lower import lower
from tpuforge.compiler.passes import merge_pointwise

pytestmark = pytest.mark.model

OPTIONS = {"ASAN_OPTIONS": "allocator_may_return_null=1", "UBSAN_OPTIONS": "halt_on_error=1"}
Build = Callable[..., Path]


def execute(program: Path, *arguments: object, timeout: float = 500) -> str:
    done = subprocess.run(
        [program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **OPTIONS},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.cvimodel"
    path.write_bytes(b.tiny().write())
    return path


def test_damaged_handmade_file(c_program: Build, tiny_file: Path):
    """Every truncation, one flipped bit in every byte, 3000 random copies."""
    program = c_program("mutate", "address,undefined")
    size = tiny_file.stat().st_size
    assert execute(program, tiny_file, "cut", 1).startswith(f"tries {size} good 0 ")
    flips = execute(program, tiny_file, "flip", 1).split()
    assert flips[1] == str(size) and 0 < int(flips[3]) < size / 2
    print(execute(program, tiny_file, "random", 3000, 1))


@pytest.mark.parametrize(
    "name",
    ["tiny_mobilenet_cv183x", "tiny_mobilenet_cv182x", "tiny_resnet_cv181x", "tiny_resnet_cv180x"],
)
def test_damaged_vendor_file(c_program: Build, vendor_dir: Path, name: str):
    """2000 random copies, flips and cuts of a vendor-compiled network."""
    program = c_program("mutate", "address,undefined")
    file = vendor_dir / f"{name}.cvimodel"
    for arguments in (("cut", 499), ("flip", 101), ("random", 2000, 7)):
        assert execute(program, file, *arguments).startswith("tries ")


@pytest.fixture(scope="module")
def our_file(shared_dir: Path, vendor_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of several groups, compiled by us."""
    table = read_table(vendor_dir / "tiny_resnet_cali_table")
    graph = transform_graph(shared_dir / "zoo" / "tiny_resnet.onnx", name="tiny_resnet")
    merge_pointwise.merge_missing(graph, table.keys())
    compiled = compile_graph(lower(graph, table, CHIPS["cv182x"]), CHIPS["cv182x"])
    path = tmp_path_factory.mktemp("ours") / "tiny_resnet.cvimodel"
    path.write_bytes(cvimodel.write(compiled.model))
    return path


@pytest.mark.parametrize("name", ["ours", "tiny_mobilenet_cv183x", "tiny_resnet_cv180x"])
def test_every_truncation_and_5000_bit_flips(
    c_program: Build, vendor_dir: Path, our_file: Path, name: str
):
    """The gate of issue 4 point 3: an error or a result, never a signal."""
    program = c_program("mutate", "address,undefined")
    file = our_file if name == "ours" else vendor_dir / f"{name}.cvimodel"
    size = file.stat().st_size
    assert execute(program, file, "cut", 1).startswith(f"tries {size} good 0 ")
    flips = execute(program, file, "bits", 5000, 3).split()
    assert flips[1] == "5000" and 1000 < int(flips[3]) < 4900, flips


@pytest.mark.parametrize("sanitizers", ["address,undefined"])
def test_every_allocation_may_fail(c_program: Build, tiny_file: Path, vendor_dir: Path, sanitizers):
    program = c_program("lifecycle", sanitizers)
    for file in (tiny_file, vendor_dir / "tiny_mobilenet_cv181x.cvimodel"):
        count = int(execute(program, file, "fail").split()[1])
        assert count > 20


def test_damaged_cpu_routines(c_program: Build, tmp_path: Path):
    """200 random copies of a model of every CPU function: its arguments and shapes."""
    program = c_program("mutate", "address,undefined")
    for name, make in CASES.items():
        file = tmp_path / name
        file.write_bytes(model_of(make(np.random.default_rng(0))))
        assert execute(program, file, "random", 200, 5).startswith("tries 200 ")


@pytest.mark.parametrize("name", ["yolo_v3", "deform_conv2d", "ssd", "retinaface", "topk"])
def test_every_allocation_of_cpu_routines_may_fail(c_program: Build, tmp_path: Path, name: str):
    file = tmp_path / name
    file.write_bytes(model_of(CASES[name](np.random.default_rng(0))))
    assert execute(c_program("lifecycle", "address,undefined"), file, "fail").endswith("last 0\n")


def test_thousand_cycles_keep_memory_flat(c_program: Build, vendor_dir: Path):
    program = c_program("lifecycle")
    out = execute(program, vendor_dir / "tiny_mobilenet_cv181x.cvimodel", "repeat", 1000).split()
    before, after = int(out[1]), int(out[3])
    print(f"resident kB after 100 cycles {before}, after 1000 {after}")
    assert after <= before + 256


def test_threads(c_program: Build, tiny_file: Path):
    assert execute(c_program("threads", "thread"), tiny_file, 12, 40) == "ok\n"


@pytest.mark.parametrize("sanitizers", ["", "thread"])
def test_threads_of_the_simulator(
    c_program: Build, vendor_dir: Path, monkeypatch: pytest.MonkeyPatch, sanitizers: str
):
    """Three simulators of three threads at once: the outputs of one thread, none left behind."""
    program, file = c_program("team", sanitizers), vendor_dir / "squeezenet1_1_cv183x.cvimodel"
    alone = execute(program, file, 0, 0).split()
    monkeypatch.setenv("TPU_SIM_THREADS", "3")
    words = execute(program, file, 3, 2).split()
    before, most, after = map(int, words[3:])
    print(f"threads before {before}, while running up to {most}, after {after}")
    assert words[1] == alone[1] and after == before < most - 2
    assert alone[3:] == [str(before), alone[4], str(before)]
