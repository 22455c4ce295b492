"""npz_tool: sub-commands, exit codes, messages (cli.md section 9)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tpuforge.tools import npz_tool

X = np.linspace(-2, 3, 24, dtype=np.float32).reshape(1, 2, 3, 4)


@pytest.fixture
def files(tmp_path) -> Path:
    np.savez(tmp_path / "a.npz", x=X, **{"n/y:0": np.arange(5, dtype=np.int8)})
    np.savez(tmp_path / "same.npz", x=X.reshape(2, 12), z=X)
    np.savez(tmp_path / "other.npz", x=-X)
    np.savez(tmp_path / "disjoint.npz", w=X)
    return tmp_path


@pytest.fixture
def run(files, capsys):
    def call(*args: str) -> tuple[int, str, str]:
        code = npz_tool.main(
            [
                str(files / a) if a.endswith((".npz", ".bin", ".npy", ".dat", ".csv")) else a
                for a in args
            ]
        )
        out, err = capsys.readouterr()
        return code, out, err

    return call


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as z:
        return dict(z)


def test_compare_exit_codes(run):
    assert run("compare", "a.npz", "same.npz")[0] == 0
    code, out, _ = run("compare", "a.npz", "other.npz", "-v")
    assert code == 1 and "NOT_SIMILAR [FAILED]" in out and out.endswith("npz compare FAILED.\n")
    assert run("compare", "a.npz", "other.npz", "--excepts", "x")[0] == 1, "nothing left to compare"
    assert run("compare", "a.npz", "other.npz", "--tolerance", "-1.5,-1e9")[0] == 0
    code, out, _ = run("compare", "a.npz", "disjoint.npz")
    assert code == 1 and "no tensor name is common" in out


def test_compare_options(run, files):
    code, out, _ = run(
        "compare",
        "a.npz",
        "other.npz",
        "-vv",
        "--full-array",
        "--per_axis_compare",
        "1",
        "--save",
        "r.csv",
    )
    assert code == 1 and "top-k:" in out and "x along axis 1" in out and "reference\n[[[[" in out
    assert (files / "r.csv").read_text().splitlines()[1].startswith("x,,,False,-1,")
    assert run("compare", "a.npz", "a.npz", "--key", "x", "-a")[1].startswith(
        "1 compared\n1 passed"
    )
    _, out, _ = run("compare", "a.npz", "a.npz", "--stats_int8_tensor")
    assert "n/y:0: 0 of 5 differ" in out


def test_old_dialect_compare(run, files):
    q = np.array([10, -20, 127], np.int8)
    np.savez(files / "q.npz", t=q)
    np.savez(files / "f.npz", t=(q * np.float32(6.35 / 127)))
    (files / "info.csv").write_text("name,op,quant,threshold\nt,Conv,INT8,6.35\n")
    args = ("compare", "q.npz", "f.npz", "--op_info", "info.csv", "--tolerance", "0.99,0.99,0.99")
    assert run(*args)[0] == 1
    assert run(*args, "--dequant", "--save", "r.csv")[0] == 0
    assert (files / "r.csv").read_text().splitlines()[1].startswith("t,Conv,INT8,True")
    np.savez(files / "q2.npz", t=q + np.int8(1) * (q == 10))
    limits = ("--tolerance", "0,0,0")
    assert run("compare", "q.npz", "q2.npz", *limits)[0] == 0
    assert run("compare", "q.npz", "q2.npz", *limits, "--int8_tensor_close", "1")[0] == 1


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ((), 2, ""),
        (("compar", "a.npz"), 2, "unknown sub-command 'compar'"),
        (("visualize_diff", "a.npz", "b.npz"), 3, "print_diff shows"),
        (("compare", "a.npz"), 2, "required"),
        (("compare", "a.npz", "gone.npz"), 1, "gone.npz"),
        (("compare", "a.npz", "same.npz", "--tolerance", "x"), 2, "not a comma-separated list"),
        (("compare", "a.npz", "same.npz", "--key", "q"), 2, "no tensor q"),
        (("compare", "a.npz", "same.npz", "--tolerence", "1"), 2, "--tolerance"),
        (("extract", "a.npz", "o.npz", "q"), 1, "no array named 'q'; it holds x, n/y:0"),
        (("rename", "same.npz", "x", "z"), 1, "already"),
        (("permute", "a.npz", "x", "0,7,1,2"), 1, "array 'x' [1, 2, 3, 4]"),
        (("permute", "a.npz", "x", "a,b"), 2, "whole numbers"),
        (("to_bin", "a.npz", "x", "o.bin", "int4"), 2, "unknown type 'int4'"),
        (("dump", "a.npz", "x", "many"), 2, "not a number"),
    ],
)
def test_mistakes(run, args, code, message):
    got, out, err = run(*args)
    assert got == code and message in err and "Traceback" not in out + err


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text", b"\x93NUMPY\x01\x00v\x00"])
def test_damaged_files(run, files, content):
    (files / "bad.npz").write_bytes(content)
    code, _, err = run("dump", "bad.npz")
    assert code == 1 and "bad.npz" in err and "internal error" not in err


def test_damaged_member(run, files):
    data = bytearray((files / "a.npz").read_bytes())
    data[150] ^= 0xFF
    (files / "bad.npz").write_bytes(data)
    code, _, err = run("statistic", "bad.npz")
    assert code == 1 and "bad.npz" in err and "internal error" not in err


def test_show(run):
    code, out, _ = run("dump", "a.npz")
    assert code == 0 and out.splitlines()[0] == "x [1, 2, 3, 4] float32 min -2 max 3 mean 0.5"
    assert run("dump", "a.npz", "n/y:0", "3")[1].splitlines()[1] == "[0 1 2]"
    assert run("get_shape", "a.npz", "x")[1] == "1,2,3,4\n"
    assert run("get_shape", "a.npz")[1] == "x 1,2,3,4\nn/y:0 5\n"
    assert "zeros 0.2000" in run("statistic", "a.npz")[1]
    out = run("print_diff", "a.npz", "other.npz", "x", "2")[1].splitlines()
    assert (
        out[0].startswith("x [1, 2, 3, 4]: 24 of 24 differ, largest difference 6")
        and out[1] == "  [0,1,2,3] 3 -3 6"
    )


def test_nan(run, files):
    assert run("check_nan_inf", "a.npz")[0] == 0
    np.savez(files / "n.npz", x=np.array([1, np.nan, np.inf, -np.inf], np.float32))
    code, out, _ = run("check_nan_inf", "n.npz")
    assert code == 1 and out.startswith("x: 1 NaN, 2 infinite of 4")


def test_edit(run, files):
    assert run("extract", "a.npz", "o.npz", "n/y:0")[0] == 0
    assert list(arrays(files / "o.npz")) == ["n/y:0"]
    assert run("remove", "a.npz", "o.npz", "x")[0] == 0 and list(arrays(files / "o.npz")) == [
        "n/y:0"
    ]
    assert run("insert", "disjoint.npz", "o.npz")[0] == 0
    assert list(arrays(files / "o.npz")) == ["n/y:0", "w"]
    assert run("merge", "o.npz", "other.npz", "m.npz")[0] == 0
    assert set(arrays(files / "m.npz")) == {"n/y:0", "w", "x"}
    assert run("merge", "m.npz", "other.npz", "m2.npz")[0] == 1 and not (files / "m2.npz").exists()
    assert run("rename", "m.npz", "w", "v")[0] == 0 and "v" in arrays(files / "m.npz")
    assert run("rename", "m.npz", "v", "u", "m3.npz")[0] == 0 and "v" in arrays(files / "m.npz")
    assert run("permute", "m.npz", "x", "0,2,3,1")[0] == 0
    assert np.array_equal(arrays(files / "m.npz")["x"], -X.transpose(0, 2, 3, 1))
    assert run("reshape", "m.npz", "x", "24")[0] == 0
    assert arrays(files / "m.npz")["x"].shape == (24,)


def test_conversions(run, files):
    values = np.array([1, 1 + 2**-8, 1 + 3 * 2**-8, -3.3e38, np.inf, np.nan, 1e-40], np.float32)
    np.savez(files / "v.npz", v=values, i=np.arange(3))
    assert run("fp32_to_bf16", "v.npz", "b.npz")[0] == 0
    bits = arrays(files / "b.npz")["v"]
    assert bits.dtype == np.uint16 and bits[:3].tolist() == [0x3F80, 0x3F80, 0x3F82]
    assert run("bf16_to_fp32", "b.npz", "w.npz")[0] == 0
    back = arrays(files / "w.npz")["v"]
    assert back[4] == np.inf and np.isnan(back[5]) and back[1] == 1
    assert arrays(files / "w.npz")["i"].dtype == np.int64
    assert run("fp32_to_fp16", "v.npz", "h.npz")[0] == 0
    assert run("fp16_to_fp32", "h.npz", "g.npz")[0] == 0
    assert arrays(files / "g.npz")["v"][2] == np.float32(np.float16(values[2]))


def test_raw_files(run, files):
    assert run("to_bin", "a.npz", "x", "x.bin")[0] == 0
    assert (files / "x.bin").read_bytes() == X.tobytes()
    assert run("to_bin", "a.npz", "x", "x.bin", "int8")[0] == 0
    assert (files / "x.bin").read_bytes() == X.astype(np.int8).tobytes()
    assert (
        run("to_bin", "a.npz", "x", "x.bin", "bf16")[0] == 0
        and (files / "x.bin").stat().st_size == 48
    )
    assert run("to_dat", "a.npz", "a.dat")[0] == 0
    assert (files / "a.dat").read_bytes() == X.tobytes() + bytes(range(5))
    assert run("to_npy", "a.npz", "x", "x.npy")[0] == 0
    assert np.array_equal(np.load(files / "x.npy"), X)


def test_help(run):
    code, out, _ = run("--help")
    assert code == 0 and all(f"  {name} " in out for name in npz_tool.COMMANDS)
    assert run("compare", "--help")[0] == 0
