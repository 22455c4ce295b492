"""Run a model file on our runtime: the simulator behind the C API, through the binding cvi_nn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import InternalError
from .transform import PathLike


def simulate(path: PathLike, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs (native types) of a model file for native inputs, by name."""
    with _open(path) as model:
        return dict(model.forward(dict(inputs)))


def _open(path: PathLike):  # type: ignore[no-untyped-def]
    try:
        import cvi_nn
    except ImportError as e:
        raise InternalError(
            f"the runtime is not installed beside tpuforge ({e}); install the wheel again"
        ) from None
    return cvi_nn.Model(str(path))
