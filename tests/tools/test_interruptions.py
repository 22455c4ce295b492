"""Commands that can not finish: the disk is full, the output can not be written, Ctrl-C.

They say so in one paragraph with the right exit code and leave no half-written file."""

from __future__ import annotations

import importlib
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tpuforge.compiler import api
from tpuforge.tools import common, entry

DEPLOY = "--mlir net.mlir --quantize INT8 --calibration_table t --chip cv181x --opt 0"
COMMANDS = {
    "model_transform": "--model_name net --model_def net.onnx --mlir {}/out.mlir",
    "run_calibration": "net.mlir --data_list list --tune_num 0 -o {}/out.txt",
    "model_deploy": DEPLOY + " --model {}/out.cvimodel",
    "model_runner": "--model net.cvimodel --input in.npz --output {}/out.npz",
    "cvimodel_tool": "-a compress -i net.cvimodel -o {}/out.cvimodel",
    "model_tool": "--combine net.cvimodel net.cvimodel -o {}/out.cvimodel",
    "npz_tool": "extract in.npz {}/out.npz input",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of every kind."""
    folder = tmp_path_factory.mktemp("made")
    x = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 8, 8])
    y = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    nodes = [helper.make_node("LeakyRelu", ["input"], ["output"])]
    graph = helper.make_graph(nodes, "g", [x], [y])
    opset = helper.make_opsetid("", 13)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), folder / "net.onnx")
    rng = np.random.default_rng(5)
    np.savez(folder / "in.npz", input=rng.standard_normal((1, 3, 8, 8)).astype(np.float32))
    (folder / "list").write_text("in.npz\n")
    mlir = folder / "net.mlir"
    top = api.transform(folder / "net.onnx", name="net", mlir=mlir).graph
    sample = [(str(folder / "in.npz"),)]
    api.calibrate(top, sample, table=folder / "t", tune_num=0)
    api.deploy(top, folder / "t", "cv181x", folder / "net.cvimodel", opt=0)
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path in made.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def short_files(size: int) -> Iterator[None]:
    """No file can become longer than this, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def main_of(tool: str) -> Callable[[list[str]], int]:
    return importlib.import_module(f"tpuforge.tools.{tool}").main


@pytest.mark.parametrize("tool", COMMANDS)
def test_disk_full(tool: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing can be longer than 40 bytes; then the big files of deploy only."""
    before = set(here.iterdir())
    for size in (40, 1500):
        with short_files(size):
            code = main_of(tool)(COMMANDS[tool].format(".").split())
        err = capsys.readouterr().err
        if size > 40 and code == 0:
            continue
        last = err.splitlines()[-1]
        assert code == 1 and last.startswith(f"{tool}: error: "), err
        assert "can not be written: File too large" in last
        left = {p.name for p in set(here.iterdir()) - before}
        assert not [n for n in left if n.startswith((".", "out"))], left


@pytest.mark.parametrize("tool", COMMANDS)
def test_nowhere_to_write(tool: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    main = main_of(tool)
    for folder in ("none", "net.onnx"):  # no folder, and a file
        assert main(COMMANDS[tool].format(folder).split()) == 1
        err = capfd.readouterr().err
        assert f"the folder {folder} does not exist; create it first" in err.splitlines()[-1]
        assert "collecting" not in err and "Traceback" not in err


def test_full_terminal(here: Path) -> None:
    with open("/dev/full", "w") as full:
        command = ["cvimodel_tool", "-a", "dump", "-i", "net.cvimodel"]
        done = subprocess.run(
            [sys.executable, "-m", "tpuforge", *command],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip() == "cvimodel_tool: error: output: No space left on device"


def test_interrupted_in_the_middle(here: Path) -> None:
    """Ctrl-C while it calibrates: 130, one line, no table, what was there before stays."""
    Path("out.txt").write_text("the table of yesterday")
    Path("list").unlink()
    Path("list").write_text("in.npz\n" * 200_000)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background
    try:  # ignores it, and hands that on
        process = subprocess.Popen(
            [sys.executable, "-m", "tpuforge", "run_calibration", "net.mlir", "--data_list",
             "list", "-o", "out.txt"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("[Running]"):
            process.send_signal(signal.SIGINT)
            break
    _, err = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)
    assert err.splitlines()[-1] == "run_calibration: error: interrupted"
    assert Path("out.txt").read_text() == "the table of yesterday"
    assert not [n for n in os.listdir() if n.startswith(".")]
    assert "KeyboardInterrupt" in Path("net.log").read_text()


def test_interrupted_import(capsys: pytest.CaptureFixture[str]) -> None:
    """A library whose start is interrupted raises an error of its own."""

    def main(argv: list[str]) -> int:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as e:
            raise ImportError("initialization failed") from e

    assert common.run(main, "tool", []) == 130
    assert capsys.readouterr().err == "tool: error: interrupted\n"


PROJECT = (Path(__file__).parents[2] / "pyproject.toml").read_text()
SCRIPTS = re.findall(r'^"?([\w.]+)"? = "(tpuforge[\w.]*):(\w+)"$', PROJECT, re.MULTILINE)


@pytest.mark.parametrize(("script", "module", "function"), SCRIPTS)
def test_every_command_begins_at_the_entry(script: str, module: str, function: str) -> None:
    assert len(SCRIPTS) > 15
    assert module == "tpuforge.tools.entry"
    tool = importlib.import_module(f"tpuforge.tools.{entry.MODULES.get(function, function)}")
    assert callable(tool.main) and callable(getattr(entry, function))
    assert script.removesuffix(".py") in (function, "cvi_npz_tool", "tpu_model")


#: every import of a module of ours behind the entry is interrupted
SLOW = """
import builtins, sys
real = builtins.__import__
def slow(name, *rest):
    if "common" in name or name == "argparse":
        assert not {"numpy", "argparse", "tpuforge.tools.console"} & set(sys.modules)
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as e:
            raise (ImportError("half") if name == "argparse" else e)
    return real(name, *rest)
builtins.__import__ = slow
sys.argv = ["model_deploy"]
"""


@pytest.mark.parametrize("how", ["from tpuforge.tools.entry import model_deploy as main",
                                 "def main(): import tpuforge.__main__"])  # fmt: skip
def test_interrupted_before_main(how: str) -> None:
    """Ctrl-C while the command is still being imported."""
    code = f"{SLOW}\n{how}\nsys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    name = "tpuforge" if "__main__" in how else "model_deploy"
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == f"{name}: error: interrupted\n"


SWALLOWED = """
import os, signal, sys, types
from tpuforge.tools import entry
def main():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        pass
    raise ImportError("half")
sys.modules["tpuforge.tools.tool"] = types.SimpleNamespace(main=main)
signal.signal(signal.SIGINT, getattr(signal, sys.argv[1]))
sys.exit(entry.start("tool"))
"""


def test_interruption_that_a_library_swallows() -> None:
    """numpy raises an ImportError that knows nothing of it. Ignored, it is no interruption."""
    codes = {}
    for handler in ("default_int_handler", "SIG_IGN"):
        command = [sys.executable, "-c", SWALLOWED, handler]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        codes[handler] = done.returncode
        assert ("ImportError: half" in done.stderr) == (handler == "SIG_IGN")
    assert codes == {"default_int_handler": 130, "SIG_IGN": 1}


def test_an_import_that_fails_is_not_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tpuforge.tools.model_deploy", None)
    with pytest.raises(ImportError):
        entry.start("model_deploy")
