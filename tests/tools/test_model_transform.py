"""model_transform as a user types it: files, console, errors (cli.md section 3)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper
from tpuforge.compiler.ir.text import read
from tpuforge.compiler.top.export import to_onnx
from tpuforge.tools import model_runner, model_transform, npz_tool

PICTURES = [
    "--mean",
    "128,128,128",
    "--scale",
    "0.0078125,0.0078125,0.0078125",
    "--pixel_format",
    "rgb",
]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = model_transform.main(list(argv))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def small_model(shape: list[int | str] | None = None, op: str = "Relu") -> str:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape or [1, 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "g", [x], [y])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
        "small.onnx",
    )
    return "small.onnx"


def test_new_dialect(
    zoo: Callable[..., Path], shared_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cat = str(shared_dir / "data/images/cat.jpg")
    code, out, err = call(
        capsys,
        "--model_name",
        "net",
        "--model_def",
        str(zoo("tiny_resnet")),
        "--input_shapes",
        "[[1,3,64,64]]",
        *PICTURES,
        "--test_input",
        cat,
        "--test_result",
        "net_top_outputs.npz",
        "--mlir",
        "net.mlir",
    )
    assert (code, err) == (0, "")
    assert out.startswith("tpuforge v")
    for line in (
        "y = (x - mean) * scale",
        "Mlir file generated:net.mlir",
        "Saving net_top_outputs.npz",
        "npz compare PASSED.",
    ):
        assert line in out
    assert {p.name for p in Path().iterdir()} == {
        "net.mlir",
        "net_top_f32_all_weight.npz",
        "net_origin.mlir",
        "net_in_f32.npz",
        "net_top_outputs.npz",
        "net_opt.onnx.prototxt",
        "net.ref_files.json",
        "net.log",
    }
    facts = json.loads(Path("net.ref_files.json").read_text())
    assert {*facts["files"], "net.ref_files.json", "net.log"} == {p.name for p in Path().iterdir()}
    assert facts["command"].startswith("model_transform --model_name net --model_def ")
    log = Path("net.log").read_text()
    assert "$ model_transform --model_name net" in log and out.splitlines()[-1] in log
    order = ["preprocessing: ", "Mlir file generated:net.mlir", "Saving net_in_f32.npz"]
    for model, result in ((zoo("tiny_resnet"), "net_ref"), ("net.mlir", "net_top")):
        runner = f"[CMD]: model_runner --input net_in_f32.npz --model {model}"
        order.append(f"{runner} --output {result}_outputs.npz --dump_all_tensors\n")
    order += ["Saving net_top_outputs.npz", "npz compare PASSED."]
    places = [out.index(text) for text in order]
    assert places == sorted(places)
    runs = [line.split()[2:] for line in out.splitlines() if line.startswith("[CMD]")]
    assert [model_runner.main(argv) for argv in runs] == [0, 0], "these commands can be typed"
    capsys.readouterr()
    assert npz_tool.main(["compare", "net_top_outputs.npz", "net_ref_outputs.npz"]) == 0
    Path("net_ref_outputs.npz").unlink()
    graph = read("net.mlir")
    assert graph.name == "net"
    origin = Path("net_origin.mlir").read_text()
    assert '"top.Relu"' in origin and '"top.Relu"' not in Path("net.mlir").read_text()
    with np.load("net_in_f32.npz") as z, np.load("net_top_outputs.npz") as tensors:
        assert (
            z.files == ["input"]
            and z["input"].shape == (1, 3, 64, 64)
            and z["input"].dtype == np.float32
        )
        assert set(tensors.files) == {v.name for v in graph.values()}
        assert graph.outputs[0].name == "output_Gemm"


def test_text_is_onnx(zoo: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    """<name>_opt.onnx.prototxt: a valid model; given its constants again it computes the same."""
    code, _, _ = call(
        capsys, "--model_name", "net", "--model_def", str(zoo("tiny_resnet")), "--mlir", "net.mlir"
    )
    assert code == 0
    text = Path("net_opt.onnx.prototxt").read_text()
    model = text_format.Parse(text, onnx.ModelProto())
    assert len(text) < 30_000 and model.graph.output[0].name == "output_Gemm"
    graph = read("net.mlir")
    full = to_onnx(graph)
    for short, tensor in zip(model.graph.initializer, full.graph.initializer, strict=True):
        assert (short.name, list(short.dims)) == (tensor.name, list(tensor.dims))
        assert short.data_type == tensor.data_type
        short.CopyFrom(tensor)
    assert model == full


def test_old_dialect_equals_new(
    zoo: Callable[..., Path], shared_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same preprocessing in the words of toolchain 1.5; batch 4 by --batch_size; input files
    differ in the last bit only."""
    cat, model = str(shared_dir / "data/images/cat.jpg"), str(zoo("tiny_mobilenet"))
    size = read_input_size(model)
    dims = f"{size[2]},{size[3]}"
    old = [
        "--model_type",
        "onnx",
        "--image",
        cat,
        "--image_resize_dims",
        dims,
        "--keep_aspect_ratio",
        "false",
        "--net_input_dims",
        dims,
        "--raw_scale",
        "255.0",
        "--mean",
        "128,128,128",
        "--std",
        "128,128,128",
        "--input_scale",
        "1.0",
        "--model_channel_order",
        "rgb",
        "--gray",
        "false",
        "--tolerance",
        "0.99,0.99,0.99",
    ]
    code, _, err = call(
        capsys,
        "--model_name",
        "old",
        "--model_def",
        model,
        *old,
        "--batch_size",
        "4",
        "--mlir",
        "old.mlir",
    )
    assert (code, err) == (0, "")
    code, _, err = call(
        capsys,
        "--model_name",
        "new",
        "--model_def",
        model,
        "--test_input",
        cat,
        *PICTURES,
        "--test_result",
        "r.npz",
        "--mlir",
        "new.mlir",
    )
    assert (code, err) == (0, "")
    rows = [r.split(",") for r in Path("old_op_info.csv").read_text().splitlines()]
    assert [r[0] for r in rows] == [v.name for v in read("old.mlir").values()]
    assert {tuple(r[2:]) for r in rows} == {("NONE", "0")} and "Conv" in {r[1] for r in rows}
    with np.load("old_in_f32.npz") as a, np.load("new_in_f32.npz") as b:
        assert a["input"].shape[0] == 4 and (a["input"] == a["input"][:1]).all()
        np.testing.assert_allclose(a["input"][:1], b["input"], atol=1e-6)


