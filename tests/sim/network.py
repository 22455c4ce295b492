"""A cvimodel on the bare simulator: regions by hand, its `quant` routines in numpy, no runtime."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from sim.simlib import Program, Sim
from tpuforge.compiler.format import cvimodel


class Network:
    """Program 0 of a file with its memory; `run` answers all outputs."""

    def __init__(self, path: Path) -> None:
        self.model = cvimodel.load(path)
        self.program = self.model.programs[0]
        chip, p = self.model.chip, self.program
        self.sim = Sim(chip)
        weights = self.model.weight_section()
        self.regions = {
            cvimodel.SHARED: np.zeros(max(p.shared_gmem, 1), np.uint8),
            cvimodel.WEIGHT: np.frombuffer(weights.contents() if weights else b"\0", np.uint8),
            cvimodel.PRIVATE: np.zeros(max(p.private_gmem, 1), np.uint8),
        }
        self.system: dict[str, np.ndarray] = {}
        for tensor in p.tensors:
            self.buffer(tensor.name)
        self.streams = {r.section: Program(chip, self.model.section(r.section).contents())
                        for r in p.routines if r.kind == "tpu"}  # fmt: skip
        self.seconds = 0.0

    def buffer(self, name: str) -> np.ndarray:
        """The bytes of a tensor."""
        tensor = self.program.tensor(name)
        base, size = cvimodel.selector(tensor.offset), tensor.buffer_bytes
        if base < 0:
            return self.system.setdefault(name, np.zeros(size, np.uint8))
        region = self.regions.setdefault(base, np.zeros(size, np.uint8))
        at = cvimodel.low_offset(tensor.offset)
        return region[at : at + size]

    def quantise(self, args: dict, source: np.ndarray, target: np.ndarray) -> None:
        """The runtime's `quant` (api/cvi_nn.md section 10.1), int8 forms."""
        scale = np.float32(args["scale"])
        if args["to"] == "INT8":
            v = source.view(np.float32) * scale
            rounded = np.trunc(v + np.copysign(np.float32(0.5), v))
            target[:] = np.clip(rounded, -128, 127).astype(np.int8).view(np.uint8)
        else:
            target[:] = (source.view(np.int8).astype(np.float32) * scale).view(np.uint8)

    def run(self, image: np.ndarray) -> dict[str, bytes]:
        """Outputs by name; `seconds` is the processor time of the TPU routines."""
        self.buffer(self.program.inputs[0])[:] = np.ascontiguousarray(image).view(np.uint8).ravel()
        self.seconds = 0.0
        for r in self.program.routines:
            if r.kind == "tpu":
                start = time.process_time()
                self.sim.run(self.streams[r.section], self.regions)
                self.seconds += time.process_time() - start
            else:
                assert r.function == "quant", r.function
                self.quantise(r.args, self.buffer(r.inputs[0]), self.buffer(r.outputs[0]))
        return {name: self.buffer(name).tobytes() for name in self.program.outputs}
