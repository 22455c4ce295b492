"""Every vendor-compiled model of the zoo on our runtime: the stored output bytes; in the parity
tier the same binding drives the vendor's library."""

import subprocess
import sys
from pathlib import Path

import cvi_nn
import numpy as np
import pytest
from runtime import builder as b

NAMES = [
    "tiny_resnet_cv183x", "tiny_resnet_cv182x", "tiny_resnet_cv181x", "tiny_resnet_cv180x",
    "tiny_mobilenet_cv183x", "tiny_mobilenet_cv182x", "tiny_mobilenet_cv181x",
    "tiny_mobilenet_cv180x",
]  # fmt: skip
LARGE = [
    "mobilenet_v2_cv183x", "mobilenet_v2_cv182x", "mobilenet_v2_cv181x", "mobilenet_v2_cv180x",
    "squeezenet1_1_cv183x", "squeezenet1_1_cv181x", "squeezenet1_1_cv180x", "resnet18_cv183x",
    "resnet18_cv181x", "resnet18_cv180x", "efficientnet_lite0_cv183x",
    "efficientnet_lite0_cv181x", "googlenet_cv183x", "googlenet_cv181x",
]  # fmt: skip


def run_and_compare(folder: Path, name: str) -> None:
    network = name.rsplit("_", 1)[0]
    expected = np.load(folder / f"{name}_out.npz")
    x = np.load(folder / f"{network}_in.npz")["input"]
    with cvi_nn.Model(folder / f"{name}.cvimodel") as model:
        assert model.target == name.rsplit("_", 1)[1]
        for _ in range(2):
            out = model.forward({"input": x})
            assert sorted(out) == sorted(expected.files)
            for key in expected.files:
                assert out[key].dtype == expected[key].dtype
                assert out[key].tobytes() == expected[key].tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_small(vendor_dir, name):
    run_and_compare(vendor_dir, name)


@pytest.mark.model
@pytest.mark.parametrize("name", LARGE)
def test_large(vendor_dir, name):
    run_and_compare(vendor_dir, name)


def test_description(vendor_dir):
    model = cvi_nn.Model(vendor_dir / "tiny_mobilenet_cv181x.cvimodel")
    assert model.version == (1, 4) and len(model.programs) == 1
    assert [(t.name, t.shape, t.format) for t in model.inputs] == [
        ("input", (1, 3, 48, 48), "fp32")
    ]
    assert [(t.name, t.shape, t.format) for t in model.outputs] == [
        ("output_Gemm_f32", (1, 10, 1, 1), "fp32")
    ]
    assert model.programs[0].inputs[0] == cvi_nn.TensorInfo("input", (1, 3, 48, 48), "fp32")


def test_all_tensors(vendor_dir):
    """Every tensor that keeps its contents, sorted; the real output is among them."""
    x = np.load(vendor_dir / "tiny_mobilenet_in.npz")["input"]
    expected = np.load(vendor_dir / "tiny_mobilenet_cv181x_out.npz")["output_Gemm_f32"]
    model = cvi_nn.Model(vendor_dir / "tiny_mobilenet_cv181x.cvimodel", output_all_tensors=True)
    names = [t.name for t in model.outputs]
    assert names == sorted(names, key=str.encode) and "input" in names
    out = model.forward([x])
    assert out["output_Gemm_f32"].tobytes() == expected.tobytes()
    assert out["input"].tobytes() == x.tobytes()


def test_clones_share_weights_and_do_not_disturb_each_other(vendor_dir):
    x = np.load(vendor_dir / "tiny_resnet_in.npz")["input"]
    expected = np.load(vendor_dir / "tiny_resnet_cv181x_out.npz")["output_Gemm_f32"]
    model = cvi_nn.Model(vendor_dir / "tiny_resnet_cv181x.cvimodel")
    clones = [model.clone() for _ in range(3)]
    tasks = [m.forward_async([x * (i != 1)]) for i, m in enumerate([model, *clones])]
    outs = [task.wait()["output_Gemm_f32"].tobytes() for task in tasks]
    assert [o == expected.tobytes() for o in outs] == [True, False, True, True]


CHILD = """
import sys
import numpy as np
import cvi_nn
folder, library = sys.argv[1:]
model = cvi_nn.Model(folder + "/tiny.cvimodel", library=library)
data = np.arange(64, dtype=np.int8).reshape(1, 1, 1, 64)
assert (model.forward([data])["out"] == data).all()
clone = model.clone()
task = clone.forward_async([-data])
assert (task.wait()["out"] == -data).all()
model.inputs[0].view()[...] = 5
model.run()
assert (model.outputs[0].view() == 5).all()
assert model.target == "cv181x" and model.version == (1, 4)
assert len(model.programs) == 1
print("good", file=sys.stderr)
"""


@pytest.mark.parity
def test_the_binding_drives_the_vendor_library(oracle, tmp_path):
    (tmp_path / "tiny.cvimodel").write_bytes(b.tiny().write())
    library = oracle.vendor_library_dir() / "libcviruntime.so"
    done = subprocess.run(
        [sys.executable, "-c", CHILD, tmp_path, library],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0 and done.stderr.strip().endswith("good"), done.stderr[-2000:]
