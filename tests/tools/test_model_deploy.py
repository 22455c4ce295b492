"""model_deploy and model_runner as a user types them (cli.md sections 5 and 9)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cvi_nn
import numpy as np
import onnx
import pytest
from tpuforge.compiler import api, tpu
from tpuforge.compiler.format import cvimodel
from tpuforge.compiler.format.weight_map import parse
from tpuforge.compiler.ir.text import read
from tpuforge.tools import model_deploy, model_runner, npz_tool, run_calibration

PICTURES = {"mean": (128.0,) * 3, "scale": (1 / 128,) * 3, "pixel_format": "rgb"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, shared_dir: Path) -> Path:
    """A folder with net.mlir (tiny_resnet), its weights, net_in_f32.npz, net_top.npz and
    table.txt."""
    folder = tmp_path_factory.mktemp("made")
    cat = shared_dir / "data" / "images" / "cat.jpg"
    graph = api.transform(
        shared_dir / "zoo" / "tiny_resnet.onnx",
        name="net",
        mlir=folder / "net.mlir",
        preprocess=PICTURES,
        test_input=[cat],
        test_result=folder / "net_top.npz",
    ).graph
    pictures = sorted((shared_dir / "data" / "ILSVRC2012").iterdir())[:4]
    api.calibrate(graph, [(str(p),) for p in pictures], table=folder / "table.txt", tune_num=0)
    return folder


@pytest.fixture(autouse=True)
def in_folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in made.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)


def call(
    capsys: pytest.CaptureFixture[str], tool: Callable[[list[str]], int], *argv: str
) -> tuple[int, str, str]:
    code = tool(list(argv))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


NEW = ["--opt", "1", "--mlir", "net.mlir", "--quantize", "INT8", "--calibration_table", "table.txt"]


@pytest.mark.parametrize("chip", ["cv183x", "cv182x", "cv181x", "CV180X"])
def test_new_dialect(chip: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(
        capsys,
        model_deploy.main,
        *NEW,
        "--chip",
        chip,
        "--model",
        "net.cvimodel",
        "--test_input",
        "net_in_f32.npz",
        "--test_reference",
        "net_top.npz",
    )
    assert (code, err) == (0, "")
    assert out.count("npz compare PASSED.") == 2 and "EQUAL [PASSED]" in out
    name = chip.lower()
    written = {p.name for p in Path().iterdir() if not p.is_symlink()}
    assert written == {
        "net.cvimodel",
        f"net_{name}_int8_sym_tpu.mlir",
        f"net_{name}_int8_sym_tpu_weight.npz",
        f"net_{name}_int8_sym_final.mlir",
        f"net_tpu_addressed_{name}_int8_sym_weight.npz",
        f"net_{name}_int8.layer_group_config.json",
        f"net_{name}_int8.layer_group_cache.json",
        "_weight_map.csv",
        "net_tensor_info.txt",
        "net",
        "net.log",
    }
    assert Path("net/final.mlir").read_text() == Path(f"net_{name}_int8_sym_final.mlir").read_text()
    facts = json.loads(Path("net/ref_files.json").read_text())
    assert facts["chip"] == name and {"net.cvimodel", "_weight_map.csv"} <= set(facts["files"])
    log = Path("net.log").read_text()
    assert "$ model_deploy --opt 1 --mlir net.mlir" in log and "npz compare PASSED." in log
    prefix = f"net_{name}_int8_sym"
    runs = [
        f"--model {prefix}_tpu.mlir --output {prefix}_tpu_outputs.npz",
        f"--model net.cvimodel --output {prefix}_model_outputs.npz",
    ]
    order = [
        *("tpuforge v", "[Running]: quantise to INT8", f"Mlir file generated:{prefix}_tpu.mlir"),
        f"[CMD]: model_runner --input net_in_f32.npz {runs[0]}\n[Running]: run the quantised",
        "npz compare PASSED.\n[Running]: schedule",
        f"Mlir file generated:{prefix}_final.mlir\nSaving net.cvimodel",
        f"[CMD]: model_runner --input net_in_f32.npz {runs[1]}\n[Running]: run net.cvimodel",
    ]
    places = [out.index(text) for text in order]
    assert places == sorted(places) and out.endswith("npz compare PASSED.\n")
    lines = [line.split()[2:] for line in out.splitlines() if line.startswith("[CMD]")]
    for argv in lines:  # these commands can be typed, and give the same
        assert call(capsys, model_runner.main, *argv)[0] == 0
    with np.load(lines[0][-1]) as graph, np.load(lines[1][-1]) as file:
        assert graph["output_Gemm_f32"].tobytes() == file["output_Gemm_f32"].tobytes()
    for argv in lines:
        Path(argv[-1]).unlink()
    assert cvimodel.load("net.cvimodel").chip == name
    for kind in ("tpu", "final"):
        assert read(f"net_{name}_int8_sym_{kind}.mlir").outputs[0].shape[1] == 10


def test_debug_keeps_what_was_compared(capsys: pytest.CaptureFixture[str]) -> None:
    """The .npz of the quantised graph has real numbers under the names of the float graph; the
    picture's input and the float run are kept in any case."""
    argv = [*NEW, "--chip", "cv181x", "--model", "x.cvimodel", "--debug", "--compare_all"]
    Path("mine.npz").write_bytes(Path("net_in_f32.npz").read_bytes())
    code, out, err = call(capsys, model_deploy.main, *argv, "--test_input", "mine.npz")
    assert (code, err) == (0, "")
    for name in ("net_cv181x_int8_sym_tpu_outputs", "net_cv181x_int8_sym_model_outputs"):
        assert f"Saving {name}.npz" in out
    compare = ["compare", "net_cv181x_int8_sym_tpu_outputs.npz", "net_top_outputs.npz"]
    assert call(capsys, npz_tool.main, *compare, "--tolerance", "0.98,0.8")[0] == 0
    with np.load("net_cv181x_int8_sym_model_outputs.npz") as z:
        assert z["output_Gemm_f32"].dtype == np.float32 and z["input_si8"].dtype == np.int8


