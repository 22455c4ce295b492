"""The board back-end on the fake driver (hw/cv18xx-driver.md, issue 4 point 5): behind its table
of system calls (tests/runtime/c/board.c), and preloaded under the shared library."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from runtime import builder as b
from runtime.cpu_cases import CASES
from runtime.test_cpu_op import model_of
from runtime.test_shared_region import through_shared

pytestmark = pytest.mark.model

TESTS = Path(__file__).resolve().parents[1]
TIMEOUT, NOMEM, UNSUPPORT = -1065910251, -1065910260, -1065910264
CHIPS = ("cv183x", "cv182x", "cv181x", "cv180x")


@dataclass
class Result:
    """What tests/runtime/c/board.c printed; `calls` has (name, code, text)."""

    calls: list[tuple[str, int, str]]
    counts: dict[str, int]
    output: bytes
    messages: str

    def codes(self, name: str) -> list[int]:
        return [code for call, code, _ in self.calls if call == name]


@dataclass
class Board:
    """Runs models on the board back-end."""

    program: Path
    folder: Path

    def run(
        self, options: str, model: bytes, x: np.ndarray, runs: int = 1, threads: int = 1
    ) -> Result:
        paths = [self.folder / name for name in ("model", "in", "out")]
        paths[0].write_bytes(model)
        paths[1].write_bytes(x.tobytes())
        paths[2].unlink(missing_ok=True)
        done = subprocess.run(
            [self.program, options, *paths, str(runs), str(threads)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        calls, counts = [], {}
        for line in done.stdout.splitlines():
            name, value, *text = line.split(" ", 2)
            if text:
                calls.append((name, int(value), text[0]))
            else:
                counts[name] = int(value)
        output = paths[2].read_bytes() if paths[2].exists() else b""
        return Result(calls, counts, output, done.stderr)


@pytest.fixture(scope="module")
def board(c_program: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Board:
    return Board(c_program("board", "address,undefined"), tmp_path_factory.mktemp("board"))


@dataclass
class Network:
    model: bytes
    x: np.ndarray
    y: bytes


@pytest.fixture(scope="module")
def network(vendor_dir: Path) -> Callable[[str], Network]:
    def load(name: str) -> Network:
        x = np.load(vendor_dir / f"{name.rsplit('_', 1)[0]}_in.npz")["input"]
        y = np.load(vendor_dir / f"{name}_out.npz")["output_Gemm_f32"]
        return Network((vendor_dir / f"{name}.cvimodel").read_bytes(), x, y.tobytes())

    return load


def clean(result: Result) -> bool:
    """No harm to the kernel, nothing left."""
    return result.counts["violations"] == 0 and result.counts["buffers"] == 0


@pytest.mark.parametrize("options", ["", ";evict", ";old_ion"])
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", ["tiny_mobilenet", "tiny_resnet"])
def test_networks(board: Board, network: Callable, name: str, chip: str, options: str):
    """The bytes of the vendor's emulator, also from clones of three threads."""
    n = network(f"{name}_{chip}")
    result = board.run(f"chip={chip}{options}", n.model, n.x, runs=2, threads=3)
    assert result.codes("forward") == [0, 0] and result.counts["threads"] == 0
    assert result.output == n.y
    assert clean(result) and result.counts["jobs"] == 2 + 3 * 2


@pytest.mark.parametrize("what", ["flush", "invalidate"])
def test_the_fake_notices_every_forgotten_cache_operation(
    board: Board, network: Callable, what: str
):
    """Each single one left out shows: as wrong data, or in what the TPU is given. (The first
    invalidate of a buffer and the clearing of memory that is overwritten later do not.)"""
    n = network("tiny_mobilenet_cv181x")
    silent = []
    for index in range(1, 30):
        result = board.run(f"chip=cv181x;evict;fault={what}:{index}:SKIP", n.model, n.x)
        if result.output == n.y and result.counts["violations"] == 0:
            silent.append(index)
    all_left_out = board.run(f"chip=cv181x;fault={what}:1:SKIP:0", n.model, n.x)
    assert all_left_out.output != n.y
    assert len(silent) < 29, silent


def test_segments(board: Board):
    """Ids restart behind 0xFFFF: two segments of one stream, one job."""
    stream = b.copy_command("cv181x", (3, 0), (2, 0), 64, 0xFFFF)
    stream += b.copy_command("cv181x", (2, 0), (4, 0), 64, 1)
    model = b.tiny(sections=[b.Section(0, "weight"), b.Section(1, "run", stream)])
    model.programs[0].private = 64
    x = np.arange(64, dtype=np.int8)
    result = board.run("chip=cv181x", model.write(), x)
    assert result.output == x.tobytes() and clean(result)
    assert (result.counts["jobs"], result.counts["segments"]) == (1, 2)


