"""The sample programs on the simulator: arguments, output (cli.md sections 1.2, 16.3;
formats/cvimodel.md section 14.4), and their tensors against the binding."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cvi_nn
import numpy as np
import pytest
from runtime import builder as b
from samples.build import program

Run = Callable[..., "subprocess.CompletedProcess[str]"]
LINE = re.compile(r"^ (-?\d+\.\d{6}), idx (\d+), (.+)$", re.M)


@pytest.fixture(scope="session")
def run(samples: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """run(program, *arguments): compiled on first use."""
    folder, built = tmp_path_factory.mktemp("programs"), {}
    sources = {
        "cvi_sample_model_info": ("model_info/cvi_sample_model_info.c",),
        "model_runner": ("tools/model_runner.c",),
    }

    def start(name: str, *words: Any) -> subprocess.CompletedProcess[str]:
        if name not in built:
            default = (f"classifier/{name}.c", "classifier/classify.c")
            built[name] = program(folder, samples.path, *sources.get(name, default))
        command = [str(built[name]), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    return start


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "a.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    return path


@pytest.fixture(scope="session")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "labels.txt"
    path.write_text("".join(f"n{i:04d} thing {i}\n" for i in range(10)))
    return path


def model(vendor_dir: Path, chip: str = "cv183x") -> Path:
    return vendor_dir / f"tiny_mobilenet_{chip}.cvimodel"


def test_model_info(run: Run, vendor_dir: Path) -> None:
    path = model(vendor_dir)
    done = run("cvi_sample_model_info", path)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout == (
        "CVI_NN_RegisterModel succeeded\n"
        f"Model Param for {path}:\n"
        "  Input Tensor Number  : 1\n"
        "  [0] input, shape (1,3,48,48), count 6912, fmt 0\n"
        "  Output Tensor Number : 1\n"
        "  [0] output_Gemm_f32, shape (1,10,1,1), count 10, fmt 0\n"
        "  Output All Tensors For Debug: [NO]\n"
        "CVI_NN_CleanupModel succeeded\n"
    )
    assert "[YES]" in run("cvi_sample_model_info", path, 1).stdout


def test_wrong_arguments(run: Run, vendor_dir: Path, picture: Path, labels: Path) -> None:
    for name in ("cvi_sample_model_info", "cvi_sample_classifier", "model_runner"):
        done = run(name)
        assert done.returncode == 255 and "Usage" in done.stderr
    m = model(vendor_dir)
    for words in ((m, picture, labels, "--mean"), (m, picture, labels, "--mean", "1,2")):
        assert run("cvi_sample_classifier", *words).returncode == 255
    for words in (("no.cvimodel", picture, labels), (m, "no.jpg", labels), (m, picture, "no.txt")):
        done = run("cvi_sample_classifier", *words)
        assert done.returncode == 1 and done.stderr.count("error:") >= 1


def reference(path: Path, picture: Path) -> np.ndarray:
    """Output for the default preprocessing, through the host's own and the binding."""
    from tpuforge.compiler.calibrate.preprocess import Preprocess

    attrs = {
        "mean": (103.94, 116.78, 123.68), "scale": (0.017,) * 3, "pixel_format": "bgr",
        "resize_dims": (256, 256), "folded": True,
    }  # fmt: skip
    pre = Preprocess.from_attrs((1, 3, 48, 48), attrs)
    planes = pre.resized(np.load(picture))
    with cvi_nn.Model(str(path)) as m:
        out = m.forward({"input": pre.normalise(planes)})
        return np.array(next(iter(out.values())))


def test_classifier(
    run: Run, vendor_dir: Path, picture: Path, labels: Path, tmp_path: Path
) -> None:
    path, out = model(vendor_dir), tmp_path / "out.npy"
    done = run("cvi_sample_classifier", path, picture, labels, "--output", out)
    assert done.returncode == 0, done.stderr
    wanted = reference(path, picture)
    assert np.array_equal(np.load(out), wanted)
    best = np.argsort(-wanted.ravel(), kind="stable")[:5]
    rows = LINE.findall(done.stdout)
    assert "TOP_K[5]:\n" in done.stdout and len(rows) == 5
    assert [int(i) for _, i, _ in rows] == best.tolist()
    assert [v for v, _, _ in rows] == [f"{wanted.ravel()[i]:.6f}" for i in best]
    assert [t for _, _, t in rows] == [f"n{i:04d} thing {i}" for i in best]
    for line in ("RegisterModel", "Forward", "CleanupModel"):
        assert f"CVI_NN_{line} succeeded\n" in done.stdout


