"""tpuforge deploy MODEL --board NAME --sample classifier --image cat.jpg: push and run."""

from __future__ import annotations

import sys
from pathlib import Path

from . import common
from .evb import _exit_code, _split, _stderr, _stdout


def main(argv: list[str] | None = None) -> int:
    return common.run(_main, "tpuforge deploy", argv)


def _main(argv: list[str]) -> int:
    from ..evb import connect, load_board
    from ..evb.deploy import SAMPLES, deploy

    own, extra = _split(argv)
    p = common.Parser("tpuforge deploy", "Push a compiled model and run a sample with it.")
    p.add_argument("model", help=".cvimodel")
    p.add_argument("--board", required=True, metavar="NAME", help="name or .toml file of the board")
    p.add_argument("--sample", default="classifier", choices=list(SAMPLES), help="what to run")
    p.add_argument("--image", metavar="FILE", help="picture for the sample")
    p.add_argument("--labels", metavar="FILE", help="labels (default: those of the SDK)")
    p.add_argument("--sdk", metavar="DIR", help="push this SDK as well (`tpuforge build-runtime`)")
    p.add_argument("--timeout", type=float, default=120, metavar="S", help="end the sample then")
    common.add_common_options(p)
    p.epilog = "What stands behind -- goes to the sample: -- --rgb --mean 127 --scale 0.0078125"
    o = p.parse(own)
    common.apply_common_options(o)
    model = common.existing_file(o.model, "a compiled model")
    paths = {k: Path(v) for k in ("image", "labels", "sdk") if (v := getattr(o, k))}
    with connect(load_board(o.board)) as link, common.Progress("push") as progress:
        report, result = deploy(
            link, model, o.sample, **paths, options=extra, timeout=o.timeout,
            out=_stdout, err=_stderr, progress=progress,
        )  # fmt: skip
    sent = f"{report.sent / 1e6:.1f} MB sent, {len(report.unchanged)} files unchanged"
    print(f"{report.board}: {sent}, ran {result.seconds:.1f} s", file=sys.stderr)
    return _exit_code(result.code, result.timed_out, o.timeout)