def test_cpu_functions_between_tpu_routines(board: Board):
    """CPU -> TPU -> CPU in one private region, with lines shared by neighbours."""
    x = np.linspace(-2, 2, 40, dtype=np.float32).reshape(1, 1, 1, 40)
    tensors = [
        b.Tensor("x", x.shape, "fp32", b.io(3)),
        b.Tensor("q", x.shape, offset=b.io(2, 16)),
        b.Tensor("r", x.shape, offset=b.io(2, 80)),
        b.Tensor("y", x.shape, "fp32", b.io(4)),
    ]
    to_int8 = b.cpu_args(**{"from": "FP32", "to": "INT8", "scale": 50.0})
    to_fp32 = b.cpu_args(**{"from": "INT8", "to": "NONE", "scale": 0.5})
    routines = [
        b.Routine(["x"], ["q"], function="quant", args=to_int8),
        b.Routine(["q"], ["r"], section="s"),
        b.Routine(["r"], ["y"], function="quant", args=to_fp32),
    ]
    program = b.Program(["x"], ["y"], tensors, routines, private=128)
    stream = b.copy_command("cv181x", (2, 16), (2, 80), 40)
    model = b.Model([program], [b.Section(1, "s", stream)]).write()
    expected = np.sign(x) * np.floor(np.abs(x * np.float32(50)) + 0.5) * np.float32(0.5)
    for options in ("", ";evict"):
        result = board.run(f"chip=cv181x{options}", model, x, runs=2)
        assert (np.frombuffer(result.output, np.float32) == expected.ravel()).all()
        assert clean(result) and result.counts["jobs"] == 2
    result = board.run("chip=cv181x;evict;foreign", model, x, runs=2)
    assert (np.frombuffer(result.output, np.float32) == expected.ravel()).all()
    assert result.counts["violations"] == 0 and result.counts["jobs"] == 2 * 3  # copies in and out


def test_system_memory_only(board: Board):
    """A model of CPU functions alone needs no job."""
    case = CASES["softmax"](np.random.default_rng(0))
    x = np.concatenate([np.ravel(a).view(np.uint8) for a in case.inputs])
    result = board.run("chip=cv181x", model_of(case), x)
    assert result.codes("forward") == [0] and result.counts["jobs"] == 0 and clean(result)


# ---- memory of other programs ----


@pytest.mark.parametrize("chip", CHIPS)
def test_foreign_buffers(board: Board, chip: str):
    """A video frame in, a result out, both by address: the base registers point there."""
    x = np.arange(64, dtype=np.int8)
    result = board.run(f"chip={chip};foreign", b.tiny(chip).write(), x, runs=2)
    assert result.codes("bind") == [0, 0] and result.codes("forward") == [0, 0], result.calls
    assert result.output == x.tobytes()
    assert result.counts["jobs"] == 2 and result.counts["violations"] == 0


@pytest.mark.parametrize("chip", CHIPS)
def test_foreign_buffers_where_the_cpu_works(board: Board, network: Callable, chip: str):
    """A CPU function reads the input: the TPU copies from the frame into our buffer."""
    n = network(f"tiny_mobilenet_{chip}")
    result = board.run(f"chip={chip};evict;foreign", n.model, n.x, runs=2)
    assert result.codes("forward") == [0, 0], result.calls
    assert result.output == n.y and result.counts["violations"] == 0
    assert result.counts["jobs"] == 2 * 2


