"""`cvimodel_tool`: dump, extract, merge and compress `.cvimodel` files (cli.md section 8)."""

from __future__ import annotations

from ..compiler.errors import OptionError, UnsupportedError
from ..compiler.format import cvimodel, dump, merge
from . import common, model_file

PROG = "cvimodel_tool"
ACTIONS = ("dump", "extract", "merge", "encrypt", "compress")


def main(argv: list[str] | None = None) -> int:
    return common.run(_main, PROG, argv)


def _main(argv: list[str]) -> int:
    parser = common.Parser(PROG, "show, take apart, merge and compress .cvimodel files")
    parser.add_argument("-a", "--action", choices=ACTIONS, required=True, help="what to do")
    parser.add_argument(
        "-i", "--input", nargs="+", required=True, metavar="FILE", help="two or more for merge"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="for merge and compress")
    parser.add_bool("--verify", help="refuse a file with a wrong checksum or damaged sections")
    common.add_common_options(parser)
    options = parser.parse(argv)
    common.apply_common_options(options)
    files: list[str] = options.input
    if options.action == "encrypt":
        raise UnsupportedError(
            "encrypt: the format of encrypted sections is known only to the vendor's signing tool; "
            "use that one on a file of ours"
        )
    if options.action == "merge":
        return _merge(files, options.output, options.verify)
    if len(files) > 1:
        raise OptionError(f"{options.action} takes one input file, not {len(files)}")
    model = model_file.load(files[0], verify=options.verify)
    if options.action == "dump":
        print(f"{PROG}\nCvitek Runtime (1.4.0){common.version_line()}")
        print(dump.info(model, encryption=True), end="")
    elif options.action == "extract":
        model_file.extract(model)
    else:
        output = model_file.required_output(options.output)
        common.write_bytes(output, cvimodel.write(merge.compress(model)))
        common.say(f"store cvimodel to {output}")
    return 0


def _merge(files: list[str], output: str | None, verify: bool) -> int:
    output = model_file.required_output(output)
    if len(files) < 2:
        raise OptionError(
            "merge takes two or more input files: -i A.cvimodel B.cvimodel -o C.cvimodel"
        )
    models = [model_file.load(f, verify=verify) for f in files]
    for section in (s for m in models for s in m.sections):
        common.say(f"section type: {section.kind}, name: {section.name}")
    merged = merge.merge(models, files)
    common.say("cvimodels weight compare pass!")
    model_file.store(merged, output, checksums=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
