"""tpuforge demo: EfficientNet-Lite0 from its weights to a compiled file running on photographs."""

from __future__ import annotations

from pathlib import Path

from .. import common

PROG = "tpuforge demo"


def main(argv: list[str] | None = None) -> int:
    return common.run(_main, PROG, argv)


def _main(argv: list[str]) -> int:
    p = common.Parser(PROG, "Compile EfficientNet-Lite0 for a chip and run it on photographs.")
    p.add_argument(
        "--chip", type=str.lower, default="cv181x", help="cv183x, cv182x, cv181x, cv180x"
    )
    p.add_argument(
        "--images", type=Path, metavar="DIR", help="your photographs (default: packaged)"
    )
    p.add_argument("--output", type=Path, default=Path("demo_output"), metavar="DIR",
                   help="where the files go (default demo_output)")  # fmt: skip
    p.add_argument("--show", type=int, default=8, metavar="N", help="photographs to classify")
    p.add_argument(
        "--opt", type=int, choices=(0, 1, 2, 3), default=2, help="search of the scheduler"
    )
    p.add_argument(
        "--keep", action="store_true", help="also leave the ONNX file and the photographs"
    )
    common.add_common_options(p)
    options = p.parse(argv)
    common.apply_common_options(options)
    from ...compiler.chip import chip_named
    from .flow import Demo

    demo = Demo(chip_named(options.chip), options.output, options.images, options.show, options.opt)
    demo.run(keep=options.keep)
    return 0
