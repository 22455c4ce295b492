"""The command `tpuforge`: every tool as a subcommand, plus demo, disasm and version."""

from __future__ import annotations

import difflib
import importlib
import platform
import sys
from collections.abc import Callable

from ..compiler.errors import OptionError
from . import common

#: subcommand -> (module below tpuforge.tools, one line of help)
COMMANDS = {
    "demo": ("demo", "compile EfficientNet-Lite0 and run it on photographs"),
    "model_transform": ("model_transform", "ONNX model -> float graph (.mlir + .npz)"),
    "run_calibration": ("run_calibration", "photographs + float graph -> calibration table"),
    "model_deploy": ("model_deploy", "float graph + table -> .cvimodel, verified in the simulator"),
    "model_runner": ("model_runner", "run .onnx, .mlir or .cvimodel on arrays"),
    "npz_tool": ("npz_tool", "compare and show arrays"),
    "cvimodel_tool": ("cvimodel_tool", "show what is inside a .cvimodel"),
    "model_tool": ("model_tool", "show what is inside a model file"),
    "evb": ("evb", "boards: push, run, console, doctor, bench, a virtual board"),
    "deploy": ("deploy", "push a compiled model to a board and run a sample with it"),
    "build_runtime": ("build_runtime", "runtime and samples for a board, laid out as its SDK"),
    "disasm": ("disasm", "print every TPU command of a .cvimodel"),
}


def main(argv: list[str] | None = None) -> int:
    return common.run(_main, "tpuforge", argv)


def _main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    name, rest = argv[0], argv[1:]
    if name in ("version", "-V", "--version"):
        print(_version())
        return 0
    name = name.removesuffix(".py").replace("-", "_")
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, [*COMMANDS, "version"], 2, 0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "`tpuforge --help` lists them"
        raise OptionError(f"unknown command {argv[0]!r}: {hint}")
    tool: Callable[[list[str]], int] = importlib.import_module(
        f".{COMMANDS[name][0]}", __package__
    ).main
    return tool(rest)


def _help() -> str:
    rows = [f"  {name:16s} {text}" for name, (_, text) in COMMANDS.items()]
    rows.append(f"  {'version':16s} versions of tpuforge, Python and the runtime library")
    head = "usage: tpuforge COMMAND [options]        `tpuforge COMMAND --help` lists the options\n"
    return "\n".join([head, *rows])


def _version() -> str:
    from ..compiler.chip import CHIPS

    lines = [
        common.version_line(),
        f"Python {platform.python_version()} on {sys.platform} {platform.machine()}",
    ]
    lines.append(f"chips: {', '.join(CHIPS)}")
    try:
        import cvi_nn

        lines.append(f"runtime library: {cvi_nn.library_path()}")
    except ImportError as e:
        lines.append(f"runtime library: missing ({e})")
    return "\n".join(lines)
