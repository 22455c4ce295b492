"""Three statements of what a compiled network computes: the numpy references of its ops, our
runtime and simulator, the vendor's runtime and emulator. They must agree to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
from nets import inputs
from tpuforge.compiler.chip import Chip
from tpuforge.compiler.emit.cv18xx import Compiled, compile_graph
from tpuforge.compiler.emit.cv18xx.backend import Cv18xxBackend
from tpuforge.compiler.format import cvimodel
from tpuforge.compiler.ir import Graph
from tpuforge.compiler.isa import parse_stream
from tpuforge.compiler.isa.cv18xx.race import check_stream
from tpuforge.compiler.tpu import interpreter

Arrays = dict[str, np.ndarray]
Runner = Callable[[bytes, Arrays], Arrays]


def simulate(model: bytes, arrays: Arrays) -> Arrays:
    """Outputs of a file on our runtime."""
    import cvi_nn

    with cvi_nn.Model(model) as m:
        return m.forward(arrays)


def compiled(graph: Graph, chip: Chip, **options) -> tuple[Compiled, bytes]:
    """A graph compiled for a chip, and its file. The ids of its commands leave no race."""
    result = compile_graph(graph, chip, **options)
    for stream in result.streams:
        races = check_stream(chip, parse_stream(chip, stream))
        assert not races, str(races[0])
    return result, cvimodel.write(result.model)


def difference(expected: Arrays, actual: Arrays) -> str:
    """Empty when every tensor has the expected bytes; otherwise how many differ and the first."""
    if set(expected) != set(actual):
        return f"outputs {sorted(actual)}, expected {sorted(expected)}"
    texts = []
    for name, want in expected.items():
        got = actual[name]
        if got.dtype != want.dtype or got.size != want.size:
            texts.append(f"{name}: {got.dtype}{got.shape}, expected {want.dtype}{want.shape}")
        elif got.tobytes() != want.tobytes():
            raw = [np.ascontiguousarray(a).view(f"u{want.itemsize}") for a in (got, want)]
            wrong = raw[0].reshape(want.shape) != raw[1].reshape(want.shape)
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            texts.append(
                f"{name} {want.shape}: {int(wrong.sum())} of {want.size} differ, first at {where}: "
                f"{got.reshape(want.shape)[where]} instead of {want[where]}"
            )
    return "; ".join(texts)


def check(graph: Graph, chip: Chip, *runners: Runner, seed: int = 0, **options) -> Compiled:
    """Compile and compare the outputs of every runner with the references; the Compiled."""
    result, model = compiled(graph, chip, **options)
    arrays = inputs(graph, seed)
    expected = interpreter.run(graph, arrays)
    for run in runners:
        problem = difference(expected, run(model, arrays))
        assert not problem, f"{run.__name__} on {chip.name}: {problem}"
    return result


@contextmanager
def local_memory(size: int | None) -> Iterator[None]:
    """Let the scheduler believe that a lane has `size` bytes, so that small layers are cut into
    many tiles; the files run on the real chip all the same."""
    if size is None:
        yield
        return
    original = Cv18xxBackend.__init__

    def small(self: Cv18xxBackend, chip: Chip, compress: bool = True) -> None:
        original(self, chip, compress)
        self.local_bytes = size

    with patch.object(Cv18xxBackend, "__init__", small):
        yield
