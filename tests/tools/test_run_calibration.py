"""run_calibration: options of both dialects, files, messages, exit codes (cli.md section 4)."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tpuforge.compiler import api
from tpuforge.compiler.calibrate import read_table
from tpuforge.compiler.ir.text import read
from tpuforge.tools import run_calibration


@pytest.fixture
def model(zoo, tmp_path) -> Path:
    path = tmp_path / "net.mlir"
    preprocess = {"mean": (128,) * 3, "scale": (1 / 128,) * 3, "pixel_format": "rgb"}
    api.transform(zoo("tiny_resnet"), name="net", mlir=path, preprocess=preprocess)
    return path


@pytest.fixture
def run(capsys):
    def call(*args: object) -> tuple[int, str, str]:
        code = run_calibration.main([str(a) for a in args])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return call


def test_new_command_line(model, run, shared_dir, vendor_dir, tmp_path):
    table = tmp_path / "net_cali_table"
    images = shared_dir / "data" / "ILSVRC2012"
    code, out, err = run(model, "--dataset", images, "--input_num", 100, "-o", table)
    assert code == 0 and "mean              : [128.0" in out
    said = out.splitlines()
    places = [
        next(i for i, line in enumerate(said) if line.startswith(start))
        for start in (
            "tpuforge v", "preprocessing: ", "[Running]: calibration", "input_num = 100, ref = 100",
            "real input_num = 100", "auto tune end, run time:", f"Saving {table}", "[Success]",
        )
    ]  # fmt: skip
    assert places == sorted(places)
    assert "collecting: 100/100 (100 %)" in err and "tuning: 15/15" in err
    assert "threshold: 16/16" in err
    assert not list(tmp_path.glob("net_cali_table*.*")), "files of the old command line"
    text = table.read_text()
    assert "# sample number: 100\n" in text and "# tune number: 5\n" in text
    ours, vendor = read_table(table), read_table(vendor_dir / "tiny_resnet_cali_table")
    fused = [n for n in ours if n not in vendor]
    assert [n for n in ours if n not in fused] == list(vendor)
    assert fused[:4] == ["conv_0_Conv", "conv_2_Conv", "add_5_Add", "conv_7_Conv"]
    for name in fused:  # a line before that of the tensor it became part of
        end = list(ours)[list(ours).index(name) + 1]
        assert ours[name] == (ours[end].threshold, -ours[end].threshold, ours[end].threshold)
    assert "$ run_calibration" in (tmp_path / "net.log").read_text()
    for name in vendor:
        assert ours[name].threshold == pytest.approx(vendor[name].threshold, rel=1e-5)


def test_old_command_line(model, run, shared_dir, tmp_path):
    """S1-12 and S1-19."""
    table, images = tmp_path / "t", shared_dir / "data" / "COCO2017"
    code, _, _ = run(model, f"--dataset={images}", "--input_num=4", "--buffer_size=2G", "-o", table)
    assert code == 0 and len(set(read_table(table)) - set(read(model).attrs["fused"][::2])) == 16
    assert {p.name for p in tmp_path.glob("t[._]*")} == {"t.1", "t.csv", "t_images_list.txt"}
    again = tmp_path / "t2"
    assert run(model, f"--dataset={images}", "--input_num=4", "--calibration_table", again)[0] == 0
    assert dict(read_table(again)) == dict(read_table(table)), "the order is always seeded"
    (tmp_path / "list").write_text("\n".join(map(str, sorted(images.glob("*.jpg"))[:2])))
    assert run(model, "--image_list", tmp_path / "list", "--input_num", 2, "-o", table)[0] == 0


def test_old_files(zoo, run, shared_dir, tmp_path, monkeypatch):
    """A graph with the old arithmetic needs no old option here. TABLE.1 is the table without
    tuning, TABLE.csv has both, and the list makes the same table again (cli.md section 4.3)."""
    monkeypatch.chdir(tmp_path)
    preprocess = {"mean": (128,) * 3, "scale": (1 / 128,) * 3, "folded": True}
    api.transform(zoo("tiny_resnet"), name="net", mlir="net.mlir", preprocess=preprocess)
    images = shared_dir / "data" / "ILSVRC2012"
    code, out, _ = run("net.mlir", f"--dataset={images}", "--input_num=4", "-o", "net.v1_table")
    assert code == 0
    for name in ("net.v1_table", "net.v1_table.1", "net.v1_table.csv", "net_images_list.txt"):
        assert f"Saving {name}" in out
    table, first = read_table("net.v1_table"), read_table("net.v1_table.1")
    assert "# tune number: 0\n" in Path("net.v1_table.1").read_text()
    run("net.mlir", "--image_list", "net_images_list.txt", "--tune_num", 0, "-o", "untuned")
    assert dict(read_table("untuned")) == dict(first) and list(first) == list(table)
    assert any(table[n].threshold > first[n].threshold for n in table)
    rows = list(csv.reader(Path("net.v1_table.csv").read_text().splitlines()))
    assert rows[0] == ["op_name", "threshold", "min", "max", "untuned"]
    for (name, *numbers), known in zip(rows[1:], table, strict=True):
        assert name == known
        assert [float(x) for x in numbers] == [*table[name], first[name].threshold]


def test_given_list_stays(model, run, shared_dir, tmp_path):
    pictures = sorted((shared_dir / "data" / "LFW").glob("*.jpg"))[:3]
    given = tmp_path / "t_images_list.txt"
    given.write_text("# mine\n" + "\n".join(map(str, pictures)))
    before = given.read_text()
    code, _, _ = run(model, "--image_list", given, "--input_num", 2, "-o", tmp_path / "t")
    assert code == 0 and given.read_text() == before and (tmp_path / "t.csv").is_file()


def test_methods(model, run, shared_dir, tmp_path):
    data = ("--dataset", shared_dir / "data" / "LFW", "--input_num", 2, "-o", tmp_path / "t")
    for options in (("--cali_method", "max"), ("--debug_cmd", "use_max")):
        assert run(model, *data, *options)[0] == 0
        assert "['max']" in (tmp_path / "t").read_text()
    code, _, err = run(model, *data, "--cali_method", "mse", "--debug_cmd", "use_max")
    assert code == 2 and "contradicts" in err


def test_expert_options_are_noted(model, run, shared_dir, tmp_path):
    code, out, _ = run(
        model, "--dataset", shared_dir / "data" / "LFW", "--input_num", 1, "--tune_num", 0,
        "-o", tmp_path / "t", "--cluster",
        "--chip", "bm1684x", "--search", "False", "--inference_num", "3",
    )  # fmt: skip
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith("note:")] == [
        f"note: --{o} has no effect here" for o in ("chip", "cluster", "inference_num")
    ]


def test_skipped_and_missing_samples_are_said(model, run, tmp_path, shared_dir):
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = next((shared_dir / "data" / "LFW").glob("*.jpg"))
    (folder / "a.jpg").write_bytes(picture.read_bytes())
    (folder / "broken.jpg").write_bytes(picture.read_bytes()[:2000])
    code, out, _ = run(model, "--dataset", folder, "--input_num", 9, "-o", tmp_path / "t")
    assert (
        code == 0
        and "broken.jpg" in out
        and "9 were asked for" in out
        and "real input_num = 1" in out
    )
    code, _, err = run(model, "--dataset", folder, "--strict", "-o", tmp_path / "t2")
    assert code == 1 and "broken.jpg" in err and not (tmp_path / "t2").exists()


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("{model}", "--dataset", "{tmp}"), 2, "-o/--calibration_table"),
        (("{model}", "-o", "{tmp}/t"), 2, "--dataset DIR or --data_list"),
        (("{model}", "--dataset", "{tmp}/no", "-o", "{tmp}/t"), 1, "no such folder"),
        (("{model}", "--dataset", "{tmp}/empty", "-o", "{tmp}/t"), 1, "no samples"),
        (("{tmp}/no.mlir", "--dataset", "{tmp}", "-o", "{tmp}/t"), 1, "no.mlir"),
        (
            ("{model}", "--dataset", "{tmp}", "-o", "{tmp}/t", "--search", "search_qtable"),
            3,
            "no searches",
        ),
        (
            ("{model}", "--dataset", "{tmp}", "-o", "{tmp}/t", "--custom_op_plugin", "x.so"),
            3,
            "custom",
        ),
        (
            ("{model}", "--dataset", "{tmp}", "-o", "{tmp}/t", "--cali_method", "best"),
            2,
            "percentile9999",
        ),
        (("{model}", "--dataset", "{tmp}", "-o", "{tmp}/t", "--input_num", "-3"), 2, "negative"),
        (("{model}", "--dataset", "{tmp}", "-o", "{tmp}/t", "--we"), 3, "weight equalisation"),
        (
            ("{model}", "--dataset", "{tmp}", "-o", "{tmp}/t", "--histogram_bin_num", "100"),
            2,
            "multiple of 128",
        ),
        (("{model}", "--datasett", "{tmp}", "-o", "{tmp}/t"), 2, "did you mean --dataset"),
        (("{model}", "--dataset", "{tmp}", " ", "#", "comment"), 2, "backslash"),
    ],
)
def test_mistakes(model, run, tmp_path, args, code, message):
    (tmp_path / "empty").mkdir()
    got, _, err = run(*(a.format(model=model, tmp=tmp_path) for a in args))
    assert got == code and message in err and not (tmp_path / "t").exists()


def test_a_model_without_its_weights(model, run, shared_dir, tmp_path):
    for f in tmp_path.glob("*.npz"):
        f.unlink()
    code, _, err = run(model, "--dataset", shared_dir / "data" / "LFW", "-o", tmp_path / "t")
    assert code == 1 and ".npz" in err
