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
        assert got.files == ["output_Gemm_f32"]
        assert np.array_equal(got["output_Gemm_f32"].ravel(), wanted["output_Gemm_f32"].ravel())
    done = run("model_runner", *common, "-i", tmp_path / "small.npz")
    assert done.returncode == 1 and "np.savez" in done.stderr
    data = (tmp_path / "in.npz").read_bytes()
    for k in (0, 1, 30, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.npz").write_bytes(data[:k])
        assert run("model_runner", *common, "-i", tmp_path / "cut.npz").returncode == 1


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