def test_tensor_from_a_file(
    run: Run, vendor_dir: Path, labels: Path, picture: Path, tmp_path: Path
) -> None:
    array = np.load(vendor_dir / "tiny_mobilenet_in.npz")["input"].astype(np.float32)
    wanted = np.load(vendor_dir / "tiny_mobilenet_cv183x_out.npz")["output_Gemm_f32"]
    np.save(tmp_path / "in.npy", array)
    (tmp_path / "in.bin").write_bytes(array.tobytes())
    for name in ("in.npy", "in.bin"):
        words = (model(vendor_dir), "-", labels, "--tensor", tmp_path / name)
        done = run("cvi_sample_classifier", *words, "--output", tmp_path / "out.npy")
        assert done.returncode == 0, done.stderr
        assert np.array_equal(np.load(tmp_path / "out.npy").ravel(), wanted.ravel())
    (tmp_path / "short.bin").write_bytes(array.tobytes()[:-1])
    words = (model(vendor_dir), picture, labels, "--tensor", tmp_path / "short.bin")
    assert "takes exactly" in run("cvi_sample_classifier", *words).stderr


def test_fused_preprocess_refuses_a_float_input(
    run: Run, vendor_dir: Path, picture: Path, labels: Path
) -> None:
    done = run("cvi_sample_classifier_fused_preprocess", model(vendor_dir), picture, labels)
    assert done.returncode == 1 and "--fuse_preprocess" in done.stderr


def test_multi_batch_wants_two_programs(
    run: Run, vendor_dir: Path, picture: Path, labels: Path
) -> None:
    done = run("cvi_sample_classifier_multi_batch", model(vendor_dir), picture, labels)
    assert done.returncode == 1 and "OPTION_PROGRAM_INDEX" in done.stderr
    assert len(LINE.findall(done.stdout)) == 5  # the first program ran


