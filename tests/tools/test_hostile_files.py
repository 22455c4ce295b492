"""Damaged files of every kind through every command that reads them (issue 3 "Bad input"): an exit
code and one paragraph, never a traceback, an internal error or a half-written output.
"""

from __future__ import annotations

import random
import resource
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tpuforge.compiler import api
from tpuforge.tools import (
    cvimodel_tool,
    disasm,
    model_deploy,
    model_runner,
    model_tool,
    model_transform,
    npz_tool,
    run_calibration,
)

TRANSFORM = "--model_name net --model_def net.onnx --mlir out.mlir --mean 9,9,9 --scale 0.1,0.1,0.1"
CHECKED = f"{TRANSFORM} --test_result o.npz --test_input"
DEPLOY = "--mlir net.mlir --quantize INT8 --calibration_table table.txt --chip cv180x --opt 0"
Main = Callable[[list[str]], int]
#: the damaged file, the command that reads it
READERS: list[tuple[str, Main, str]] = [
    ("net.onnx", model_transform.main, TRANSFORM),
    ("picture.png", model_transform.main, f"{CHECKED} picture.png"),
    ("picture.jpg", model_transform.main, f"{CHECKED} picture.jpg"),
    ("in.npz", model_transform.main, f"{CHECKED} in.npz"),
    ("net.mlir", run_calibration.main, "net.mlir --dataset good --input_num 1 -o out.txt"),
    ("weights.npz", run_calibration.main, "net.mlir --dataset good --input_num 1 -o out.txt"),
    ("picture.png", run_calibration.main, "net.mlir --data_list list.txt -o out.txt"),
    ("list.txt", run_calibration.main, "net.mlir --data_list list.txt -o out.txt"),
    ("net.mlir", model_deploy.main, f"{DEPLOY} --model out.cvimodel"),
    ("weights.npz", model_deploy.main, f"{DEPLOY} --model out.cvimodel"),
    ("table.txt", model_deploy.main, f"{DEPLOY} --model out.cvimodel"),
    ("in.npz", model_deploy.main, f"{DEPLOY} --model out.cvimodel --test_input in.npz"),
    ("net.cvimodel", model_runner.main, "--model net.cvimodel --input in.npz --output o.npz"),
    ("in.npz", model_runner.main, "--model net.cvimodel --input in.npz --output o.npz"),
    ("net.mlir", model_runner.main, "--model net.mlir --input in.npz --output o.npz"),
    ("net.onnx", model_runner.main, "--model net.onnx --input in.npz --output o.npz"),
    ("in.npz", npz_tool.main, "dump in.npz"),
    ("in.npz", npz_tool.main, "compare in.npz other.npz"),
    ("net.cvimodel", cvimodel_tool.main, "-a dump -i net.cvimodel"),
    ("net.cvimodel", model_tool.main, "--info net.cvimodel"),
    ("net.cvimodel", disasm.main, "net.cvimodel"),
]  # fmt: skip
IDS = [f"{main.__module__.rsplit('.', 1)[1]}-{name}" for name, main, _ in READERS]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one small good file of every kind."""
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["input", "w"], ["y"], pads=[1] * 4), relu("y", "output")]
    save(nodes, folder / "net.onnx", [numpy_helper.from_array(weights, "w")])
    picture = rng.integers(0, 256, (12, 10, 3), np.uint8)
    (folder / "good").mkdir()
    for path in ("picture.png", "picture.jpg", "good/one.png"):
        assert cv2.imwrite(str(folder / path), picture)
    (folder / "list.txt").write_text("picture.png\n")
    np.savez(folder / "in.npz", input=rng.standard_normal((1, 3, 8, 8)).astype(np.float32))
    shutil.copy(folder / "in.npz", folder / "other.npz")
    graph = api.transform(
        folder / "net.onnx",
        name="net",
        mlir=folder / "net.mlir",
        preprocess={"mean": (9,) * 3, "scale": (0.1,) * 3, "pixel_format": "rgb"},
    ).graph
    api.calibrate(graph, [(str(folder / "good/one.png"),)], table=folder / "table.txt", tune_num=0)
    api.deploy(graph, folder / "table.txt", "cv180x", folder / "net.cvimodel", opt=0)
    (folder / "net_top_f32_all_weight.npz").replace(folder / "weights.npz")
    (folder / "net_top_f32_all_weight.npz").symlink_to("weights.npz")
    return folder


def relu(x: str, y: str) -> onnx.NodeProto:
    return helper.make_node("Relu", [x], [y])


def save(nodes: list[onnx.NodeProto], path: Path, constants: list[TensorProto] | None = None,
         shape: tuple[int, ...] = (1, 3, 8, 8)) -> None:  # fmt: skip
    x = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], constants or [])
    opset = helper.make_opsetid("", 13)
    path.write_bytes(
        helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()
    )


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capfd: pytest.CaptureFixture[str], main: Main, line: str) -> int:
    """The exit code; checks what is on stderr."""
    code = main(line.split())
    err = capfd.readouterr().err
    assert code in (0, 1, 2, 3), err
    assert "Traceback" not in err and "internal error" not in err, err
    if code:
        prog = main.__module__.rsplit(".", 1)[1]
        last = err.splitlines()[-1]
        assert last.startswith((f"{prog}: error: ", "npz_tool")) and len(last) < 3000, err
    return code


def damaged(data: bytes, seed: int) -> Iterator[bytes]:
    """Nothing, a little, half, another kind of file, and changed bytes and lines."""
    r = random.Random(seed)
    yield from (b"", data[:1], data[: len(data) // 2], data[:-1], bytes(64), b"\xff" * 300)
    yield from (b"PK\x03\x04" + data[4:], data + data, b"\xef\xbb\xbf" + data, r.randbytes(999))
    for _ in range(8):
        mutant = bytearray(data)
        for _ in range(r.choice((1, 2, 8))):
            mutant[r.randrange(len(mutant))] = r.choice((0, 255, 10, 45, 57, r.randrange(256)))
        yield bytes(mutant)


@pytest.mark.parametrize(("name", "main", "line"), READERS, ids=IDS)
def test_damaged_files(
    name: str, main: Main, line: str, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = (here / name).read_bytes()
    before = {p.name for p in here.iterdir()}
    assert run(capfd, main, line) == 0
    refused = 0
    for mutant in damaged(good, zlib.crc32(line.encode())):
        for left in {p.name for p in here.iterdir()} - before:
            shutil.rmtree(here / left) if (here / left).is_dir() else (here / left).unlink()
        (here / name).write_bytes(mutant)
        code = run(capfd, main, line)
        refused += code != 0
        left = {p.name for p in here.iterdir()} - before
        assert not [n for n in left if n.startswith(".") or n.endswith(".tmp")], left
        made = {n for n in left if n in ("out.mlir", "out.txt", "out.cvimodel")}
        if "--test_result" in line:  # the graph is written before the test input is read
            made -= {"out.mlir"}
        assert code == 0 or not made, f"{made} although the command failed"
    assert refused >= 4


@pytest.mark.parametrize(("name", "main", "line"), READERS, ids=IDS)
def test_missing_files_and_folders(
    name: str, main: Main, line: str, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / name).unlink()
    assert run(capfd, main, line) in (1, 2)
    (here / name).mkdir()
    assert run(capfd, main, line) in (1, 2)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """A claim of gigabytes that is believed ends in MemoryError: 4 GB above what is in use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 30), hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def png(width: int, height: int) -> bytes:
    """A picture whose header claims more than is there."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


def npy(shape: str, kind: str = "<f4") -> bytes:
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + bytes(64)


@pytest.mark.parametrize("size", [(60000, 60000), (1 << 30, 1), (0, 0)])
def test_pictures_that_claim_too_much(
    size: tuple[int, int], here: Path, capfd: pytest.CaptureFixture[str], little_memory: None
) -> None:
    (here / "picture.png").write_bytes(png(*size))
    for name, main, line in READERS:
        if name == "picture.png":
            assert run(capfd, main, line) == 1


@pytest.mark.parametrize(
    "content",
    [
        npy("(1099511627776, 3)"),
        npy("(-1, 3, 8, 8)"),
        npy("(1, 3, 8, 8)"),
        npy("(1, 3, 8, 8)", "|O"),
        npy("(1, 3, 8, 8)", "<U900000000"),
        npy("__import__('os').mkdir('owned')"),
        npy("(" * 90),
    ],
)
def test_arrays_that_claim_too_much(
    content: bytes, here: Path, capfd: pytest.CaptureFixture[str], little_memory: None
) -> None:
    for name in ("in.npz", "weights.npz"):
        kept = (here / name).read_bytes()
        with zipfile.ZipFile(here / name) as z:
            member = z.namelist()[0]
        with zipfile.ZipFile(here / name, "w") as z:
            z.writestr(member, content)
        for file, main, line in READERS:
            if file == name:
                assert run(capfd, main, line) == 1
        (here / name).write_bytes(kept)
    assert not (here / "owned").exists()


def test_a_zip_bomb(here: Path, capfd: pytest.CaptureFixture[str], little_memory: None) -> None:
    """64 MB of zeros that claim 8 GB: refused by the claim, or by the memory limit."""
    head = npy("(1073741824, 2)")[:-64]
    deflated = zipfile.ZipFile(here / "in.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with deflated as z, z.open("input.npy", "w", force_zip64=True) as member:
        member.write(head)
        for _ in range(64):
            member.write(bytes(1 << 20))
    for file, main, line in READERS:
        if file == "in.npz":
            assert run(capfd, main, line) == 1


@pytest.mark.parametrize("shape", [(1, 3, 1 << 20, 1 << 20), (1 << 40, 3, 8, 8), (1, 0, 8, 8)])
def test_networks_that_claim_too_much(
    shape: tuple[int, ...], here: Path, capfd: pytest.CaptureFixture[str], little_memory: None
) -> None:
    """A network of a hundred bytes for a picture of a terabyte."""
    save([relu("input", "output")], here / "net.onnx", shape=shape)
    code = run(capfd, model_transform.main, f"{CHECKED} in.npz")
    assert code in (1, 2, 3)
