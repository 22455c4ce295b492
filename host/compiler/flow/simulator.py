"""Run model files on our runtime: the simulator behind the C API, through the binding cvi_nn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import numpy as np

from ..calibrate.samples import InputSpec
from ..errors import InternalError, UserInputError
from ..inputs import Note, Source, load_inputs
from .transform import PathLike

Arrays = dict[str, np.ndarray]


class Simulator:
    """An open model file; a context manager. every: all tensors that keep their bytes, not the
    outputs.

    UserInputError: the file is damaged, of another chip family, or does not fit the arrays.
    """

    def __init__(self, path: PathLike, *, every: bool = False):
        self.path = path
        with self._translated():
            self.model: Any = _binding().Model(str(path), output_all_tensors=every)

    @property
    def inputs(self) -> list[InputSpec]:
        """Name and shape of every input."""
        return [InputSpec(t.name, t.shape) for t in self.model.inputs]

    def run(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """One forward pass; inputs and outputs have the native types and the shapes of the file."""
        with self._translated():
            return dict(self.model.forward(dict(inputs)))

    def run_float(self, inputs: Mapping[str, np.ndarray], *, fixed: bool = False) -> Arrays:
        """One forward pass on float arrays, converted at the boundary of the file (cli.md section
        9).

        fixed: outputs as they are instead of as real numbers.
        """
        with self._translated():
            native = {t.name: t.quantize(inputs[t.name]) for t in self.model.inputs}
            values = self.model.forward(native)
            if fixed:
                return dict(values)
            return {
                t.name: t.dequantize(values[t.name]) for t in self.model.outputs if t.name in values
            }

    @contextmanager
    def _translated(self) -> Iterator[None]:
        errors = _binding()
        try:
            yield
        except errors.LibraryNotFound as e:
            raise InternalError(
                f"the runtime library is missing: {e}; install tpuforge again"
            ) from None
        except (errors.CviError, ValueError, KeyError) as e:
            raise UserInputError(f"{self.path}: {e}") from None

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.model.close()


def _binding() -> Any:
    try:
        import cvi_nn
    except ImportError as e:
        raise InternalError(f"the runtime is missing ({e}); install tpuforge again") from None
    return cvi_nn


def simulate(path: PathLike, inputs: Mapping[str, np.ndarray], *, every: bool = False) -> Arrays:
    """Outputs (native types) of a model file for one set of inputs; every: all tensors that keep
    their bytes."""
    with Simulator(path, every=every) as simulator:
        return simulator.run(inputs)


def run_file(
    path: PathLike,
    sources: Sequence[Source],
    *,
    every: bool = False,
    fixed: bool = False,
    note: Note | None = None,
) -> Arrays:
    """Outputs of a model file for .npz or .npy files, as real numbers (or as they are: fixed)."""
    with Simulator(path, every=every) as simulator:
        return simulator.run_float(load_inputs(simulator.inputs, sources, note), fixed=fixed)
