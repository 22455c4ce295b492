"""tpuforge build-runtime: runtime and samples for a board, laid out as its SDK."""

from __future__ import annotations

from pathlib import Path

from ..evb.sdk import COMPILERS, TOOLCHAINS, build_sdk, pack
from . import common


def main(argv: list[str] | None = None) -> int:
    return common.run(_main, "tpuforge build-runtime", argv)


def _main(argv: list[str]) -> int:
    p = common.Parser(
        "tpuforge build-runtime", "Build libcviruntime, tools and samples for a board."
    )
    p.add_argument("--target", required=True, choices=list(TOOLCHAINS), help="processor and libc")
    p.add_argument("--output", metavar="DIR", help="SDK folder (default cvitek_tpu_sdk_<target>)")
    p.add_argument(
        "--compiler", default="auto", choices=COMPILERS, help="auto: zig if found, else gcc"
    )
    p.add_argument(
        "--source", metavar="DIR", help="checkout of tpuforge (default: the installed sources)"
    )
    p.add_argument("--build", metavar="DIR", help="keep the build folder for the next time")
    p.add_argument("--jobs", type=int, help="compiler processes (default: all processors)")
    p.add_bool("--simulator", default=True, help="include the simulator (default true)")
    p.add_bool("--tarball", help="also write <output>.tar.gz")
    common.add_common_options(p)
    options = p.parse(argv)
    common.apply_common_options(options)
    source = Path(options.source).resolve() if options.source else None
    build = Path(options.build).resolve() if options.build else None
    folder = Path(options.output or f"cvitek_tpu_sdk_{options.target.replace('-', '_')}")
    with common.step(f"build the runtime for {options.target}"):
        sdk = build_sdk(
            options.target, folder, source=source, compiler=options.compiler,
            simulator=options.simulator, jobs=options.jobs, build=build, note=common.say,
        )  # fmt: skip
    for name, size in sdk.sizes.items():
        common.say(f"  {size / 1000:8.1f} kB  {name}")
    if sdk.glibc:
        common.say(f"  the board needs glibc {sdk.glibc} or later")
    if options.tarball:
        archive = folder.with_name(folder.name + ".tar.gz")
        pack(folder, archive)
        common.say(f"Saving {archive}")
    common.say(f"Saving {folder}")
    return 0
