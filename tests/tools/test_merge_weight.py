"""Two batch sizes in one file, as a user types it: model_deploy --compress_weight false, the second
time with --merge_weight, then cvimodel_tool -a merge (cli.md section 1.2, S1-25 to S1-27).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cvi_nn
import numpy as np
import onnx
import pytest
from tpuforge.compiler import api
from tpuforge.compiler.format import cvimodel
from tpuforge.compiler.format.weight_map import WeightMap, parse, rekeyed, render
from tpuforge.tools import cvimodel_tool, model_deploy

CHIPS = ("cv183x", "cv180x")


def deploy(chip: str, batch: int, folder: str, *options: str) -> cvimodel.Model:
    path = f"{folder}/bs{batch}.cvimodel"
    argv = ["--mlir", f"bs{batch}.mlir", "--chip", chip, "--quantize", "INT8", "--opt", "1"]
    argv += ["--calibration_table", "table", "--model", path, *options]
    assert model_deploy.main(argv) == 0
    return cvimodel.load(path)


def section(model: cvimodel.Model) -> int:
    found = model.weight_section()
    assert found is not None
    return len(found.data)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_dir: Path) -> Path:
    """bs1.mlir, bs4.mlir of one network, and its table."""
    monkeypatch.chdir(tmp_path)
    for batch in (1, 4):
        api.transform(
            shared_dir / "zoo/tiny_mobilenet.onnx", name="net", mlir=tmp_path / f"bs{batch}.mlir",
            input_shapes=[[batch, 3, 48, 48]],
        )  # fmt: skip
    table = shared_dir / "zoo/vendor/tiny_mobilenet_cali_table"
    (tmp_path / "table").write_text(table.read_text())
    return tmp_path


@pytest.mark.parametrize("chip", CHIPS)
def test_two_batches_in_one_file(here: Path, capsys: pytest.CaptureFixture[str], chip: str) -> None:
    (here / "two").mkdir()
    plain = ("--compress_weight", "false")
    one = deploy(chip, 1, "two", *plain)
    four = deploy(chip, 4, "two", *plain, "--merge_weight")
    files = ["two/bs1.cvimodel", "two/bs4.cvimodel"]
    assert cvimodel_tool.main(["-a", "merge", "-i", *files, "-o", "both.cvimodel"]) == 0
    assert "has no effect" not in capsys.readouterr().out
    both = cvimodel.load("both.cvimodel", verify=True)
    # both have the same constants, however they are cut
    assert len({m.weight_section().data for m in (one, four, both)}) == 1
    picture = np.random.default_rng(0).standard_normal((1, 3, 48, 48)).astype(np.float32)
    batch = np.repeat(picture, 4, 0) * np.float32([1, 0.5, 0.25, -1]).reshape(4, 1, 1, 1)
    given = {0: picture, 1: batch}
    for program, path in enumerate(files):
        with cvi_nn.Model(path) as alone, cvi_nn.Model("both.cvimodel", program=program) as merged:
            wanted = alone.forward(given[program])
            got = merged.forward(given[program])
            assert list(got) == list(wanted)
            for name, value in wanted.items():
                assert got[name].tobytes() == value.tobytes() and value.any()


def pruned(path: Path) -> onnx.ModelProto:
    """The network with nine of ten weights zero: worth compressing."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        if value.ndim > 1:
            value = np.where(np.arange(value.size).reshape(value.shape) % 10, 0, value)
            tensor.CopyFrom(onnx.numpy_helper.from_array(value.astype(np.float32), tensor.name))
    return model


