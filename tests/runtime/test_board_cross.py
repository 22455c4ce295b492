"""The runtime on the processors of the boards, under qemu-user (issue 4 points 5 and 6): its C
tests, the fake driver behind the table of system calls, and preloaded under the shared library."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from cross import ROOT, TARGETS, Target, cmake_words, emulated, execute, tool
from runtime import builder as b
from runtime.cpu_cases import CASES
from runtime.test_abi import source
from runtime.test_board import CHIPS, NOMEM, TIMEOUT, Board, clean, network
from runtime.test_cpu_op import compare, model_of
from runtime.test_dmabuf import convert
from tpuforge.compiler.format import cvimodel

__all__ = ["network"]
pytestmark = pytest.mark.model

DYNAMIC = [t for t in TARGETS if TARGETS[t].sysroot]


@dataclass
class Build:
    """The C tests of a target; `program(name)` runs one in the emulator."""

    target: Target
    folder: Path

    def program(self, name: str) -> Path:
        return emulated(self.target, self.folder / name, self.folder)


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Build]:
    done: dict[str, Build] = {}

    def build(name: str) -> Build:
        if name not in done:
            target, folder = TARGETS[name], tmp_path_factory.mktemp(name)
            target.words()
            cmake, words = tool("cmake"), cmake_words(target, "zig")
            execute(cmake, "-S", ROOT / "tests/runtime/c", "-B", folder, *words)
            extra = ["runner", *(["fake_tpu"] if target.sysroot else [])]
            execute(cmake, "--build", folder, "-j", "2", "--target", "all", *extra)
            done[name] = Build(target, folder)
        return done[name]

    return build


@pytest.fixture(scope="module", params=TARGETS)
def build(request: pytest.FixtureRequest, builds: Callable[[str], Build]) -> Build:
    return builds(request.param)


@pytest.fixture(scope="module", params=DYNAMIC)
def dynamic(request: pytest.FixtureRequest, builds: Callable[[str], Build]) -> Build:
    return builds(request.param)


@pytest.fixture(scope="module")
def board(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Board:
    return Board(build.program("board"), tmp_path_factory.mktemp("board"))


# ---- C tests ----


def test_layout(build: Build, tmp_path: Path):
    """Sizes and offsets of the public structs, said by the target's compiler."""
    bits = 32 if build.target.machine == "arm" else 64
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(layout LANGUAGES C)\n"
        f"add_library(layout STATIC layout.c)\n"
        f"target_include_directories(layout PRIVATE {ROOT}/device/runtime/include)\n"
    )
    (tmp_path / "layout.c").write_text(source(bits))
    cmake, words = tool("cmake"), cmake_words(build.target, "zig")
    execute(cmake, "-S", tmp_path, "-B", tmp_path / "build", *words)
    execute(cmake, "--build", tmp_path / "build")


def test_damaged_files(build: Build, vendor_dir: Path, tmp_path: Path):
    """Every truncation, a flipped bit in every byte, random copies: an error or a result."""
    program = build.program("mutate")
    (tmp_path / "tiny").write_bytes(b.tiny().write())
    size = (tmp_path / "tiny").stat().st_size
    assert execute(program, tmp_path / "tiny", "cut", 1).startswith(f"tries {size} good 0 ")
    assert execute(program, tmp_path / "tiny", "flip", 1).startswith(f"tries {size} ")
    file = vendor_dir / "tiny_resnet_cv181x.cvimodel"
    assert execute(program, file, "random", 200, 7).startswith("tries 200 ")
    for name in ("yolo_v3", "deform_conv2d", "topk"):
        (tmp_path / name).write_bytes(model_of(CASES[name](np.random.default_rng(0))))
        assert execute(program, tmp_path / name, "random", 50, 5).startswith("tries 50 ")


def test_every_allocation_may_fail(build: Build, tmp_path: Path):
    (tmp_path / "tiny").write_bytes(b.tiny().write())
    assert int(execute(build.program("lifecycle"), tmp_path / "tiny", "fail").split()[1]) > 20


def test_threads(build: Build, tmp_path: Path):
    (tmp_path / "tiny").write_bytes(b.tiny().write())
    assert execute(build.program("threads"), tmp_path / "tiny", 8, 10) == "ok\n"


@pytest.mark.parametrize("chip", CHIPS)
def test_dma_buffers(build: Build, vendor_dir: Path, tmp_path: Path, chip: str):
    """Byte for byte those of the Python converter of hw/cv18xx-driver.md section 5.3."""
    model = cvimodel.load(vendor_dir / f"tiny_mobilenet_{chip}.cvimodel")
    streams = [s.data for s in model.sections if s.kind == "cmdbuf"]
    assert streams
    for stream in streams:
        (tmp_path / "stream").write_bytes(stream)
        words = (chip, "todma", tmp_path / "stream", tmp_path / "dma")
        execute(build.program("convert"), *words)
        assert (tmp_path / "dma").read_bytes() == convert(chip, stream)


