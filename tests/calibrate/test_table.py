"""Calibration and quantize tables (cli.md sections 15.1, 15.2)."""

from __future__ import annotations

import numpy as np
import pytest
from tpuforge.compiler.calibrate import CalibrationTable, Entry, read_table, write_table
from tpuforge.compiler.calibrate.table import (
    check_bins,
    format_table,
    parse_quantize_table,
    parse_table,
    read_quantize_table,
    unknown_names,
)
from tpuforge.compiler.errors import OptionError, UserInputError


def test_round_trip(tmp_path):
    table = CalibrationTable(
        {"input": Entry(2.9, -2.2, 2.9), "r0/x:0_Relu": Entry(1e-5, -0.0, 3.9955719)}
    )
    table.made = {"method": "max", "samples": 7}
    write_table(tmp_path / "t", table, model="net.mlir", tune_num=5)
    text = (tmp_path / "t").read_bytes()
    assert text.endswith(
        b"\ninput 2.9000000 -2.2000000 2.9000000\nr0/x:0_Relu 0.0000100 0.0000000 3.9955719\n"
    )
    assert (
        b"# mlir: net.mlir\n" in text
        and b"['max']" in text
        and b"# sample number: 7\n" in text
        and b"\r" not in text
    )
    assert dict(read_table(tmp_path / "t")) == dict(table)


def test_vendor_tables(vendor_dir):
    table = read_table(vendor_dir / "tiny_resnet_cali_table")
    assert len(table) == 16 and next(iter(table)) == "input"
    assert table["conv_4_Conv"] == (7.2223344, -11.3618088, 8.6746826)


def test_old_table():
    table = parse_table(
        "data 2.5\nconv1 1.5 -1.2 1.5\n"
        "weight conv1 0.5 0.25\nweight conv2 0.5 0.25 0.1 0.2\nbitwidth conv1 8\n"
    )
    assert table["data"] == (2.5, -2.5, 2.5) and table["conv1"] == (1.5, -1.2, 1.5)
    assert table.weights == {
        "conv1": (0.5, 0.25),
        "conv2": (0.5, 0.25, 0.1, 0.2),
    } and table.bitwidths == {"conv1": 8}
    assert list(table) == ["data", "conv1"]


def test_everything_tolerated():
    table = parse_table("\ufeffa\t1e-05  -1.5 +2\r\n\r\n  # comment\r\nb 1 2 3\r\na 4 5 6")
    assert table["\ufeffa"] if "\ufeffa" in table else table["a"] == (4, 5, 6)
    assert table["b"] == (1, 2, 3)


def test_byte_order_mark_and_crlf_in_a_file(tmp_path):
    (tmp_path / "t").write_bytes(b"\xef\xbb\xbfa 1 -1 1\r\nb 2 0 2\r\n")
    assert read_table(tmp_path / "t")["a"] == (1, -1, 1)


def test_further_blocks_are_not_thresholds():
    table = parse_table("a 1 -1 1\n#int4_th\na 0.5 -0.5 0.5\n#weight_scale\na 1 2 3 4 5\n")
    assert table["a"] == (1, -1, 1) and len(table) == 1


@pytest.mark.parametrize(
    "line",
    ["a 1 2", "a", "a 1 2 3 4", "a x 2 3", "a nan 0 0", "a inf 0 0", "a -1 -1 1", "bitwidth a x"],
)
def test_bad_lines_name_file_and_line(tmp_path, line):
    (tmp_path / "t").write_text(f"# head\nok 1 -1 1\n{line}\n")
    with pytest.raises(UserInputError, match=r"t, line 3"):
        read_table(tmp_path / "t")


@pytest.mark.parametrize("content", [b"", b"# only comments\n", b"\xff\xfe\x00binary"])
def test_no_table_at_all(tmp_path, content):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(UserInputError, match="/t"):
        read_table(tmp_path / "t")
    with pytest.raises(UserInputError, match="gone"):
        read_table(tmp_path / "gone")
    with pytest.raises(UserInputError):
        read_table(tmp_path)


def test_mutated_tables_never_crash(vendor_dir):
    good = (vendor_dir / "tiny_resnet_cali_table").read_text()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        bad = list(good)
        for i in rng.integers(0, len(bad), 6):
            bad[i] = "# \n\t-+e.x0\r"[rng.integers(0, 11)]
        try:
            assert all(np.isfinite(e).all() for e in parse_table("".join(bad)).values())
        except UserInputError:
            refused += 1
    assert 20 < refused < 200


def test_missing_tensors_are_all_named():
    table = parse_table("a 1 -1 1", "my_table")
    assert table.missing(["a", "b", "c"]) == ["b", "c"]
    with pytest.raises(UserInputError, match=r"my_table: no entry for 2 tensors: b, c"):
        table.require(["b", "a", "c"])
    with pytest.raises(UserInputError, match="no entry for 1 tensor: z"):
        table.threshold("z")
    assert table.threshold("a") == 1


@pytest.mark.parametrize("name", ["a b", "", "#a", "a\tb"])
def test_names_that_cannot_be_written(name):
    with pytest.raises(UserInputError, match="rename"):
        format_table(CalibrationTable({name: Entry(1, -1, 1)}))


def test_quantize_table(tmp_path):
    (tmp_path / "q").write_bytes(b"# head\r\nr1_Relu bf16\r\nc2_Conv\tInt8\r\n\r\nx MIX_BF16\n")
    assert read_quantize_table(tmp_path / "q") == {
        "r1_Relu": "BF16",
        "c2_Conv": "INT8",
        "x": "BF16",
    }
    assert parse_quantize_table("a\nb INT8", bare_is_bf16=True) == {"a": "BF16", "b": "INT8"}


@pytest.mark.parametrize("line", ["a", "a b c", "a W4"])
def test_bad_quantize_lines(line):
    with pytest.raises(UserInputError, match="q, line 2"):
        parse_quantize_table(f"x INT8\n{line}", "q")


def test_unknown_layers_get_near_names():
    assert unknown_names({"r1_Rleu": "BF16", "r1_Relu": "BF16"}, ["r1_Relu", "r2_Relu"]) == [
        "no layer named 'r1_Rleu' in the model; did you mean r1_Relu or r2_Relu?"
    ]


def test_bins():
    assert check_bins(2048) == 2048
    for bad in (0, 100, 2047, -128, 1 << 30):
        with pytest.raises(OptionError):
            check_bins(bad)