@pytest.mark.parametrize(
    "shape", [(1, 3, 5, 28), (1, 2, 3, 70000), (1, 3, 22000, 4), (1, 1, 4, 64), (1, 1, 1, 1)]
)
@pytest.mark.parametrize("chip", ["cv183x", "cv180x"])
def test_frames_of_other_programs(board: Board, chip: str, shape: tuple[int, ...]):
    """Padded rows are compacted by the TPU, also long rows and many of them."""
    align = 32 if chip == "cv183x" else 64
    stride = -(-shape[3] // align) * align
    size = int(np.prod(shape))
    tensors = [
        b.Tensor("in", shape, "uint8", b.io(3), pixel_format="RGB_PLANAR", size=size),
        b.Tensor("out", shape, "uint8", b.io(4), size=size),
    ]
    program = b.Program(["in"], ["out"], tensors, [b.Routine(["in"], ["out"], section="run")])
    sections = [b.Section(1, "run", b.copy_command(chip, (3, 0), (4, 0), size))]
    x = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    model = b.Model([program], sections, chip=chip).write()
    result = board.run(f"chip={chip};evict;frames={stride}", model, x, runs=2)
    assert result.codes("frame") == [0] and result.codes("forward") == [0, 0], result.calls
    assert result.output == x.tobytes()
    assert result.counts["jobs"] == 1 + 2 and result.counts["violations"] == 0


# ---- faults ----


@pytest.mark.parametrize(
    "fault",
    [
        "fault=wait:1:EINTR:20",
        "fault=wait:1:EAGAIN",
        "fault=submit:1:EINTR:2",
        "fault=flush:1:EINTR",
        "fault=invalidate:3:EIO",  # opens the node again
        "fault=flush:4:EIO:2",
        "fault=wait:1:EIO",
        "fault=submit:1:EBADF",
        "fault=alloc:1:EINTR",
        "fault=open:1:EINTR",
        *(f"break={n}" for n in (1, 2, 7, 12, 15, 16, 17, 18)),
    ],
)
def test_faults_that_are_overcome(board: Board, network: Callable, fault: str):
    n = network("tiny_mobilenet_cv181x")
    result = board.run(f"chip=cv181x;{fault}", n.model, n.x, runs=2)
    assert result.codes("forward") == [0, 0], result.calls
    assert result.output == n.y and clean(result) and result.counts["jobs"] == 2


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        ("fault=job:1:ETIMEDOUT", TIMEOUT, "did not finish"),
        ("fault=job:1:EIO", -1, "Input/output"),
        ("fault=job:1:EPERM", -1, "refused"),  # -1: wrong magic
        ("fault=submit:1:EIO", -1, "submit"),
        ("fault=submit:1:ENOMEM", -1, "submit"),
        ("fault=submit:1:EINTR:100;clock=1000", -1, "submit"),
    ],
)
def test_faults_of_one_run(board: Board, network: Callable, fault: str, code: int, text: str):
    """An error that says what; the next run works."""
    n = network("tiny_mobilenet_cv181x")
    result = board.run(f"chip=cv181x;{fault}", n.model, n.x, runs=2)
    assert result.codes("forward") == [code, 0] and text in result.calls[2][2]
    assert result.output == n.y and clean(result)


@pytest.mark.parametrize(
    ("fault", "code"),
    [("fault=wait:1:EINTR:0;clock=1000", TIMEOUT), ("fault=wait:1:EIO:0", -1)],
)
def test_a_job_that_never_ends(board: Board, network: Callable, fault: str, code: int):
    """An error, not an endless loop; and memory that the TPU may still write is not given back."""
    n = network("tiny_mobilenet_cv181x")
    result = board.run(f"chip=cv181x;{fault}", n.model, n.x, runs=2)
    assert result.codes("forward") == [code, -1] and "never ended" in result.calls[3][2]
    assert result.counts["buffers"] > 0 and result.counts["violations"] == 0


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ("denied", -1, "/dev/cvi-tpu0: Permission denied"),
        ("no_carveout", -1, "no carveout heap"),
        ("fault=heaps:1:EINVAL:0", -1, "heap query"),
        ("fault=open:2:EPERM:0", -1, "not usable"),
        ("fault=map:1:ENOMEM", NOMEM, "map"),
        ("fault=alloc:1:ENOMEM", NOMEM, "8192 bytes"),  # commands
        ("fault=alloc:2:ENOMEM", NOMEM, "32768 bytes"),  # weights
        ("size=8192", NOMEM, "32768 bytes"),
        ("fault=flush:1:EIO:0", -1, "flush"),
        ("fault=flush:1:EINTR:0;clock=1000", -1, "flush"),
        ("model=Cvitek. CV183X ASIC. C906.", UNSUPPORT, "this board has a cv183x"),
    ],
)
def test_errors_of_registration(
    board: Board, network: Callable, options: str, code: int, text: str
):
    n = network("tiny_mobilenet_cv181x")
    result = board.run(f"chip=cv181x;{options}", n.model, n.x)
    assert [c[:2] for c in result.calls] == [("register", code)] and text in result.calls[0][2]
    assert clean(result)


@pytest.mark.parametrize("call", ["alloc", "map", "flush", "invalidate", "submit"])
def test_every_call_may_fail(board: Board, network: Callable, call: str):
    """For every n, call number n fails (three times for those that are repeated): an error that
    says so, or the right result; nothing leaks."""
    n = network("tiny_mobilenet_cv181x")
    index, good = 0, False
    while not good:
        index += 1
        result = board.run(f"chip=cv181x;fault={call}:{index}:EIO:3", n.model, n.x)
        codes = [code for _, code, _ in result.calls]
        good = not any(codes)
        assert clean(result)
        if good:
            assert result.output == n.y
    assert index > {"submit": 1}.get(call, 5)


def test_bad_models_do_not_reach_the_driver(board: Board):
    """Accesses outside the regions are refused before anything is submitted."""
    model = b.tiny(sections=[b.Section(1, "run", b.copy_command("cv181x", (3, 0), (4, 0), 65))])
    result = board.run("chip=cv181x", model.write(), np.zeros(64, np.int8))
    assert result.calls[-2][0] == "tensors" and "region" in result.calls[-2][2]
    assert result.counts["jobs"] == 0 and clean(result)