@pytest.mark.parametrize("name", CASES)
def test_cpu_functions(build: Build, tmp_path: Path, name: str):
    """The formulas of api/cvi_nn.md section 10: the bits of the host where they are exact."""
    case = CASES[name](np.random.default_rng(0))
    (tmp_path / "model").write_bytes(model_of(case))
    (tmp_path / "in").write_bytes(b"".join(x.tobytes() for x in case.inputs))
    words = ("-m", tmp_path / "model", "-i", tmp_path / "in", "-o", tmp_path / "out.npz")
    execute(build.program("runner"), *words)
    with np.load(tmp_path / "out.npz") as out:
        for i, expected in enumerate(case.expected):
            got = out[f"o{i}"]
            if got.dtype != expected.dtype:  # bf16 comes as float32
                got = (got.view(np.uint32) >> 16).astype(np.uint16)
            compare(got, expected, case.exact)


@pytest.mark.parametrize("chip", CHIPS)
def test_simulator(build: Build, vendor_dir: Path, tmp_path: Path, chip: str):
    """The bytes of the vendor's emulator; NEON kernels on the ARM targets."""
    for name in ("tiny_resnet", "tiny_mobilenet"):
        np.load(vendor_dir / f"{name}_in.npz")["input"].tofile(tmp_path / "in")
        model = vendor_dir / f"{name}_{chip}.cvimodel"
        words = ("-m", model, "-i", tmp_path / "in", "-o", tmp_path / "out.npz")
        execute(build.program("runner"), *words)
        with np.load(tmp_path / "out.npz") as out:
            expected = np.load(vendor_dir / f"{name}_{chip}_out.npz")["output_Gemm_f32"]
            assert out["output_Gemm_f32"].tobytes() == expected.tobytes()


# ---- the fake driver behind the table of system calls ----


@pytest.mark.parametrize("options", ["evict", "old_ion", "evict;foreign"])
@pytest.mark.parametrize("chip", CHIPS)
def test_networks(board: Board, network: Callable, chip: str, options: str):
    """The bytes of the vendor's emulator with every cache rule enforced; also from clones."""
    n = network(f"tiny_mobilenet_{chip}")
    threads = 0 if "foreign" in options else 3
    result = board.run(f"chip={chip};{options}", n.model, n.x, runs=2, threads=threads)
    assert result.codes("forward") == [0, 0] and result.output == n.y
    assert result.counts["violations"] == 0
    assert result.counts["jobs"] == (2 * 2 if threads == 0 else 2 + 3 * 2)  # copies of the input


@pytest.mark.parametrize(
    ("fault", "codes", "text"),
    [
        ("fault=wait:1:EINTR:20", [0, 0], ""),
        ("fault=submit:1:EINTR:2", [0, 0], ""),
        ("fault=job:1:ETIMEDOUT", [TIMEOUT, 0], "did not finish"),
        ("fault=submit:1:EINTR:100;clock=1000", [-1, 0], "submit"),
        ("fault=alloc:1:ENOMEM", [NOMEM], "ION memory: "),
        ("no_carveout", [-1], "no carveout heap"),
        ("denied", [-1], "Permission denied"),
    ],
)
def test_faults(board: Board, network: Callable, fault: str, codes: list[int], text: str):
    """Those that pass are overcome, the others are errors that say what; nothing is left."""
    n = network("tiny_mobilenet_cv181x")
    result = board.run(f"chip=cv181x;{fault}", n.model, n.x, runs=2)
    assert (result.codes("forward") or result.codes("register")) == codes, result.calls
    assert text in next((message for _, code, message in result.calls if code), "")
    assert clean(result) and result.output == (n.y if len(codes) == 2 else b"")


# ---- the shared library, an unmodified program, the driver preloaded ----


@pytest.mark.parametrize("simulator", [True, False])
@pytest.mark.parametrize("chip", CHIPS)
def test_model_runner(
    dynamic: Build, sdk: Callable[..., Path], vendor_dir: Path, tmp_path: Path, chip: str,
    simulator: bool,
):  # fmt: skip
    """The bytes of the vendor's emulator with every cache rule enforced."""
    folder = sdk(dynamic.target.name, simulator=simulator)
    x = np.load(vendor_dir / "tiny_resnet_in.npz")["input"]
    np.savez(tmp_path / "in.npz", input=x)
    driver = {
        "LD_PRELOAD": dynamic.folder / "libfake_tpu.so",
        "FAKE_TPU": f"chip={chip};evict;size=33554432",
        "FAKE_TPU_REPORT": tmp_path / "report",
    }
    words = [word for name, value in driver.items() for word in ("-E", f"{name}={value}")]
    runner = emulated(dynamic.target, folder / "bin/model_runner", tmp_path, words)
    model = vendor_dir / f"tiny_resnet_{chip}.cvimodel"
    execute(runner, "-m", model, "-i", tmp_path / "in.npz", "-o", tmp_path / "out.npz", "-c", 3)
    expected = np.load(vendor_dir / f"tiny_resnet_{chip}_out.npz")["output_Gemm_f32"]
    out = np.load(tmp_path / "out.npz")["output_Gemm_f32"]
    assert out.tobytes() == expected.tobytes()
    report = (tmp_path / "report").read_text()
    assert "jobs 3 segments 3 violations 0 buffers 0" in report


def test_board_without_driver(dynamic: Build, vendor_dir: Path, tmp_path: Path):
    """A clear error, exit code 1."""
    model = vendor_dir / "tiny_resnet_cv181x.cvimodel"
    words = ["-E", "CVI_NN_BACKEND=board"]
    runner = emulated(dynamic.target, dynamic.folder / "runner", tmp_path, words)
    done = subprocess.run(
        [runner, "-m", model], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 1
    assert "TPU driver not loaded: /dev/cvi-tpu0" in done.stderr
