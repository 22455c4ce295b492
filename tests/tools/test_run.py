"""The error wrapper: exit codes, one paragraph, no traceback without --debug (cli.md section
2.2)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tpuforge.compiler.errors import OptionError, UnsupportedError, UserInputError
from tpuforge.compiler.fileio import atomic_output, write_text
from tpuforge.tools import common, main


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UserInputError("bad file"), 1, "tool: error: bad file"),
        (OptionError("bad option"), 2, "bad option"),
        (UnsupportedError("no such op"), 3, "no such op"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 1, "out of memory"),
        (FileNotFoundError(2, "No such file or directory", "x.y"), 1, "x.y: No such file"),
        (ZeroDivisionError("oops"), 1, "this is a bug of tpuforge"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_exit_codes(
    error: BaseException, code: int, text: str, debug: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(argv: list[str]) -> int:
        raise error

    assert common.run(fail, "tool", ["--debug"] if debug else []) == code
    printed = capsys.readouterr()
    assert text in printed.err and printed.out == ""
    assert ("Traceback" in printed.err) is (debug and code != 130)
    if not debug:
        assert printed.err.count("\n") == 1


def test_success_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert common.run(lambda argv: None, "tool", []) == 0
    assert common.run(lambda argv: 5, "tool", []) == 5
    assert main.main(["version"]) == 0
    assert main.main(["model_transform", "--version"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("tpuforge v") == 2 and "cv180x" in printed


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["model_depoly"]) == 2
    assert "did you mean model_deploy" in capsys.readouterr().err
    assert main.main([]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in main.COMMANDS)


@pytest.mark.parametrize("name", sorted(main.COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([name, "--help"]) == 0
    assert "usage:" in capsys.readouterr().out


def test_atomic_output(tmp_path: Path) -> None:
    target = write_text(tmp_path / "a.txt", "old\n")
    with pytest.raises(ZeroDivisionError), atomic_output(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old\n" and list(tmp_path.iterdir()) == [target]
    with (
        pytest.raises(UserInputError, match="does not exist"),
        atomic_output(tmp_path / "no" / "b.txt"),
    ):
        pass
    with pytest.raises(UserInputError, match="is a folder"), atomic_output(tmp_path):
        pass


def test_import_is_cheap() -> None:
    """`import tpuforge.compiler` and the main command load none of the heavy packages."""
    heavy = ("onnx", "onnxruntime", "cv2", "numpy")
    code = "import sys, tpuforge.compiler, tpuforge.tools.main; "
    code += f"print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reader_that_goes_away() -> None:
    """`tool | head -1` ends quietly."""
    body = "[print('x' * 1000) for _ in range(10000)] and 0"
    code = f"from tpuforge.tools import common; exit(common.run(lambda a: {body}, 't', []))"
    command = f'"{sys.executable}" -c "{code}" | head -n 1'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
