"""`model_tool` (also `tpu_model`): questions to and operations on model files
(formats/model_tool.md).

This version knows `.cvimodel`; the kind is recognised by content.
"""

from __future__ import annotations

import argparse

from ..compiler.errors import OptionError, UnsupportedError
from ..compiler.format import dump, merge
from . import common, model_file

PROG = "model_tool"
BMODEL_ONLY = (
    "is_dynamic", "dynamic", "kernel_mode", "weight", "update_weight", "encrypt", "decrypt",
    "refresh", "combine_dir", "combine_coeff", "combine_coeff_dir", "dump", "kernel_dump",
    "kernel_update", "kernel_remove",
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    return common.run(_main, PROG, argv)


def _main(argv: list[str]) -> int:
    parser = common.Parser(PROG, "show, take apart and combine compiled models")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--info", metavar="FILE", help="everything that is inside")
    action.add_argument("--chip", metavar="FILE", help="the chip it is for")
    action.add_argument("--print", metavar="FILE", help="not for .cvimodel")
    action.add_argument("--extract", metavar="FILE", help="write commands and weights as files")
    action.add_argument("--combine", nargs="+", metavar="FILE", help="several files into one (-o)")
    for name in BMODEL_ONLY:
        action.add_argument(f"--{name}", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--all", action="store_true", help="for bmodel; no effect on .cvimodel")
    parser.add_argument("-o", "--output", metavar="FILE", help="for --combine")
    common.add_common_options(parser)
    options = parser.parse(argv)
    common.apply_common_options(options)
    for name in BMODEL_ONLY:
        if getattr(options, name) is not None:
            raise UnsupportedError(
                f"--{name} is an operation on .bmodel files, which this version can not do"
            )
    if options.combine:
        return _combine(options.combine, options.output)
    model = model_file.load(options.info or options.chip or options.print or options.extract)
    if options.info:
        print(dump.info(model), end="")
    elif options.chip:
        print(dump.chip_line(model))
    elif options.print:
        print("cv18xx not supported!")
    else:
        model_file.extract(model)
    return 0


def _combine(files: list[str], output: str | None) -> int:
    output = model_file.required_output(output)
    if len(files) < 2:
        raise OptionError(
            "--combine takes two or more files: --combine A.cvimodel B.cvimodel -o C.cvimodel"
        )
    model_file.store(merge.merge([model_file.load(f) for f in files], files), output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
