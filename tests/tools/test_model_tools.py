"""`cvimodel_tool` and `model_tool` on files: texts, results, exit codes, one-paragraph errors."""

from __future__ import annotations

import pytest
from format.sample import copy_stream, full, tiny
from tpuforge.compiler.format import cvimodel, dump
from tpuforge.tools import cvimodel_tool, model_tool


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(name: str, model: cvimodel.Model) -> str:
    cvimodel.save(model, name)
    return name


def test_dump_and_info(here, capsys):
    save("f.cvimodel", full())
    assert model_tool.main(["--info", "f.cvimodel"]) == 0
    assert capsys.readouterr().out == dump.info(full())
    assert cvimodel_tool.main(["-a", "dump", "-i", "f.cvimodel", "--verify"]) == 0
    first, second, rest = capsys.readouterr().out.split("\n", 2)
    assert first == "cvimodel_tool" and second.startswith("Cvitek Runtime (1.4.0)tpuforge v")
    assert rest == dump.info(full(), encryption=True)


def test_chip_and_print(here, capsys):
    save("f", tiny("cv180x"))  # recognised by content, not by name
    assert model_tool.main(["--chip", "f"]) == 0
    assert model_tool.main(["--print", "f"]) == 0
    assert capsys.readouterr().out == "For cv180x chip ONLY\ncv18xx not supported!\n"


@pytest.mark.parametrize(
    "command", [(model_tool, "--extract"), (cvimodel_tool, "-a", "extract", "-i")]
)
def test_extract(here, capsys, command):
    tool, *args = command
    save("f.cvimodel", full())
    assert tool.main([*args, "f.cvimodel"]) == 0
    assert capsys.readouterr().out == dump.extract(full())[0]
    assert (here / "full_program_1_cmdbuf_run.bin").read_bytes() == copy_stream("cv181x") * 3
    assert (here / "full_weight.bin").read_bytes() == bytes(range(24))


def test_merge(here, capsys):
    files = [save("a.cvimodel", tiny()), save("b.cvimodel", tiny())]
    assert cvimodel_tool.main(["-a", "merge", "-i", *files, "-o", "c.cvimodel"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "cvimodels weight compare pass!" in lines and lines[-1] == "store cvimodel to c.cvimodel"
    assert lines[-2].startswith("add section, name:run_1 type:1 md5:")
    assert len(cvimodel.load("c.cvimodel", verify=True).programs) == 2
    assert model_tool.main(["--combine", *files, "-o", "d.cvimodel"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "add section, name:weight type:0", "add section, name:run_0 type:1",
        "add section, name:run_1 type:1", "store cvimodel to d.cvimodel",
    ]  # fmt: skip
    assert cvimodel.load("d.cvimodel").programs == cvimodel.load("c.cvimodel").programs


def test_compress(here, capsys):
    model = tiny()
    model.sections[1].data *= 30
    save("a.cvimodel", model)
    assert cvimodel_tool.main(["-a", "compress", "-i", "a.cvimodel", "-o", "b.cvimodel"]) == 0
    assert capsys.readouterr().out == "store cvimodel to b.cvimodel\n"
    assert cvimodel.load("b.cvimodel", verify=True).sections[1].compress
    assert cvimodel_tool.main(["-a", "compress", "-i", "b.cvimodel", "-o", "c.cvimodel"]) == 1
    assert "'run' of 'tiny' is compressed already" in capsys.readouterr().err
    assert not (here / "c.cvimodel").exists()


CASES = [
    (model_tool, ["--info", "gone"], 1, "gone: no such file"),
    (model_tool, ["--info", "text"], 1, "text: a cvimodel is longer than 48 bytes"),
    (model_tool, ["--info", "cut"], 1, "cut: header.body_size"),
    (model_tool, ["--info", "b.bmodel"], 3, "is a .bmodel"),
    (model_tool, ["--weight", "a"], 3, "--weight is an operation on .bmodel"),
    (model_tool, ["--combine", "a", "b"], 2, "-o FILE is missing"),
    (model_tool, ["--combine", "a", "-o", "x"], 2, "two or more"),
    (model_tool, ["--combine", "a", "other", "-o", "x"], 1, "a is for cv181x, other is for cv180x"),
    (model_tool, [], 2, "one of the arguments"),
    (model_tool, ["--inform", "a"], 2, "did you mean --info"),
    (cvimodel_tool, ["-a", "show", "-i", "a"], 2, "invalid choice: 'show'"),
    (cvimodel_tool, ["-a", "dump", "-i", "a", "a"], 2, "one input file, not 2"),
    (cvimodel_tool, ["-a", "encrypt", "-i", "a", "-o", "x"], 3, "signing tool"),
    (cvimodel_tool, ["-a", "merge", "-i", "a", "-o", "x"], 2, "two or more"),
    (cvimodel_tool, ["-a", "dump", "-i", "bad", "--verify"], 1, "bad: header.md5"),
]


@pytest.mark.parametrize(("tool", "args", "code", "message"), CASES)
def test_errors(here, capsys, tool, args, code, message):
    data = cvimodel.write(tiny())
    files = {
        "a": data, "b": data, "text": b"hello\n", "cut": data[:200],
        "other": cvimodel.write(tiny("cv180x")),
        "b.bmodel": b"\xee\xaa\x55\xff" + bytes(80), "bad": data[:15] + b"!" + data[16:],
    }  # fmt: skip
    for name, content in files.items():
        (here / name).write_bytes(content)
    assert tool.main(args) == code
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err
    assert not (here / "x").exists()


def test_wrong_checksum_is_only_a_warning(here, capsys):
    data = cvimodel.write(tiny())
    (here / "bad").write_bytes(data[:15] + b"!" + data[16:])
    assert model_tool.main(["--info", "bad"]) == 0
    captured = capsys.readouterr()
    assert captured.out == dump.info(tiny()) and "warning: bad: the checksum" in captured.err