def test_test_input_is_only_kept(
    zoo: Callable[..., Path], shared_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cat = str(shared_dir / "data/images/cat.jpg")
    argv = ["--model_name", "net", "--model_def", str(zoo("tiny_resnet")), "--mlir", "net.mlir"]
    argv += ["--test_input", cat, "--test_result", "r.npz", "--not_inference"]
    code, out, err = call(capsys, *argv, *PICTURES)
    assert (code, err) == (0, "") and "compare" not in out and "[CMD]" not in out
    assert Path("net_in_f32.npz").is_file() and not Path("r.npz").exists()


def test_crop_of_the_bottom_right_corner(
    zoo: Callable[..., Path], shared_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--crop_method of the old command line is kept in the .mlir, so that calibration does it."""
    made = {}
    for method in ("center", "right"):
        argv = ["--model_name", method, "--model_def", str(zoo("tiny_resnet"))]
        argv += ["--image", str(shared_dir / "data/images/cat.jpg"), "--image_resize_dims", "40,40"]
        argv += ["--model_channel_order", "rgb", "--mlir", f"{method}.mlir"]
        assert call(capsys, *argv, "--crop_method", method)[0] == 0
        with np.load(f"{method}_in_f32.npz") as z:
            made[method] = z["input"]
        assert read(f"{method}.mlir").inputs[0].owner.attrs["crop"] == method
    np.testing.assert_array_equal(made["right"][..., :-4, :-4], made["center"][..., 4:, 4:])
    assert (made["right"] != made["center"]).any()


def read_input_size(path: str) -> list[int]:
    model = onnx.load(path)
    return [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]


def test_second_batch_leaves_the_first_usable(
    zoo: Callable[..., Path], capsys: pytest.CaptureFixture[str], shared_dir: Path
) -> None:
    """Same model_name, other batch: the first .mlir, its weights and its input stay (cli.md section
    3.3)."""
    model, cat = str(zoo("tiny_resnet")), str(shared_dir / "data/images/cat.jpg")
    for batch in (1, 2):
        argv = [
            "--model_name",
            "net",
            "--model_def",
            model,
            "--input_shapes",
            f"[[{batch},3,64,64]]",
            *PICTURES,
            "--test_input",
            cat,
            "--test_result",
            f"r{batch}.npz",
            "--mlir",
            f"net_b{batch}.mlir",
        ]
        assert call(capsys, *argv)[0] == 0
    assert [read(f"net_b{b}.mlir").inputs[0].shape[0] for b in (1, 2)] == [1, 2]
    with np.load("net_b1_in_f32.npz") as z:
        assert z["input"].shape[0] == 1


ERRORS = [
    (["--model_def", "none.onnx"], 1, "none.onnx: no such file"),
    (["--model_def", "net.txt"], 1, "the extension .txt is no model format"),
    (["--model_def", "net.pb"], 3, "TensorFlow models are not read"),
    (["--model_def", "net.tflite"], 3, "TFLite models are not read"),
    (["--model_def", "text.onnx"], 1, "not an ONNX model"),
    (["--mlir", "out.txt"], 2, "must end in .mlir"),
    (["--mlir", "no/such/out.mlir"], 1, "no/such"),
    (["--output_names", "z"], 1, "no tensor 'z'"),
    (["--input_shapes", "[[1,3,8]]"], 1, "3 dimensions"),
    (["--input_shapes", "[[1,3,8,8],[1]]"], 2, "2 shape(s), the model 1 input(s)"),
    (["--test_input", "x.jpg"], 2, "--test_result"),
    (["--test_input", "x.jpg", "--test_result", "r.npz"], 1, "x.jpg: no such file"),
    (["--test_input", "text.jpg", "--test_result", "r.npz"], 1, "text.jpg: not a picture"),
    (
        ["--test_input", "a.npy,b.npy", "--test_result", "r.npz"],
        2,
        "2 test input(s) given, the network has 1",
    ),
    (["--test_input", "text.npz", "--test_result", "r.npz"], 1, "text.npz: not a readable .npz"),
    (["--model_name", "a/b"], 2, "--model_name is 'a/b'"),
    (["--debug_cmd", "use_pil_resize"], 3, "as OpenCV does"),
    (["--add_postprocess", "yolov5"], 3, "adds no post-processing"),
    (["--mean", "1,2"], 2, "--mean has 2 number(s)"),
    (["--resize_dims", "4,4", "--scale", "1,1,1"], 2, "smaller than the network's input"),
    (["--tolerance", "1,2,3,4,5"], 2, "1 to 4 numbers"),
    (["--model_type", "caffe"], 2, "contradicts the extension"),
    (["--frobnicate", "1"], 2, "unknown option --frobnicate"),
]


@pytest.mark.parametrize(("argv", "code", "message"), ERRORS)
def test_errors(
    argv: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("text.onnx", "text.jpg", "text.npz"):
        Path(name).write_text("this is text")
    given = {"--model_name": "m", "--model_def": small_model(), "--mlir": "out.mlir"}
    given |= dict(zip(argv[::2], argv[1::2], strict=True))
    got, _, err = call(capsys, *(word for pair in given.items() for word in pair))
    assert (got, message in err) == (code, True), err
    assert err.startswith("model_transform: error: ") and err.count("\n") == 1
    assert not [p for p in Path().iterdir() if p.name.startswith(".")]


def test_unsupported_operations_are_all_listed(capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [
        helper.make_node("Erf", ["x"], ["a"], "first"),
        helper.make_node("Det", ["a"], ["y"], "second"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y]),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    onnx.save(model, "odd.onnx")
    code, _, err = call(capsys, "--model_name", "m", "--model_def", "odd.onnx", "--mlir", "o.mlir")
    assert code == 3 and "Erf 'first'" in err and not Path("o.mlir").exists()


def test_dynamic_dimension_needs_a_shape(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--model_name", "m", "--model_def", small_model(["n", 3, 8, 8]), "--mlir", "o.mlir"]
    code, _, err = call(capsys, *argv)
    assert code == 2 and "give --input_shapes" in err
    assert call(capsys, *argv, "--input_shapes", "[[2,3,8,8]]")[0] == 0
    assert read("o.mlir").inputs[0].shape == (2, 3, 8, 8)


def test_layers_that_can_not_be_deployed_are_named_now(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not after a calibration; the float graph is written all the same."""
    shape = [1, 3, 4, 5]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "tsr"]
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Softmax", ["x"], ["s"], axis=3),
        helper.make_node("Relu", ["x"], ["r"]),
    ]
    graph = helper.make_graph(nodes, "g", [x], outs)
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), "late.onnx")
    arguments = "--model_name late --model_def late.onnx --mlir late.mlir --channel_format none"
    code, _, err = call(capsys, *arguments.split())
    assert code == 0 and Path("late.mlir").exists()
    assert "warning: late: " in err and "2 layers" in err
    assert "t_Transpose" in err and "s_Softmax" in err and "r_Relu" not in err