def test_constants_and_groups(capsys: pytest.CaptureFixture[str]) -> None:
    """The .npz has the bytes that _weight_map.csv has the md5 of; the groups have every layer."""
    argv = [*NEW, "--chip", "cv180x", "--model", "net.cvimodel", "--compress_weight", "false"]
    assert call(capsys, model_deploy.main, *argv)[0] == 0
    known = parse(Path("_weight_map.csv").read_text())
    with np.load("net_tpu_addressed_cv180x_int8_sym_weight.npz") as z:
        assert {e.name for e in known.entries} == set(z.files) and len(z.files) > 10
        for e in known.entries:
            assert hashlib.md5(z[e.name].tobytes()).hexdigest() == e.md5
    base = "net_cv180x_int8.layer_group"
    config = json.loads(Path(f"{base}_config.json").read_text())
    assert (config["chip"], config["lanes"], config["opt"]) == ("cv180x", 2, 1)
    assert config["compress_weight"] is False and config["merge_weight"] is False
    groups = json.loads(Path(f"{base}_cache.json").read_text())["groups"]
    assert [g["group"] for g in groups] == list(range(len(groups)))
    layers = [layer["name"] for g in groups for layer in g["layers"]]
    done = [op.results[0].name for op in read("net_cv180x_int8_sym_tpu.mlir").ops]
    assert layers == [n for n in done if n in layers] and len(layers) >= 15
    assert all(0 < g["local_bytes"] <= 32768 and g["cycles"] > 0 for g in groups)
    assert all(set(g["tiles"]) == set("nhw") for g in groups)


def test_folder_and_log_that_can_not_be(capsys: pytest.CaptureFixture[str]) -> None:
    """A file in the place of the folder, a folder in the place of the log: a note, no failure."""
    Path("net").write_text("mine")
    Path("net.log").mkdir()
    code, out, err = call(
        capsys, model_deploy.main, *NEW, "--chip", "cv181x", "--model", "net.cvimodel"
    )
    assert (code, err) == (0, "") and "note: net is a file" in out
    assert Path("net").read_text() == "mine" and not list(Path("net.log").iterdir())


def test_log_keeps_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """The paragraph on stderr, the traceback in the log, which goes on with the next command."""
    argv = [*NEW, "--chip", "cv181x", "--model", "net.cvimodel", "-q"]
    code, out, err = call(capsys, model_deploy.main, *argv, "--calibration_table", "no")
    assert code == 1 and out == "" and "Traceback" not in err
    assert call(capsys, model_deploy.main, *argv)[:2] == (0, "")
    log = Path("net.log").read_text()
    assert log.count("$ model_deploy") == 2 and log.count("Traceback") == 1
    assert log.count("==== failed") == log.count("==== done") == 1
    assert "Saving net.cvimodel" in log