@pytest.mark.parametrize("chip", ["cv183x", "cv181x"])
def test_model_runner(run: Run, vendor_dir: Path, tmp_path: Path, chip: str) -> None:
    with np.load(vendor_dir / "tiny_mobilenet_in.npz") as arrays:
        np.savez(tmp_path / "in.npz", **{k: arrays[k].astype(np.float32) for k in arrays.files})
        np.savez_compressed(tmp_path / "small.npz", input=arrays["input"])
    common = ("-m", model(vendor_dir, chip), "-o", tmp_path / "out.npz")
    done = run("model_runner", *common, "-i", tmp_path / "in.npz", "-c", 3)
    assert done.returncode == 0, done.stderr
    assert re.search(r"time of 3 runs: min [\d.]+ ms, median [\d.]+ ms, max [\d.]+ ms", done.stdout)
    with (
        np.load(tmp_path / "out.npz") as got,
        np.load(vendor_dir / f"tiny_mobilenet_{chip}_out.npz") as wanted,
    ):
        want = wanted["output_Gemm_f32"].ravel()
        assert got.files == ["output_Gemm_f32"]
        assert np.array_equal(got["output_Gemm_f32"].ravel(), want)
    done = run("model_runner", *common, "-i", tmp_path / "small.npz")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as again:
        assert np.array_equal(again["output_Gemm_f32"].ravel(), want)
    for name in ("in.npz", "small.npz"):
        data = (tmp_path / name).read_bytes()
        for k in (0, 1, 30, len(data) // 2, len(data) - 1):
            (tmp_path / "cut.npz").write_bytes(data[:k])
            assert run("model_runner", *common, "-i", tmp_path / "cut.npz").returncode == 1
        middle = len(data) // 2
        (tmp_path / "cut.npz").write_bytes(
            data[:middle] + bytes([data[middle] ^ 8]) + data[middle + 1 :]
        )
        done = run("model_runner", *common, "-i", tmp_path / "cut.npz")
        assert done.returncode == 1 and "damaged archive" in done.stderr


def test_model_runner_compares(run: Run, vendor_dir: Path, tmp_path: Path) -> None:
    """Raw bytes in, a model from memory, similarities (cli.md sections 9 and 12)."""
    with np.load(vendor_dir / "tiny_resnet_in.npz") as arrays:
        arrays["input"].tofile(tmp_path / "in.raw")
    with np.load(vendor_dir / "tiny_resnet_cv181x_out.npz") as arrays:
        wanted = arrays["output_Gemm_f32"]
    rng = np.random.default_rng(0)
    near = wanted + rng.normal(0, 0.02, wanted.shape).astype(np.float32) * np.abs(wanted).max()
    np.savez(tmp_path / "near.npz", output_Gemm_f32=near)
    np.savez(tmp_path / "far.npz", output_Gemm_f32=-wanted)
    np.savez(tmp_path / "other.npz", something=wanted)
    words = ("-m", vendor_dir / "tiny_resnet_cv181x.cvimodel", "-i", tmp_path / "in.raw")
    done = run("model_runner", *words, "--load-from-memory", "-r", tmp_path / "near.npz")
    assert done.returncode == 0 and "Compare Pass." in done.stdout, done.stdout
    a, b = wanted.ravel().astype(float), near.ravel().astype(float)
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    euclidean = 1 - np.linalg.norm(a - b) / (np.linalg.norm((a + b) / 2) + 1e-7)
    assert (
        f"cosine {cosine:.6f}, correlation {cosine:.6f}, euclidean {euclidean:.6f}" in done.stdout
    )
    done = run("model_runner", *words, "-r", tmp_path / "near.npz", "-t", "0.9,0.9,0.9999")
    assert done.returncode == 1 and "Compare result: 0/1 passed." in done.stdout
    for name in ("far", "other"):
        assert run("model_runner", *words, "-r", tmp_path / f"{name}.npz").returncode == 1
    for text in ("1,2,3,4", "1,2,", "x", ""):
        assert run("model_runner", *words, "-t", text).returncode == 255
    (tmp_path / "in.raw").write_bytes(bytes(7))
    done = run("model_runner", *words)
    assert done.returncode == 1 and "7 bytes" in done.stderr


def test_model_runner_dumps_every_tensor(run: Run, vendor_dir: Path, tmp_path: Path) -> None:
    words = ("-m", model(vendor_dir), "-o", tmp_path / "all.npz", "--dump-all-tensors")
    assert run("model_runner", *words).returncode == 0
    with np.load(tmp_path / "all.npz") as got:
        assert len(got.files) > 2 and {"input", "output_Gemm_f32"} < set(got.files)


def copies(shape: list[int], dtype: str, qscale: float, batches: tuple[int, ...] = (1,)) -> bytes:
    """Programs that copy `x` to `y`; the scale of an input is the reciprocal of an output's."""
    programs, sections = [], []
    for batch in batches:
        full = [batch, *shape[1:]]
        size = int(np.prod(full)) * np.dtype(b.NUMPY[dtype]).itemsize
        tensors = [
            b.Tensor("x", full, dtype, b.io(3), qscale),
            b.Tensor("y", full, dtype, b.io(4), 1 / qscale),
        ]
        routine = b.Routine(["x"], ["y"], section=f"run{batch}")
        programs.append(b.Program(["x"], ["y"], tensors, [routine]))
        stream = b.copy_command("cv181x", (3, 0), (4, 0), size)
        sections.append(b.Section(1, f"run{batch}", stream))
    return b.Model(programs, sections).write()


def test_model_runner_takes_floats(run: Run, tmp_path: Path) -> None:
    """Rounded half away from zero and clamped; compared as real values (cli.md section 9)."""
    x = np.array([0.5, -0.5, 1.25, 63.6, -64.3, 100, -100, np.nan])
    expected = {
        "int8": [1, -1, 3, 127, -128, 127, -128, 0],
        "uint8": [1, 0, 3, 127, 0, 200, 0, 0],
        "bf16": [int(v) >> 16 for v in x.astype(np.float32).view(np.uint32)],
        "fp32": x.astype(np.float32).tolist(),
    }
    for dtype, want in expected.items():
        (tmp_path / "m").write_bytes(copies([1, 1, 2, 4], dtype, 2.0))
        for kind in (np.float32, np.float64):
            np.savez(tmp_path / "in.npz", anything=x.astype(kind).reshape(1, 1, 2, 4))
            words = ("-m", tmp_path / "m", "-i", tmp_path / "in.npz", "-o", tmp_path / "out.npz")
            done = run("model_runner", *words)
            assert done.returncode == 0, done.stderr
            with np.load(tmp_path / "out.npz") as out:
                assert out["y"].dtype == b.NUMPY[dtype]
                np.testing.assert_array_equal(out["y"].ravel(), want)
    (tmp_path / "m").write_bytes(copies([1, 1, 2, 4], "int8", 2.0))
    np.savez(tmp_path / "in.npz", x=np.arange(-4, 4, dtype=np.float32))
    both = np.arange(-4, 4, dtype=np.float32)
    np.savez(tmp_path / "ref.npz", x=both, y=both)
    words = ("-m", tmp_path / "m", "-i", tmp_path / "in.npz", "-r", tmp_path / "ref.npz")
    done = run("model_runner", *words, "-t", "0.9999,0.9999,0.9999", "--dump-all-tensors")
    assert done.returncode == 0 and done.stdout.count("[Pass]") == 2, done.stdout
    for bad in (np.arange(8, dtype=np.int16), np.zeros(7, np.float32), np.zeros(8, np.float16)):
        np.savez(tmp_path / "in.npz", x=bad)
        done = run("model_runner", *words)
        assert done.returncode == 1 and "input x takes 8 elements" in done.stderr


def test_model_runner_chooses_a_program(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(copies([1, 1, 1, 8], "int8", 1.0, (1, 4)))
    shapes = {(): 1, ("-b", 4): 4, ("-b", 1): 1, ("-s", 1): 4, ("--program", 1, "--batch", 4): 4}
    for words, batch in shapes.items():
        done = run("model_runner", "-m", path, *words)
        assert done.returncode == 0 and f"[0] x, shape ({batch},1,1,8)" in done.stdout, words
        assert done.stderr == ""
    for words, text in (
        (("-b", 2), "no program for batch 2"),
        (("-b", 1, "-s", 1), "program 1 is for batch 4"),
        (("-s", 2), "program 2, the file has 2"),
        (("--set-chip", "cv180x"), "for cv181x, not for cv180x"),
    ):
        done = run("model_runner", "-m", path, *words)
        assert done.returncode == 1 and text in done.stderr, done.stderr
    assert run("model_runner", "-m", path, "--set-chip", "cv181x").returncode == 0
    for words in (("-b", 0), ("-b", "x"), ("-c", 0), ("-s", -1), ("-s",), ("-q",), ("--batch",)):
        assert run("model_runner", "-m", path, *words).returncode == 255


def test_model_runner_verbose(run: Run, vendor_dir: Path) -> None:
    done = run("model_runner", "-m", model(vendor_dir), "-v", "--enable-timer")
    assert done.returncode == 0 and "back-end: simulator" in done.stderr
    assert "time of 1 runs" in done.stdout


def test_aligned_tensors_are_bytes(run: Run, tmp_path: Path) -> None:
    """A YUV image has fewer bytes than elements: neither read nor written beyond its buffer."""
    tensor = b.Tensor("x", [1, 3, 64, 64], "uint8", b.io(3))
    tensor.pixel_format, tensor.aligned = "YUV_NV12", True
    (tmp_path / "m").write_bytes(b.Model([b.Program(["x"], ["x"], [tensor])]).write())
    words = ("-m", tmp_path / "m", "-i", tmp_path / "in.npz", "-o", tmp_path / "out.npz")
    x = np.arange(6144, dtype=np.uint16).astype(np.uint8)
    np.savez(tmp_path / "in.npz", x=x)
    done = run("model_runner", *words)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as out:
        assert np.array_equal(out["x"], x)
    np.savez(tmp_path / "in.npz", x=np.zeros((1, 3, 64, 64), np.uint8))
    done = run("model_runner", *words)
    assert done.returncode == 1 and "6144 elements" in done.stderr


def test_model_info_of_every_program(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(copies([1, 1, 1, 8], "int8", 1.0, (1, 4)))
    done = run("cvi_sample_model_info", path)
    assert done.returncode == 0 and done.stderr == ""
    first, second = done.stdout.split(f"Model Param for {path}, program #1:\n")
    assert f"Model Param for {path}:\n" in first
    assert "  [0] x, shape (1,1,1,8), count 8, fmt 6\n" in first
    assert "  [0] y, shape (4,1,1,8), count 32, fmt 6\n" in second
    assert second.endswith("CVI_NN_CleanupModel succeeded\n")


@pytest.mark.parametrize("name", ["cvi_sample_model_info", "model_runner"])
def test_files_that_are_no_models(run: Run, vendor_dir: Path, tmp_path: Path, name: str) -> None:
    """A message and exit code 1."""
    option = ("-m",) if name == "model_runner" else ()
    data = model(vendor_dir).read_bytes()
    for content in (b"", b"text" * 50, data[:3000], data[:100] + bytes(40) + data[140:]):
        (tmp_path / "m").write_bytes(content)
        done = run(name, *option, tmp_path / "m")
        assert done.returncode == 1 and "CVI_NN_RegisterModel failed (0xc07780" in done.stderr
    for path in (tmp_path / "nothing", tmp_path):
        assert run(name, *option, path).returncode == 1


def test_model_runner_with_files_that_are_not_there(
    run: Run, vendor_dir: Path, tmp_path: Path
) -> None:
    words = ("-m", model(vendor_dir))
    for more, text in (
        (("-i", tmp_path / "no.npz"), "can not read"),
        (("-r", tmp_path / "no.npz"), "no such file"),
        (("-o", tmp_path / "no" / "out.npz"), "out.npz"),
        (("--load-from-memory", "-m", tmp_path / "no"), "can not read"),
    ):
        done = run("model_runner", *words, *more)
        assert done.returncode == 1 and text in done.stderr, done.stderr
