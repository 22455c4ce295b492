"""bench/stream_cost.py: its numbers for vendor files are the baseline's."""

import importlib.util
import json
from pathlib import Path

import pytest
from net_cases import random_graph
from tpuforge.compiler.chip import chip_named
from tpuforge.compiler.emit.cv18xx import compile_graph

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "stream_cost.py"


@pytest.fixture
def bench():
    spec = importlib.util.spec_from_file_location("bench_stream_cost", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_table_and_json(bench, shared, tmp_path, capsys):
    baseline = json.loads((shared / "zoo/baseline.json").read_text())
    names = ["tiny_resnet_cv180x", "mobilenet_v2_cv181x"]
    copy = tmp_path / "mobilenet_v2_cv181x_int8_sym.cvimodel"
    copy.write_bytes((shared / "zoo/vendor/mobilenet_v2_cv181x.cvimodel").read_bytes())
    files = [str(shared / f"zoo/vendor/{n}.cvimodel") for n in names] + [str(copy)]
    assert bench.main([*files, "-o", str(tmp_path / "out.json")]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 3 and all(len(r) <= len(head) for r in rows)
    got = json.loads((tmp_path / "out.json").read_text())
    for name in [*names, copy.stem]:
        want = baseline[name.removesuffix("_int8_sym")]
        for key in ("tiu_commands", "ddr_read_bytes", "ddr_write_bytes", "min_ddr_bytes"):
            assert got[name][key] == want[key], (name, key)
        assert got[name]["vendor_est_ms"] == want["est_ms"]
        assert got[name]["est_ms"] == pytest.approx(want["est_ms"], abs=0.0006)
        assert got[name]["mac_bound_ms"] < got[name]["tiu_bound_ms"] < got[name]["est_ms"]


def test_bad_file(bench, tmp_path, capsys):
    bad = tmp_path / "bad_cv181x.cvimodel"
    bad.write_bytes(b"CviModel" * 20)
    assert bench.main([str(bad)]) == 1
    assert "bad_cv181x" in capsys.readouterr().err


def test_several_streams(bench):
    """Costs of all routines add up; what must be moved at least does not depend on the cuts."""
    chip = chip_named("cv180x")
    graph = random_graph("streams-0", chip, layers=6)
    whole, cut = (compile_graph(graph, chip, opt=0, max_commands=n) for n in (65535, 32))
    assert len(whole.streams) == 1 < len(cut.streams)
    one, many = bench.model_cost(whole.model), bench.model_cost(cut.model)
    for key in ("macs", "tiu_commands", "min_ddr_bytes"):
        assert one[key] == many[key] > 0, key
    assert many["tdma_commands"] >= one["tdma_commands"]
    assert many["est_ms"] >= one["est_ms"]
