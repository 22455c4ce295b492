"""From an ONNX file to TOP_K on the virtual board, on aarch64 and armhf."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.board
TARGETS = ("aarch64", "armhf")
OPTIONS = ("--rgb", "--mean", "127", "--scale", "0.0078125")
LINE = re.compile(r"^ (-?\d+\.\d{6}), idx (\d+), ", re.M)


NETWORKS = {"efficientnet_lite0": 224, "tiny_mobilenet": 48}  # side of the picture


def compiled(shared_dir: Path, folder: Path, name: str, batches: tuple[int, ...]) -> Path:
    """A network for cv183x with one or more batch sizes, merged into one file."""
    import conftest
    import tpuforge.compiler as compiler
    from tpuforge.tools import cvimodel_tool

    onnx, problem = conftest._zoo_file(shared_dir, name, 1)
    if problem:
        conftest.missing(problem)
    table = shared_dir / f"zoo/vendor/{name}_cali_table"
    preprocess = {"mean": (127.0,) * 3, "scale": (1 / 128,) * 3, "pixel_format": "rgb"}
    paths = []
    for batch in batches:
        shape = [batch, 3, NETWORKS[name], NETWORKS[name]]
        graph = compiler.transform(str(onnx), input_shapes=[shape], preprocess=preprocess).graph
        paths.append(folder / f"{name}_bs{batch}.cvimodel")
        compiler.deploy(
            graph, table, "cv183x", paths[-1], name=name,
            merge_weight=len(paths) > 1, compress_weight=len(batches) == 1,
        )  # fmt: skip
    if len(paths) == 1:
        return paths[0]
    both = folder / f"{name}.cvimodel"
    assert cvimodel_tool.main(["-a", "merge", "-i", *map(str, paths), "-o", str(both)]) == 0
    return both


@pytest.fixture(scope="module")
def models(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """one: efficientnet_lite0; both: batch 1 and 4 of a small network in one file (five
    efficientnets take long in an emulated simulator)."""
    folder = tmp_path_factory.mktemp("models")
    return SimpleNamespace(
        one=compiled(shared_dir, folder, "efficientnet_lite0", (1,)),
        both=compiled(shared_dir, folder, "tiny_mobilenet", (1, 4)),
    )


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """host(name) -> the sample program built for this machine."""
    from samples.build import program, shared_library

    folder = tmp_path_factory.mktemp("host")
    library = shared_library(folder)
    return lambda name: program(folder, library, f"classifier/{name}.c", "classifier/classify.c")


def run_host(path: Path, *words: Any) -> str:
    import subprocess

    return subprocess.run(
        [str(path), *map(str, words)], capture_output=True, text=True, check=True, timeout=600
    ).stdout


@pytest.mark.parametrize("target", TARGETS)
def test_classifier(
    board: SimpleNamespace, sdks: dict[str, Path], models: SimpleNamespace, shared_dir: Path,
    host: Any, tmp_path: Path, target: str,
) -> None:  # fmt: skip
    """deploy: push and run in one step; TOP_K and output bytes are those of the host."""
    from tpuforge.evb import connect
    from tpuforge.evb.deploy import deploy
    from tpuforge.evb.pull import pull
    from tpuforge.evb.sdk import board_items

    cat = shared_dir / "data/images/cat.jpg"
    labels = shared_dir / "data/labels/synset_words.txt"
    with connect(getattr(board, target)) as link:
        report, result = deploy(
            link, models.one, "classifier", image=cat, labels=labels, sdk=sdks[target],
            options=[*OPTIONS, "--output", "/tmp/out.npy"], timeout=600,
        )  # fmt: skip
        assert result.code == 0, result.err
        assert report.sent >= models.one.stat().st_size
        pulled = pull(link, ["/tmp/out.npy"], tmp_path)[0]
        again, _ = deploy(link, models.one, "model_info", sdk=sdks[target])
        assert again.sent == 0 and len(again.unchanged) == len(board_items(sdks[target])) + 1
    out = tmp_path / "host.npy"
    words = (models.one, cat, labels, *OPTIONS, "--output", out)
    text = run_host(host("cvi_sample_classifier"), *words)
    assert result.text() == text
    assert pulled.read_bytes() == out.read_bytes()
    best = [int(i) for _, i in LINE.findall(text)]
    assert len(best) == 5 and set(best[:3]) <= {281, 282, 285, 287}  # cats


@pytest.mark.parametrize("target", TARGETS)
def test_multi_batch(
    board: SimpleNamespace, sdks: dict[str, Path], models: SimpleNamespace, shared_dir: Path,
    host: Any, target: str,
) -> None:  # fmt: skip
    """RegisterModel, CloneModel, OPTION_PROGRAM_INDEX on a merged file: five times the same cat."""
    from tpuforge.evb import connect
    from tpuforge.evb.deploy import deploy

    cat = shared_dir / "data/images/cat.jpg"
    labels = shared_dir / "data/labels/synset_words.txt"
    with connect(getattr(board, target)) as link:
        _, result = deploy(
            link, models.both, "classifier_multi_batch", image=cat, labels=labels,
            sdk=sdks[target], options=OPTIONS, timeout=600,
        )  # fmt: skip
    assert result.code == 0, result.err
    text = run_host(host("cvi_sample_classifier_multi_batch"), models.both, cat, labels, *OPTIONS)
    assert result.text() == text
    rows = LINE.findall(text)
    assert len(rows) == 25 and len(set(rows)) == 5
    assert [text.count(f"--batch {b}----") for b in range(4)] == [2, 1, 1, 1]


@pytest.mark.parametrize("target", TARGETS)
def test_bench_compares_with_the_simulator(
    board: SimpleNamespace, sdks: dict[str, Path], vendor_dir: Path, target: str
) -> None:
    from tpuforge.evb import connect, push
    from tpuforge.evb.bench import bench
    from tpuforge.evb.sdk import board_items

    for chip in ("cv183x", "cv181x"):
        model = vendor_dir / f"tiny_resnet_{chip}.cvimodel"
        with connect(getattr(board, target)) as link:
            push(link, board_items(sdks[target]))
            result = bench(link, model, 3)
        assert result.runs == 3 and 0 < result.minimum <= result.median <= result.maximum
        assert result.equal and all(result.equal.values())


def test_output_tensor_equals_the_vendors(
    board: SimpleNamespace, sdks: dict[str, Path], vendor_dir: Path, tmp_path: Path
) -> None:
    """The vendor's file, input and output: the board gives the vendor's bytes."""
    from tpuforge.evb import Item, connect, push, run
    from tpuforge.evb.pull import pull
    from tpuforge.evb.sdk import board_items

    name = "tiny_mobilenet_cv183x"
    with np.load(vendor_dir / "tiny_mobilenet_in.npz") as arrays:
        np.savez(tmp_path / "in.npz", input=arrays["input"].astype(np.float32))
    with connect(board.armhf) as link:
        model = Item(vendor_dir / f"{name}.cvimodel", f"models/{name}.cvimodel")
        items = [model, Item(tmp_path / "in.npz", "in.npz")]
        push(link, [*board_items(sdks["armhf"]), *items])
        words = ["model_runner", "-m", model.remote, "-i", "in.npz", "-o", "out.npz"]
        assert run(link, words, timeout=600).code == 0
        pull(link, ["out.npz"], tmp_path)
    with (
        np.load(tmp_path / "out.npz") as got,
        np.load(vendor_dir / f"{name}_out.npz") as wanted,
    ):
        for key in got.files:
            assert got[key].tobytes() == wanted[key].astype(got[key].dtype).tobytes()
