"""What every command shares: parser, error wrapper, console lines, complete-or-absent outputs.

def main(argv: list[str] | None = None) -> int:
    return common.run(_main, "npz_tool", argv)

def _main(argv: list[str]) -> int: ...  # raises TpuforgeError for what the user can mend
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from ..compiler.errors import OptionError, TpuforgeError
from ..compiler.fileio import atomic_output, check_output, existing_file, write_bytes, write_text
from . import console
from .arguments import Parser, bool_word, floats, ints, names, shapes
from .console import Progress, log_to, say, step, version_line
from .dialect import NEW, OLD, detect_dialect
from .entry import interrupted

__all__ = [
    "NEW", "OLD", "Parser", "Progress", "add_common_options", "apply_common_options",
    "atomic_output", "bool_word", "check_module_name", "check_output", "detect_dialect",
    "existing_file", "floats", "ints", "log_to", "names", "run", "say", "shapes", "step",
    "version_line", "write_bytes", "write_text",
]  # fmt: skip

LEVELS = ("debug", "info", "warning", "error")


def run(
    main_impl: Callable[[list[str]], int | None], prog: str, argv: Sequence[str] | None = None
) -> int:
    """Run a command and turn exceptions into a message on stderr and an exit code (section 2.2).

    0 success; 1 failure; 2 usage error; 3 unsupported; 130 interrupted. A traceback only with
    --debug among the arguments.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        code = main_impl(args)
        sys.stdout.flush()
        return int(code or 0)
    except TpuforgeError as e:
        return _fail(prog, str(e), e.exit_code, args)
    except KeyboardInterrupt:
        return _fail(prog, "interrupted", 130, [])
    except BrokenPipeError:  # the reader of our output has gone: not an error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as e:  # argparse: --help and --version
        return e.code if isinstance(e.code, int) else 0
    except MemoryError:
        return _fail(prog, "out of memory: a file claims more than this machine can hold", 1, args)
    except OSError as e:
        return _fail(prog, f"{e.filename or 'output'}: {e.strerror or e}", 1, args)
    except Exception as e:
        if interrupted(e):
            return _fail(prog, "interrupted", 130, [])
        what = f"internal error ({type(e).__name__}: {e})"
        how = "this is a bug of tpuforge: run again with --debug and report it"
        return _fail(prog, f"{what}; {how}", 1, args)


def _fail(prog: str, message: str, code: int, args: Sequence[str]) -> int:
    if "--debug" in args:
        traceback.print_exc()
    paragraph = " ".join(message.splitlines())  # text of a damaged file may be quoted in it
    print(f"{prog}: error: {paragraph}", file=sys.stderr, flush=True)
    return code


def check_module_name(name: str | None) -> None:
    """OptionError for a --model_name that can not be part of file names."""
    from ..compiler.flow.deploy import bad_name

    problem = bad_name(name) if name is not None else ""
    if problem:
        raise OptionError(f"--model_name {problem}")


def add_common_options(parser: Parser, *, verbosity: bool = True) -> None:
    """--version, --debug and (unless the command uses -v for itself) --log_level, -q, -v."""
    parser.add_argument("-V", "--version", action="version", version=version_line())
    parser.add_argument(
        "--debug", action="store_true", help="keep intermediate files; show tracebacks"
    )
    if verbosity:
        parser.add_argument(
            "--log_level", type=str.lower, choices=LEVELS, default="warning", help="what is logged"
        )
        parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
        parser.add_argument("-v", "--verbose", action="store_true", help="same as --log_level info")


def apply_common_options(options: argparse.Namespace) -> None:
    """Set up logging and quietness from the options of add_common_options."""
    console.quiet = bool(getattr(options, "quiet", False))
    level = (
        "info" if getattr(options, "verbose", False) else getattr(options, "log_level", "warning")
    )
    logging.basicConfig(
        level=getattr(logging, level.upper()), format="%(levelname)s: %(message)s", force=True
    )
