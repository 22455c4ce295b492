"""Invariants of the scheduler's programs, on random graphs and every way of cutting."""

from __future__ import annotations

import pytest
from net_cases import OPS, large, random_graph, single
from tpuforge.compiler.chip import CHIPS, Chip, chip_named
from tpuforge.compiler.emit.cv18xx import compile_graph
from tpuforge.compiler.emit.cv18xx.backend import Cv18xxBackend
from tpuforge.compiler.errors import DoesNotFitError
from tpuforge.compiler.ir import Graph
from tpuforge.compiler.isa import parse_stream
from tpuforge.compiler.isa.cv18xx.race import check_stream
from tpuforge.compiler.schedule.program import Compute, Load, Program, Store
from tpuforge.compiler.schedule.schedule import schedule
from voices import local_memory

from .replay import Replay, check_buffers


def verified(graph: Graph, chip: Chip, opt: int = 2, size: int | None = None) -> Program | None:
    """The program of a graph after all checks; None if nothing fits so little memory."""
    try:
        with local_memory(size):
            program = schedule(graph, Cv18xxBackend(chip), opt)
    except DoesNotFitError:
        assert size is not None
        return None
    check_buffers(program, chip)
    Replay(program, chip).run()
    return program


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("opt", range(4))
def test_random_graphs(opt: int, chip: str) -> None:
    for number in range(opt, 5, 3):
        verified(random_graph(f"plan-{number}", chip_named(chip)), chip_named(chip), opt)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("size", [2048, 8192])
def test_random_graphs_in_little_memory(size: int, chip: str) -> None:
    c = chip_named(chip)
    done = [verified(random_graph(f"little-{n}", c), c, 1, size) for n in range(3)]
    assert size < 8192 or any(done)


@pytest.mark.parametrize("kind", OPS)
def test_single_ops_in_little_memory(kind: str) -> None:
    done = [
        verified(single(kind, n, c), c, 2, size)
        for c in CHIPS.values()
        for n in (30, 31)
        for size in (1024, 3072)
    ]
    assert any(done)


@pytest.mark.parametrize("name", ["conv_partial_sums", "fully_connected_flat", "concat_4000"])
def test_large_layers(name: str) -> None:
    for chip in CHIPS.values():
        verified(large(name, chip), chip, 1)


@pytest.mark.parametrize("chip", CHIPS)
def test_streams_have_no_races(chip: str) -> None:
    """The ids of both engines order everything that must be ordered (hw/cv18xx.md section 6)."""
    c = chip_named(chip)
    for number, opt in ((0, 1), (1, 2), (2, 3)):
        for size in (None, 8192):
            with local_memory(size):
                (stream,) = compile_graph(random_graph(f"race-{number}", c), c, opt=opt).streams
            found = check_stream(c, parse_stream(c, stream))
            assert not found, str(found[0])


def test_the_checks_find_faults() -> None:
    """A replay notices a lost load, a lost store, a store done twice; check_buffers an overlap."""
    chip = chip_named("cv181x")

    def fresh() -> Program:
        return schedule(random_graph("fault", chip), Cv18xxBackend(chip), 2)

    for kind, change in ((Load, "lose"), (Store, "lose"), (Store, "double"), (Compute, "lose")):
        program = fresh()
        index = next(i for i, a in enumerate(program.actions) if isinstance(a, kind))
        action = program.actions.pop(index)
        if change == "double":
            program.actions[index:index] = [action, action]
        with pytest.raises(AssertionError):
            Replay(program, chip).run()
    program = fresh()
    out = next(a for a in program.actions if isinstance(a, Compute))
    out.out.buffer.addr = out.ins[0][0].buffer.addr
    with pytest.raises(AssertionError, match="overlap"):
        check_buffers(program, chip)
