"""Every sample of an SDK, built by every compiler for every board, under qemu-user: the output of
this machine's program, to the byte (issue 4 point 6, issue 5 point 1; cli.md section 16.3)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tpuforge.compiler as compiler
from cross import TARGETS, emulated, execute, pairs
from runtime import builder as b
from samples.build import program
from tpuforge.compiler.format import merge
from tpuforge.compiler.format.cvimodel import read, write

pytestmark = pytest.mark.model
ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^ (-?\d+\.\d{6}), idx (\d+), (.+)$", re.M)
KINDS = ("", "_fused_preprocess", "_multi_batch")


@pytest.fixture(scope="session")
def files(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A model for each sample: one picture; raw pixels in; one and four pictures in one file."""
    folder = tmp_path_factory.mktemp("models")
    table = shared_dir / "zoo/vendor/tiny_mobilenet_cali_table"
    for batch in (1, 4):
        graph = compiler.transform(
            str(shared_dir / "zoo/tiny_mobilenet.onnx"), input_shapes=[[batch, 3, 48, 48]]
        ).graph
        path = folder / f"bs{batch}.cvimodel"
        compiler.deploy(graph, table, "cv181x", path, name="tiny", merge_weight=batch == 4)
    parts = [read((folder / f"bs{batch}.cvimodel").read_bytes()) for batch in (1, 4)]
    (folder / "mobilenet_v2_bs1_bs4.cvimodel").write_bytes(write(merge.merge(parts)))
    (folder / "bs1.cvimodel").rename(folder / "mobilenet_v2.cvimodel")
    (folder / "mobilenet_v2_fused_preprocess.cvimodel").write_bytes(raw_pixels())
    models = {kind: folder / f"mobilenet_v2{kind}.cvimodel" for kind in KINDS[:2]}
    models["_multi_batch"] = folder / "mobilenet_v2_bs1_bs4.cvimodel"
    data = ROOT / "samples/data/cat.jpg", ROOT / "host/tools/data/imagenet_labels.txt"
    return SimpleNamespace(folder=folder, models=models, cat=data[0], labels=data[1])


def raw_pixels() -> bytes:
    """Its classes are the 6 x 8 x 3 bytes of the picture that the sample puts in."""
    tensors = [
        b.Tensor("in", [1, 6, 8, 3], "uint8", b.io(3), pixel_format="BGR_PACKED", size=144),
        b.Tensor("out", [1, 144, 1, 1], "uint8", offset=b.io(4), size=144),
    ]
    part = b.Program(["in"], ["out"], tensors, [b.Routine(["in"], ["out"], section="run")])
    stream = b.copy_command("cv181x", (3, 0), (4, 0), 144)
    return b.Model([part], [b.Section(1, "run", stream)], chip="cv181x").write()


def commands(f: SimpleNamespace, out: Path) -> dict[str, list[Any]]:
    """Program -> arguments."""
    words: dict[str, list[Any]] = {
        f"cvi_sample_classifier{kind}": [f.models[kind], f.cat, f.labels, "--output", out]
        for kind in KINDS
    }
    words["cvi_sample_model_info"] = [f.models["_multi_batch"]]
    words["model_runner"] = ["-m", f.models[""], "-o", out, "--dump-all-tensors"]
    return words


@pytest.fixture(scope="session")
def wanted(
    samples: Any, files: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[str, bytes]]:
    """Program -> (its text, the file it writes), built for this machine."""
    folder, found = tmp_path_factory.mktemp("host"), {}
    sources = {
        "cvi_sample_model_info": ["model_info/cvi_sample_model_info.c"],
        "model_runner": ["tools/model_runner.c"],
    }
    out = folder / "out"
    for name, words in commands(files, out).items():
        default = [f"classifier/{name}.c", "classifier/classify.c"]
        out.write_bytes(b"")
        text = execute(program(folder, samples.path, *sources.get(name, default)), *words)
        found[name] = (text.replace(str(out), "OUT"), out.read_bytes())
    return found


def test_top_k_of_the_host(wanted: dict[str, tuple[str, bytes]], files: SimpleNamespace) -> None:
    """What the programs of the boards are compared with is right: five rows per picture, which
    are those of the output tensor."""
    labels = files.labels.read_text().splitlines()
    for kind, blocks in (("", 1), ("_fused_preprocess", 1), ("_multi_batch", 5)):
        text = wanted[f"cvi_sample_classifier{kind}"][0]
        rows = ROW.findall(text)
        assert text.count("TOP_K[5]:\n") == blocks and len(rows) == 5 * blocks
        assert all(label == labels[int(index)] for _, index, label in rows)
    both = ROW.findall(wanted["cvi_sample_classifier_multi_batch"][0])
    assert both[:5] == both[5:10] == both[20:] == ROW.findall(wanted["cvi_sample_classifier"][0])
    text, _ = wanted["cvi_sample_model_info"]
    assert "shape (1,3,48,48)" in text and "shape (4,3,48,48)" in text


@pytest.mark.parametrize(("name", "compiler"), pairs())
def test_samples(
    sdk: Callable[..., Path], wanted: dict[str, tuple[str, bytes]], files: SimpleNamespace,
    tmp_path: Path, name: str, compiler: str,
) -> None:  # fmt: skip
    folder, out = sdk(name, compiler), tmp_path / "out"
    assert {p.name for p in (folder / "samples/bin").iterdir()} == set(wanted)
    for sample, words in commands(files, out).items():
        out.write_bytes(b"")
        script = emulated(TARGETS[name], folder / "samples/bin" / sample, tmp_path)
        text = execute(script, *words, timeout=100).replace(str(out), "OUT")
        assert (text, out.read_bytes()) == wanted[sample], sample


@pytest.mark.parametrize("kind", KINDS)
def test_scripts(
    sdk: Callable[..., Path], wanted: dict[str, tuple[str, bytes]], files: SimpleNamespace,
    tmp_path: Path, kind: str,
) -> None:  # fmt: skip
    """run_*.sh from anywhere, with MODEL_PATH; the same with everything named."""
    script = sdk("host") / "samples" / f"run_classifier{kind}.sh"
    rows = ROW.findall(wanted[f"cvi_sample_classifier{kind}"][0])
    text = execute(script, env={"MODEL_PATH": str(files.folder)}, cwd="/")
    assert ROW.findall(text) == rows
    named = (files.models[kind], files.cat, files.labels, "--output", tmp_path / "out.npy")
    assert ROW.findall(execute(script, *named, cwd="/")) == rows
    assert np.load(tmp_path / "out.npy").size > 5
