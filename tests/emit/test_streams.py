"""Programs with more commands than a stream can number: several streams, one TPU routine each."""

from __future__ import annotations

import cvi_nn
import pytest
from net_cases import Sampler, random_graph
from nets import inputs
from tpuforge.compiler.chip import CHIPS, Chip, chip_named
from tpuforge.compiler.emit.cv18xx import Compiled, compile_graph
from tpuforge.compiler.emit.cv18xx.commands import CommandList
from tpuforge.compiler.emit.cv18xx.operand import Operand
from tpuforge.compiler.emit.cv18xx.tdma import Tdma
from tpuforge.compiler.errors import DoesNotFitError
from tpuforge.compiler.format import cvimodel
from tpuforge.compiler.isa import parse_stream
from tpuforge.compiler.tpu import interpreter
from voices import check, compiled, difference, local_memory, simulate

LIMIT = 32


def counts(chip: Chip, stream: bytes) -> dict[str, int]:
    engines = [c.engine for c in parse_stream(chip, stream)]
    return {name: engines.count(name) for name in ("tiu", "tdma")}


def with_other_models(result: Compiled, chip: Chip) -> bytes:
    """The file, with a routine before every TPU routine that writes to all of local memory, as any
    other model may do in between."""
    commands = CommandList(chip)
    size = chip.lane_bytes // 8
    for begin in range(0, chip.lane_bytes, size):
        shape = (1, chip.lanes, 8, size // 8)
        strides = (size, size, size // 8, 1)
        everything = Operand(shape, 0, begin, strides, (begin, begin + size))
        Tdma(commands).fill(everything, shape, 0x5A, 1)
    (program,) = result.model.programs
    result.model.sections.append(cvimodel.Section("cmdbuf", "other", commands.stream()))
    routines = []
    for routine in program.routines:
        if routine.kind == "tpu":
            routines.append(cvimodel.Routine("tpu", [], [], section="other"))
        routines.append(routine)
    program.routines = routines
    return cvimodel.write(result.model)


@pytest.mark.parametrize("chip", CHIPS)
def test_same_bytes(chip: str) -> None:
    """Many cuts, with and without something alive in local memory, on memory that others use."""
    c, cut = chip_named(chip), 0
    for number, size, opt in ((0, None, 0), (3, 8192, 2)):
        graph = random_graph(f"streams-{number}", c, layers=6)
        with local_memory(size):
            result = check(graph, c, simulate, opt=opt, max_commands=LIMIT)
            assert all(max(counts(c, s).values()) <= LIMIT for s in result.streams)
            cut += len(result.streams) - 1
            arrays = inputs(graph, 0)
            got = simulate(with_other_models(result, c), arrays)
        assert not difference(interpreter.run(graph, arrays), got)
        assert len(result.streams) == 1 or result.model.programs[0].shared_gmem == 0
    assert cut >= 1, "nothing to test"


def test_routines_and_tensors() -> None:
    """What a routine reads and makes are tensors of the file; those that are not marked as
    overwritten have the values of the references in the end."""
    chip = chip_named("cv180x")
    graph = random_graph("streams-0", chip, layers=6)
    result, model = compiled(graph, chip, opt=0, max_commands=LIMIT)
    (program,) = result.model.programs
    tpu = [r for r in program.routines if r.kind == "tpu"]
    assert len(tpu) == len(result.streams) > 1
    made = {v.name for v in graph.inputs}
    for routine in tpu:
        assert set(routine.inputs) <= made
        made |= set(routine.outputs)
    for i, routine in enumerate(tpu):  # nothing is said to be made for nobody
        later = {n for r in tpu[i + 1 :] for n in r.inputs} | {v.name for v in graph.outputs}
        assert set(routine.outputs) <= later
    assert {v.name for v in graph.outputs} <= made <= {t.name for t in program.tensors}
    arrays = inputs(graph, 0)
    with cvi_nn.Model(model, output_all_tensors=True) as m:
        got = m.forward(arrays)
    kept = {t.name for t in program.tensors if not t.overwrote}
    values = interpreter.run(graph, arrays, keep="all")
    wanted = {name: values[name] for name in kept & set(got) & set(values)}
    assert len(wanted) > len(graph.outputs)
    assert not difference(wanted, {name: got[name] for name in wanted})


def test_float_input_converted_on_the_tpu() -> None:
    """Its loads are issued in the middle of computations: none may fall behind a cut."""
    chip = chip_named("cv180x")
    for shape, limit in (((1, 3, 64, 80), 100), ((2, 3, 33, 31), 30)):
        net = Sampler(chip, "float input")
        x = net.quantize(net.input(*shape, dtype="f32"))
        y = net.max_pool(net.conv(x, 8, (3, 3), pads=(1, 1, 1, 1)), (2, 2), (2, 2))
        graph = net.done(net.dequantize(y))
        result = check(graph, chip, simulate, max_commands=limit)
        assert len(result.streams) > 1
        assert all(max(counts(chip, s).values()) <= limit for s in result.streams)
        arrays = inputs(graph, 0)
        got = simulate(with_other_models(result, chip), arrays)
        assert not difference(interpreter.run(graph, arrays), got)


def test_one_step_too_long() -> None:
    chip = chip_named("cv181x")
    with pytest.raises(DoesNotFitError, match="more than 4 commands"):
        compile_graph(random_graph("streams-0", chip), chip, max_commands=4)


def test_deterministic() -> None:
    chip = chip_named("cv181x")
    options = {"build_time": "then", "max_commands": LIMIT}
    first, second = (
        compile_graph(random_graph("streams-1", chip, layers=6), chip, **options) for _ in range(2)
    )
    assert len(first.streams) > 1
    assert cvimodel.write(first.model) == cvimodel.write(second.model)