def test_compress_weight(here: Path, shared_dir: Path) -> None:
    """Without an option constants are compressed where that is shorter: the same outputs."""
    network = pruned(shared_dir / "zoo/tiny_mobilenet.onnx")
    api.transform(network, name="net", mlir=here / "bs1.mlir")
    picture = np.random.default_rng(1).standard_normal((1, 3, 48, 48)).astype(np.float32)
    sizes, outputs = [], []
    for folder, options in (("small", ()), ("plain", ("--compress_weight", "false"))):
        (here / folder).mkdir()
        sizes.append(section(deploy("cv181x", 1, folder, *options)))
        with cvi_nn.Model(f"{folder}/bs1.cvimodel") as model:
            outputs.append(b"".join(v.tobytes() for v in model.forward(picture).values()))
    assert sizes[0] < sizes[1] and outputs[0] == outputs[1]


OLD = ["--compress_weight", "false", "--skip_validation", "--model_name"]


def old_deploy(batch: int, name: str, *options: str, chip: str = "cv182x") -> cvimodel.Model:
    path = f"{name}.cvimodel"
    argv = ["--mlir", f"bs{batch}.mlir", "--chip", chip, "--calibration_table", "table"]
    assert model_deploy.main([*argv, "--cvimodel", path, *OLD, name, *options]) == 0
    return cvimodel.load(path)


def test_old_command_line_knows_the_bytes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """S1-25 and S1-26 with a map of the vendor's form (no chip, md5 of something else): the second
    file finds the constants of the first in _weight.bin. A file that shares a part leaves the rest
    there."""
    one = old_deploy(1, "one")
    entries = parse((here / "_weight_map.csv").read_text()).entries
    foreign = WeightMap([replace(e, md5="0" * 32) for e in entries])
    (here / "_weight_map.csv").write_text(render(foreign))
    four = old_deploy(4, "four", "--merge_weight")
    assert one.weight_section().data == four.weight_section().data
    before = (here / "_weight.bin").read_bytes()
    assert before == one.weight_section().data

    table = (here / "table").read_text().splitlines()
    changed = [line.replace(" 0.0000000 ", " 0 ") for line in table]
    last = changed[-1].split()  # another scale of the result: other parameters of the last layer
    changed[-1] = f"{last[0]} {float(last[1]) * 2:.7f} {' '.join(last[2:])}"
    (here / "table").write_text("\n".join(changed) + "\n")
    other = old_deploy(1, "other", "--merge_weight")
    after = (here / "_weight.bin").read_bytes()
    assert len(after) > len(before) and after[: len(before)] == before
    assert len(other.weight_section().data) == len(after)
    known = parse((here / "_weight_map.csv").read_text())
    assert known.chip == "cv182x" and rekeyed(known, after).entries == known.entries
    # the tools of the old chain merge all three
    files = [f"{n}.cvimodel" for n in ("one", "four", "other")]
    assert cvimodel_tool.main(["-a", "merge", "-i", *files, "-o", "all.cvimodel"]) == 0
    assert cvimodel.load("all.cvimodel").weight_section().data == after


def test_map_of_another_chip(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its constants are not shared: a new map, as without the flag."""
    old_deploy(1, "one")
    old_deploy(1, "two", "--merge_weight", chip="cv180x")
    assert "_weight_map.csv is of cv182x: a new one is begun" in capsys.readouterr().out
    text, stored = (here / "_weight_map.csv").read_text(), (here / "_weight.bin").read_bytes()
    old_deploy(1, "two", chip="cv180x")
    assert text == (here / "_weight_map.csv").read_text()
    assert stored == (here / "_weight.bin").read_bytes()


def test_weight_bytes_of_another_map(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old_deploy(1, "one")
    stored = here / "_weight.bin"
    stored.write_bytes(bytes([stored.read_bytes()[0] ^ 255]) + stored.read_bytes()[1:])
    argv = ["--mlir", "bs1.mlir", "--chip", "cv182x", "--calibration_table", "table"]
    argv += ["--cvimodel", "x.cvimodel", *OLD, "x", "--merge_weight"]
    assert model_deploy.main(argv) == 1
    assert "delete both files to start anew" in capsys.readouterr().err
    assert not (here / "x.cvimodel").exists()
