"""disasm: print every TPU command of a .cvimodel, one line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..compiler.chip import chip_named
from ..compiler.errors import UnsupportedError
from ..compiler.format.cvimodel import Model
from ..compiler.isa import Command, parse_stream
from ..compiler.isa.cv18xx.race import check_stream
from ..compiler.isa.cv18xx.stream_cost import stream_cost
from ..compiler.isa.cv18xx.text import describe
from . import common, model_file

PROG = "disasm"


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return common.run(_main, PROG, argv)


def _main(argv: Sequence[str]) -> int:
    parser = common.Parser(PROG, description="print every TPU command of a .cvimodel")
    parser.add_argument("model", help=".cvimodel file of any CV18xx chip")
    parser.add_argument(
        "--cycles", action="store_true", help="start and duration of each command (estimated)"
    )
    parser.add_argument(
        "--check", action="store_true", help="instead: look for missing waits between commands"
    )
    common.add_common_options(parser)
    options = parser.parse_args(argv)
    common.apply_common_options(options)
    model = model_file.load(options.model)
    if options.check:
        return check(model)
    for line in lines(model, cycles=options.cycles):
        common.say(line)
    return 0


def check(model: Model) -> int:
    """Print what the race checker finds in each routine; 1 if it finds anything."""
    total = 0
    for name, commands in routines(model):
        found = check_stream(chip_named(model.chip), commands)
        total += len(found)
        common.say(f"{name}: {len(found) or 'no'} findings")
        for finding in found:
            common.say(str(finding))
    return int(total > 0)


def lines(model: Model, *, cycles: bool = False) -> Iterator[str]:
    """A head line per TPU routine, then its commands in program order."""
    chip = chip_named(model.chip)
    weights = next((s.contents() for s in model.sections if s.kind == "weight"), b"")
    for name, commands in routines(model):
        yield name
        if not cycles:
            yield from (describe(chip, c) for c in commands)
            continue
        cost = stream_cost(chip, commands, weights)
        for c, start, duration in zip(commands, cost.start, cost.cycles, strict=True):
            yield f"{start:11.0f} +{duration:9.0f}  {describe(chip, c)}"


def routines(model: Model) -> Iterator[tuple[str, list[Command]]]:
    """(description, commands) of every TPU routine.

    UnsupportedError when one carries a pre-built dma buffer instead of a command stream.
    """
    chip = chip_named(model.chip)
    sections = {s.name: s for s in reversed(model.sections)}
    for number, program in enumerate(model.programs):
        for routine in (r for r in program.routines if r.kind == "tpu"):
            section = sections[routine.section]
            if section.kind != "cmdbuf":
                raise UnsupportedError(
                    f"routine {routine.section} carries a {section.kind}: only command streams "
                    "(cmdbuf) can be printed; compile without the conversion to a dma buffer"
                )
            commands = parse_stream(chip, section.contents())
            yield (
                f"program {number} routine {routine.section} ({model.chip}, "
                f"{len(commands)} commands): {', '.join(routine.inputs)} -> "
                f"{', '.join(routine.outputs)}",
                commands,
            )
