"""Run model files on our runtime: the simulator behind the C API, through the binding cvi_nn."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import InternalError
from .transform import PathLike


class Simulator:
    """An open model file; a context manager. Inputs and outputs are arrays of native types, by
    name."""

    def __init__(self, path: PathLike):
        try:
            import cvi_nn
        except ImportError as e:
            raise InternalError(
                f"the runtime is not installed beside tpuforge ({e}); install the wheel again"
            ) from None
        self.model: Any = cvi_nn.Model(str(path))

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One forward pass."""
        return dict(self.model.forward(dict(inputs)))

    def __enter__(self) -> Simulator:
        self.model.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.model.__exit__(kind, e, tb)


def simulate(path: PathLike, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs of a model file for one set of inputs."""
    with Simulator(path) as simulator:
        return simulator.run(inputs)