def test_the_simulator_without_a_node(board: Board, network: Callable):
    n = network("tiny_mobilenet_cv181x")
    result = board.run("absent", n.model, n.x)
    assert result.output == n.y and result.counts["jobs"] == 0


def test_threads_share_the_driver(
    c_program: Callable[..., Path], tmp_path: Path, network: Callable
):
    """Eight clones at once under ThreadSanitizer: jobs belong to the thread that submits them."""
    n = network("tiny_mobilenet_cv181x")
    board = Board(c_program("board", "thread"), tmp_path)
    result = board.run("chip=cv181x", n.model, n.x, runs=20, threads=8)
    assert result.counts["threads"] == 0 and result.counts["jobs"] == 180 and clean(result)
    # one shared region for all of them, made and freed meanwhile; large beside what each owns
    x, region = np.arange(64, dtype=np.int8), 1 << 20
    result = board.run("chip=cv181x;evict", through_shared(region), x, runs=20, threads=8)
    assert result.counts["threads"] == 0 and result.counts["jobs"] == 180 and clean(result)
    assert result.output == x.tobytes() and result.counts["peak"] < 2 * region


def test_many_jobs(board: Board):
    """The sequence number wraps at 65536."""
    x = np.arange(64, dtype=np.int8)
    result = board.run("chip=cv181x", b.tiny("cv181x").write(), x, runs=66000)
    assert result.counts["jobs"] == 66000 and not any(result.codes("forward")) and clean(result)
    assert result.output == x.tobytes()


# ---- the shared library, unmodified programs ----


def preloaded(library: Path, options: str, report: Path) -> dict[str, str]:
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        "FAKE_TPU": options,
        "FAKE_TPU_REPORT": str(report),
    }


@pytest.mark.parametrize("chip", CHIPS)
def test_preloaded_under_python(
    c_program: Callable[..., Path], vendor_dir: Path, tmp_path: Path, chip: str
):
    """cvi_nn and the installed library with every cache rule enforced."""
    script = (
        "import sys, numpy as np, cvi_nn\n"
        "x = np.load(sys.argv[1])['input']\n"
        "model = cvi_nn.Model(sys.argv[2])\n"
        "clone = model.clone()\n"
        "y = [m.forward([x])['output_Gemm_f32'] for m in (model, clone, model)]\n"
        "expected = np.load(sys.argv[3])['output_Gemm_f32']\n"
        "assert all(v.tobytes() == expected.tobytes() for v in y)\n"
    )
    files = ("tiny_resnet_in.npz", f"tiny_resnet_{chip}.cvimodel", f"tiny_resnet_{chip}_out.npz")
    subprocess.run(
        [sys.executable, "-c", script, *(vendor_dir / f for f in files)],
        env=preloaded(c_program("fake_tpu"), f"chip={chip};evict", tmp_path / "report"),
        check=True,
        timeout=100,
    )
    assert "jobs 3 segments 3 violations 0" in (tmp_path / "report").read_text()


def test_api_tests_on_the_board_backend(c_program: Callable[..., Path], tmp_path: Path):
    """The tests of the API, of files and of vendor models, as they are, on a cv181x board. They
    do not all flush what they write, hence `coherent`."""
    names = ("test_api.py", "test_files.py", "test_vendor_models.py", "test_dmabuf.py")
    names += ("test_shared_region.py", "test_frames.py")
    other_chips = "cv183x or several_chips or command_buffers or one_neuron_region or version_1_0"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-x"]
        + ["-m", "not model and not parity", "-k", f"not ({other_chips})"]
        + [TESTS / "runtime" / name for name in names],
        env=preloaded(c_program("fake_tpu"), "chip=cv181x;model=any;coherent", tmp_path / "report"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    reports = (tmp_path / "report").read_text().splitlines()
    counts = dict(zip(*[iter(max(reports, key=len).split())] * 2, strict=True))
    assert int(counts["jobs"]) > 40 and counts["violations"] == "0", reports


@pytest.mark.parametrize("chip", CHIPS)
def test_kernels_on_the_board_backend(c_program: Callable[..., Path], tmp_path: Path, chip: str):
    """The ready-made kernels, with every cache rule enforced."""
    words = ["-q", "-p", "no:cacheprovider", "-m", "not parity", "-k", f"exact_product and {chip}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, TESTS / "runtime" / "test_kernels.py"],
        env=preloaded(c_program("fake_tpu"), f"chip={chip};evict", tmp_path / "report"),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout[-3000:]
    assert "violations 0" in max((tmp_path / "report").read_text().splitlines(), key=len)