@pytest.mark.parametrize(
    ("words", "dtypes"),
    [
        (["--quant_input_list", "1"], ["int8", "float32"]),
        (["--quant_output_list", "1"], ["float32", "int8"]),
        (["--outputs_type", "SAME", "--inputs_type", "int8"], ["int8", "int8"]),
        (["--outputs_type", "FP32"], ["float32", "float32"]),
    ],
)
def test_types_of_the_boundary(
    words: list[str], dtypes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [*NEW, "--chip", "cv181x", "--model", "net.cvimodel", *words]
    assert call(capsys, model_deploy.main, *argv)[0] == 0
    with cvi_nn.Model("net.cvimodel") as model:
        assert [str(t.dtype) for t in (*model.inputs, *model.outputs)] == dtypes


def test_version_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    argv = [*NEW, "--chip", "cv181x", "--model", "net.cvimodel", "--model_version"]
    for word, version in (("1.2", (1, 2, 0)), ("latest", (1, 4, 0))):
        assert call(capsys, model_deploy.main, *argv, word)[0] == 0
        assert cvimodel.load("net.cvimodel").version == version
        with cvi_nn.Model("net.cvimodel") as model:
            assert model.version == version[:2]
    code, _, err = call(capsys, model_deploy.main, *argv, "2.0")
    assert code == 2 and "is not latest, 1.2, 1.3 or 1.4" in err


def test_runner_gives_the_same_for_graph_and_file(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(
        capsys, model_deploy.main, *NEW, "--chip", "cv181x", "--model", "net.cvimodel"
    )
    assert (code, err) == (0, "")
    models = {"net.mlir": "f", "net_cv181x_int8_sym_tpu.mlir": "q", "net.cvimodel": "s"}
    got = {}
    for model, key in models.items():
        code, _, err = call(
            capsys,
            model_runner.main,
            "--input",
            "net_in_f32.npz",
            "--model",
            model,
            "--output",
            f"{key}.npz",
        )
        assert (code, err) == (0, "")
        with np.load(f"{key}.npz") as z:
            assert len(z.files) == 1
            got[key] = z[z.files[0]].reshape(-1)
    np.testing.assert_array_equal(got["q"], got["s"])
    assert np.corrcoef(got["f"], got["s"])[0, 1] > 0.99
    with cvi_nn.Model("net.cvimodel") as model, np.load("net_in_f32.npz") as z:
        values = model.forward({"input": z["input"]})
    np.testing.assert_array_equal(next(iter(values.values())).reshape(-1), got["s"])


def test_runner_takes_the_shapes_of_the_arrays(
    zoo: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """An .onnx runs with another size and batch, and with dimensions that it leaves open."""
    model = onnx.load(zoo("tiny_resnet"))
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_param, dims[2].dim_param = "batch", "height"
    onnx.save(model, "open.onnx")
    x = np.random.default_rng(0).standard_normal((2, 3, 48, 40)).astype(np.float32)
    np.savez("x.npz", input=x)
    np.save("x.npy", x)
    got = []
    for path, source in ((str(zoo("tiny_resnet")), "x.npz"), ("open.onnx", "x.npy")):
        argv = ["--model", path, "--input", source, "--output", "o.npz"]
        assert call(capsys, model_runner.main, *argv)[0] == 0
        with np.load("o.npz") as z:
            got.append(z["output_Gemm"])
    assert got[0].shape == (2, 10) and got[0].tobytes() == got[1].tobytes()
    np.save("flat.npy", x.reshape(-1))
    argv = ["--model", "open.onnx", "--input", "flat.npy", "--output", "o.npz"]
    code, _, err = call(capsys, model_runner.main, *argv)
    assert code == 2 and "['?', 3, '?', 32]: give an array of that rank" in err


def test_runner_dumps_all_tensors(
    zoo: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """.onnx and .mlir give the same tensors under the same names."""
    argv = ["--input", "net_in_f32.npz", "--dump_all_tensors"]
    assert (
        call(
            capsys,
            model_runner.main,
            *argv,
            "--model",
            str(zoo("tiny_resnet")),
            "--output",
            "a.npz",
        )[0]
        == 0
    )
    assert (
        call(capsys, model_runner.main, *argv, "--model", "net.mlir", "--output", "b.npz")[0] == 0
    )
    with np.load("a.npz") as a, np.load("b.npz") as b:
        common = set(a.files) & set(b.files)
        assert len(common) >= len(b.files) - 1 and "output_Gemm" in common
        for name in common:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-4)


def test_old_dialect(shared_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """S1-13's words: all tensors are compared, the files are named after --model_name."""
    cat = str(shared_dir / "data" / "images" / "cat.jpg")
    code, out, err = call(
        capsys,
        model_deploy.main,
        "--model_name",
        "old",
        "--mlir",
        "net.mlir",
        "--calibration_table",
        "table.txt",
        "--chip",
        "cv183x",
        "--image",
        cat,
        "--tolerance",
        "0.94,0.94,0.61",
        "--correctness",
        "0.99,0.99,0.99",
        *("--dequant_results_to_fp32", "true", "--expose_bf16_inputs", "false"),
        "--cvimodel",
        "old.cvimodel",
    )
    assert (code, err) == (0, "")
    assert "min_similarity = (" in out and "the worst of" in out
    prefix = "old_cv183x_int8"
    assert {p.name for p in Path().iterdir() if not p.is_symlink()} == {
        *("old.cvimodel", "old", "old.log", "old_tensor_info.txt"),
        *("old_quantized.mlir", "old_in_fp32.npz", "old_quantized_tensors_sim.npz"),
        *("_weight_map.csv", "_neuron_map.csv", "_weight.bin", "old_in_f32.npz"),
        *(f"{prefix}_sym_{n}" for n in ("tpu.mlir", "tpu_weight.npz", "final.mlir")),
        *(f"{prefix}.layer_group_{n}.json" for n in ("config", "cache")),
    }
    assert read("old_quantized.mlir").name == "net"
    assert "--output old_quantized_tensors_sim.npz --dump_all_tensors\n[Running]: run old" in out
    model = cvimodel.load("old.cvimodel")
    section = model.weight_section()
    assert section is not None and Path("_weight.bin").read_bytes() == section.data
    rows = [line.rsplit(",", 5) for line in Path("_neuron_map.csv").read_text().splitlines()]
    assert sorted(row[0] for row in rows) == sorted(t.name for t in model.programs[0].tensors)
    assert ["input", "0x00000000", "12288", "1x3x32x32", "fp32", "io_mem"] in rows
    with np.load("old_quantized_tensors_sim.npz") as z:
        assert {"input", "input_si8", "output_Gemm", "output_Gemm_f32"} <= set(z.files)
        assert z["input_si8"].dtype == np.int8 and z["input_si8"].shape == (1, 3, 32, 32)


def test_old_dialect_keeps_what_it_compared(
    shared_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--debug: npz_tool compares the simulator's int8 tensors with the float run, by _op_info."""
    cat = str(shared_dir / "data" / "images" / "cat.jpg")
    argv = ["--model_name", "old", "--mlir", "net.mlir", "--calibration_table", "table.txt"]
    argv += ["--chip", "cv182x", "--image", cat, "--tolerance", "0.9,0.9,0.5", "--debug"]
    assert call(capsys, model_deploy.main, *argv, "--cvimodel", "old.cvimodel")[0] == 0
    sim = "old_quantized_tensors_sim.npz"
    argv = ["compare", sim, "old_quantized_tensors_interp.npz", "--tolerance", "0.9999,0.99"]
    argv += ["--op_info", "old_quantized_op_info.csv", "--dequant"]
    code, out, _ = call(capsys, npz_tool.main, *argv)
    assert code == 0 and "npz compare PASSED." in out
    argv[2] = "old_full_precision_interp.npz"
    assert call(capsys, npz_tool.main, *argv, "--tolerance", "0.9,0.5")[0] == 0
    assert "relu_6_Relu,Add,INT8," in Path("old_quantized_op_info.csv").read_text()


def test_every_tensor_of_the_file_is_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--compare_all finds what the outputs do not show: here the reference of the conversion of
    the input has a wrong value that the network never sees."""
    real = tpu.Quantize.reference

    def wrong(self: tpu.Quantize, *arrays: Any) -> Any:
        y = real(self, *arrays)
        return np.where(np.arange(y.size).reshape(y.shape) == 7, y ^ 1, y).astype(np.int8)

    argv = [*NEW, "--chip", "cv181x", "--model", "x.cvimodel", "--test_input", "net_in_f32.npz"]
    assert call(capsys, model_deploy.main, *argv, "--compare_all")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(tpu.Quantize, "reference", wrong)
        code, _, err = call(capsys, model_deploy.main, *argv, "--compare_all")
    assert code == 1 and "(input_si8" in err


def test_int8_boundary(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(
        capsys,
        model_deploy.main,
        *NEW,
        "--chip",
        "cv181x",
        "--model",
        "q.cvimodel",
        "--quant_input",
        "--quant_output",
        "--test_input",
        "net_in_f32.npz",
    )
    assert (code, err) == (0, "")
    with cvi_nn.Model("q.cvimodel") as model:
        assert (model.inputs[0].format, model.outputs[0].format) == ("int8", "int8")
    assert (
        call(
            capsys,
            model_runner.main,
            "--input",
            "net_in_f32.npz",
            "--model",
            "q.cvimodel",
            "--output",
            "o.npz",
        )[0]
        == 0
    )
    assert (
        call(
            capsys,
            model_runner.main,
            "--input",
            "net_in_f32.npz",
            "--model",
            "q.cvimodel",
            "--output",
            "i.npz",
            "--out_fixed",
        )[0]
        == 0
    )
    with np.load("o.npz") as real, np.load("i.npz") as fixed:
        name = real.files[0]
        assert real[name].dtype == np.float32 and fixed[name].dtype == np.int8


def test_missed_tolerance_names_the_first_bad_layer(capsys: pytest.CaptureFixture[str]) -> None:
    """A table with one threshold a tenth of what it should be: that layer is the first bad one, and
    no file is left."""
    lines = Path("table.txt").read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("relu_6_Relu "))
    name, threshold, *rest = lines[at].split()
    lines[at] = " ".join([name, f"{float(threshold) / 10:.7f}", *rest])
    Path("bad.txt").write_text("\n".join(lines) + "\n")
    argv = [
        "--mlir",
        "net.mlir",
        "--quantize",
        "INT8",
        "--calibration_table",
        "bad.txt",
        "--chip",
        "cv181x",
        "--model",
        "bad.cvimodel",
        "--test_input",
        "net_in_f32.npz",
        "--tolerance",
        "0.97,0.7",
    ]
    code, out, err = call(capsys, model_deploy.main, *argv)
    assert code == 1 and "first bad layer in the order of computation: relu_6_Relu" in err
    assert "npz compare FAILED." in out and not Path("bad.cvimodel").exists()


def test_wrong_layer_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the file computes anything else than the quantised graph, it is renamed, the command
    fails, and the layer is named. Here the reference of one convolution in the middle has a
    flipped bit."""
    real = tpu.Conv.reference

    def wrong(self: tpu.Conv, *arrays: Any) -> Any:
        y = real(self, *arrays)
        return y ^ np.int8(4) if self.name == "conv_4_Conv" else y

    with monkeypatch.context() as patch:
        patch.setattr(tpu.Conv, "reference", wrong)
        code, _, err = call(
            capsys, model_deploy.main, *NEW, "--chip", "cv181x", "--model", "x.cvimodel",
            "--test_input", "net_in_f32.npz", "--correctness", "0.5,0",
        )  # fmt: skip
    assert code == 1 and "does not compute what the quantised graph says" in err
    assert "First wrong layer: conv_4_Conv." in err
    assert Path("x.cvimodel.failed").is_file() and not Path("x.cvimodel").exists()


def test_other_batch_of_the_test_input(capsys: pytest.CaptureFixture[str]) -> None:
    with np.load("net_in_f32.npz") as z:
        np.savez("three.npz", input=np.repeat(z["input"], 3, axis=0))
    code, out, _ = call(
        capsys,
        model_deploy.main,
        *NEW,
        "--chip",
        "cv181x",
        "--model",
        "b.cvimodel",
        "--test_input",
        "three.npz",
    )
    assert code == 0 and "batch 3 of 'input' made 1" in out


def test_same_input_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for name in ("a", "b"):
        assert (
            call(
                capsys, model_deploy.main, *NEW, "--chip", "cv180x", "--model", f"{name}.cvimodel"
            )[0]
            == 0
        )
        model = cvimodel.load(f"{name}.cvimodel")
        files.append([s.contents() for s in model.sections])
    assert files[0] == files[1]


ERRORS = [
    (["--chip", "cv199x"], 2, "--chip cv199x: unknown"),
    (["--chip", "bm1684x"], 3, "compiles for cv183x"),
    (["--model", "x.bmodel"], 2, "must end in .cvimodel"),
    (["--model", "no/such/x.cvimodel"], 1, "no/such"),
    (["--quantize", "F32"], 2, "no float32 commands"),
    (["--quantize", "W8F16"], 2, "--quantize W8F16"),
    (["--quantize", "BF16"], 3, "INT8 only"),
    (["--asymmetric"], 2, "no zero points"),
    (["--calibration_table", "none.txt"], 1, "none.txt"),
    (["--calibration_table", "short.txt"], 1, "no entry for"),
    (["--calibration_table", "plus.txt"], 1, "plus.txt"),
    (["--mlir", "none.mlir"], 1, "none.mlir: no such file"),
    (["--mlir", "plus.txt"], 1, "plus.txt"),
    (["--test_input", "none.npz"], 1, "none.npz: no such file"),
    (["--test_reference", "net_top.npz"], 2, "needs --test_input"),
    (["--fuse_preprocess"], 3, "--fuse_preprocess"),
    (["--quant_input_list", "2"], 2, "counts from 1 to 1"),
    (["--outputs_type", "BF16"], 3, "INT8 only"),
    (["--num_core", "2"], 2, "has one core"),
    (["--custom_op_plugin", "x.so"], 3, "no custom operators"),
    (["--quant_output_bf16"], 3, "INT8 only"),
    (["--expose_bf16_inputs", "true"], 3, "INT8 only"),
    (["--mlir", "slash.mlir"], 1, "the name of the module is '../net'"),
    (["--customization_format", "BGR_PACKED"], 2, "--fuse_preprocess only"),
    (["--image", "cat.jpg"], 2, "--image belongs to the old command line"),
    (["--tolerence", "0.9"], 2, "did you mean --tolerance"),
]


@pytest.mark.parametrize(("argv", "code", "message"), ERRORS)
def test_errors(
    argv: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path("table.txt").read_text()
    Path("short.txt").write_text("\n".join(text.splitlines()[:-3]) + "\n")
    Path("plus.txt").write_text("input nonsense 1 2\n")
    Path("slash.mlir").write_text(Path("net.mlir").read_text().replace("@net", '@"../net"'))
    base = [*NEW, "--chip", "cv181x", "--model", "out.cvimodel"]
    got, _, err = call(capsys, model_deploy.main, *base, *argv)
    assert (got, message in err) == (code, True), err
    assert err.startswith("model_deploy: error: ") and err.count("\n") == 1
    assert not Path("out.cvimodel").exists()


@pytest.mark.parametrize(
    "missing", ["--calibration_table", "--quantize", "--model", "--chip", "--mlir"]
)
def test_missing_options(missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [*NEW, "--chip", "cv181x", "--model", "out.cvimodel"]
    at = argv.index(missing)
    code, _, err = call(capsys, model_deploy.main, *argv[:at], *argv[at + 2 :])
    assert code == 2 and missing in err


def test_runner_refuses_bad_files(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--input", "net_in_f32.npz", "--output", "o.npz", "--model"]
    Path("bad.cvimodel").write_bytes(b"CviModel" + bytes(100))
    for model, code in [
        ("bad.cvimodel", 1),
        ("none.cvimodel", 1),
        ("x.pt", 3),
        ("x.txt", 2),
        ("table.txt", 2),
    ]:
        got, _, err = call(capsys, model_runner.main, *argv, model)
        assert (got, err.count("\n")) == (code, 1), err
    assert not Path("o.npz").exists()


def test_calibration_command_gives_the_same_table(
    shared_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = sorted((shared_dir / "data" / "ILSVRC2012").iterdir())[:4]
    Path("list.txt").write_text("".join(f"{p.absolute()}\n" for p in pictures))
    code, _, err = call(
        capsys,
        run_calibration.main,
        "net.mlir",
        "--data_list",
        "list.txt",
        "--tune_num",
        "0",
        "-o",
        "again.txt",
    )
    assert (code, err.count("error")) == (0, 0)
    rows = [
        [line for line in Path(f).read_text().splitlines() if not line.startswith("#")]
        for f in ("table.txt", "again.txt")
    ]
    assert rows[0] == rows[1] and len(rows[0]) > 10
