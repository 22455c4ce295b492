"""Two batch sizes in one file, as a user types it: model_deploy --compress_weight false, the second
time with --merge_weight, then cvimodel_tool -a merge (cli.md section 1.2, S1-25 to S1-27).
"""

from __future__ import annotations

from pathlib import Path

import cvi_nn
import numpy as np
import onnx
import pytest
from tpuforge.compiler import api
from tpuforge.compiler.format import cvimodel
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
