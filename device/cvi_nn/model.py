"""Models: load, choose a program, run."""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvi_nn._closing import Closing
from cvi_nn._cviruntime_cffi import ffi
from cvi_nn._file import ProgramInfo, read_programs
from cvi_nn._handle import Handle
from cvi_nn._lib import load
from cvi_nn.errors import ClosedError
from cvi_nn.tensor import Tensor

OPTION_OUTPUT_ALL_TENSORS = 4
OPTION_PROGRAM_INDEX = 9

Source = str | os.PathLike[str] | bytes | bytearray | memoryview
Inputs = Mapping[str, ArrayLike] | Sequence[ArrayLike] | NDArray[Any]
ProgramChoice = int | Mapping[str, Sequence[int]] | Sequence[int]


class Task:
    """A run in progress. Call `wait` for its outputs."""

    def __init__(
        self, handle: Handle, task: Any, keep: list[Any], outputs: dict[str, NDArray[Any]]
    ) -> None:
        self._handle: Handle | None = handle
        self._task = task
        self._keep = keep  # arrays and structs in use by the worker
        self._outputs = outputs
        self._lock = threading.Lock()

    def wait(self) -> dict[str, NDArray[Any]]:
        """Wait for the end; the outputs by name. May be called again. CviError: the run failed."""
        with self._lock:
            if self._handle is not None:
                handle, self._handle = self._handle, None
                code = handle.lib.c.CVI_NN_ForwardWait(handle.raw, self._task)
                self._keep.clear()
                if not handle.lib.ours:  # the vendor answers 1 for success
                    code = 0 if code == 1 else -1
                handle.lib.check("CVI_NN_ForwardWait", code)
        return self._outputs

    def __del__(self) -> None:
        handle = getattr(self, "_handle", None)
        if handle is not None and handle.finalizer.alive:
            handle.lib.c.CVI_NN_ForwardWait(handle.raw, self._task)


class Model(Closing):
    """A cvimodel, ready to run.

    source    path of the file, or its bytes
    program   which program of the file: its index, the shape of the first input, or a mapping of
              input names to shapes; default 0
    output_all_tensors
              outputs are all tensors that keep their contents, sorted by name (for debugging)
    library   another libcviruntime (default: `cvi_nn.library_path()`)

    Errors of the file: CviError with `name` INVALID_ARG (not a cvimodel, newer version, unknown
    chip), DATA_ERR (inconsistent), UNSUPPORT or NOMEM.

    A Model may be used by several threads; its runs follow each other. Use `clone` to run in
    parallel: weights and commands are shared.
    """

    def __init__(
        self,
        source: Source,
        *,
        program: ProgramChoice | None = None,
        output_all_tensors: bool = False,
        library: str | os.PathLike[str] | None = None,
    ) -> None:
        lib = load(library)
        if isinstance(source, bytearray | memoryview):
            source = bytes(source)
        self._source = _Source(source)
        out = ffi.new("CVI_MODEL_HANDLE *")
        if isinstance(source, bytes):
            data = ffi.from_buffer("int8_t[]", source)
            code = lib.c.CVI_NN_RegisterModelFromBuffer(data, len(source), out)
            lib.check("CVI_NN_RegisterModelFromBuffer", code)
        else:
            code = lib.c.CVI_NN_RegisterModel(os.fsencode(source), out)
            lib.check("CVI_NN_RegisterModel", code)
        self._open(Handle(lib, out[0]), program, output_all_tensors)

    def _open(self, handle: Handle, program: ProgramChoice | None, all_tensors: bool) -> None:
        c, lib = handle.lib.c, handle.lib
        self._owner = [handle]
        self._lock = threading.RLock()
        self.output_all_tensors = all_tensors
        self.program_index = 0 if program is None else self._source.choose(program)
        if self.program_index:
            index = ffi.cast("int", self.program_index)
            code = c.CVI_NN_SetConfig(handle.raw, OPTION_PROGRAM_INDEX, index)
            lib.check("CVI_NN_SetConfig", code)
        if all_tensors:
            code = c.CVI_NN_SetConfig(handle.raw, OPTION_OUTPUT_ALL_TENSORS, ffi.cast("int", 1))
            lib.check("CVI_NN_SetConfig", code)
        arrays = ffi.new("CVI_TENSOR *[2]")
        counts = ffi.new("int32_t[2]")
        code = c.CVI_NN_GetInputOutputTensors(handle.raw, arrays, counts, arrays + 1, counts + 1)
        lib.check("CVI_NN_GetInputOutputTensors", code)
        self._arrays = (arrays[0], arrays[1])
        self.inputs = tuple(Tensor(self._owner, arrays[0] + i, True) for i in range(counts[0]))
        self.outputs = tuple(Tensor(self._owner, arrays[1] + i, False) for i in range(counts[1]))

    # ---- description ----

    @property
    def programs(self) -> tuple[ProgramInfo, ...]:
        """All programs of the file."""
        return self._source.programs()

    @property
    def version(self) -> tuple[int, int]:
        """Format version of the file."""
        handle = self._handle()
        numbers = ffi.new("int32_t[2]")
        code = handle.lib.c.CVI_NN_GetModelVersion(handle.raw, numbers, numbers + 1)
        handle.lib.check("CVI_NN_GetModelVersion", code)
        return numbers[0], numbers[1]

    @property
    def target(self) -> str:
        """Chip, e.g. "cv181x"."""
        handle = self._handle()
        text: bytes = ffi.string(handle.lib.c.CVI_NN_GetModelTarget(handle.raw))
        return text.decode()

    def input(self, name: str) -> Tensor:
        """Input by name (`*` at the end: by prefix). KeyError if there is none."""
        return _by_name(self.inputs, name)

    def output(self, name: str) -> Tensor:
        """Output by name (`*` at the end: by prefix). KeyError if there is none."""
        return _by_name(self.outputs, name)

    # ---- running ----

    def forward(self, inputs: Inputs | None = None) -> dict[str, NDArray[Any]]:
        """Run once. Outputs by name, as fresh arrays of the native type and shape.

        inputs   mapping of names, sequence in the order of `inputs`, one array if there is one
                 input, or None to use what is in the buffers (`Tensor.view`, `Tensor.bind`)

        ValueError: a wrong type or shape (nothing is converted). CviError: the run failed.
        """
        with self._lock:
            handle = self._handle()
            for tensor, array in self._match(inputs):
                if tensor.bound:
                    raise ValueError(
                        f"tensor '{tensor.name}' is bound to memory of yours: write into that "
                        f"memory and leave the tensor out, or unbind it"
                    )
                tensor.view()[...] = tensor.check(array)
            self._run(handle)
            return {t.name: t.view().copy() for t in self.outputs if not t.bound}

    def run(self) -> None:
        """Run once on the buffers of the tensors; read the results with `Tensor.view`."""
        with self._lock:
            self._run(self._handle())

    def _run(self, handle: Handle) -> None:
        code = handle.lib.c.CVI_NN_Forward(
            handle.raw, self._arrays[0], len(self.inputs), self._arrays[1], len(self.outputs)
        )
        handle.lib.check("CVI_NN_Forward", code)

    def forward_async(self, inputs: Inputs) -> Task:
        """Start a run in the library's worker thread (at most 4 per file; more wait here).

        Every input must be given. The arrays are copied; several runs may be under way.
        """
        handle = self._handle()
        given = list(self._match(inputs))
        if len(given) != len(self.inputs):
            raise ValueError(f"forward_async needs all {len(self.inputs)} inputs")
        keep: list[Any] = []
        structs_in, structs_out = (
            self._copies(tensors, keep) for tensors in (self.inputs, self.outputs)
        )
        positions = {tensor.name: i for i, tensor in enumerate(self.inputs)}
        for tensor, array in given:
            copy = np.array(tensor.check(array))
            self._attach(structs_in, positions[tensor.name], copy, keep)
        outputs = {}
        for i, tensor in enumerate(self.outputs):
            raw = np.empty(max(tensor.nbytes, 1), np.uint8)
            self._attach(structs_out, i, raw, keep)
            outputs[tensor.name] = _shaped(tensor, raw)
        task = ffi.new("void **")
        code = handle.lib.c.CVI_NN_ForwardAsync(
            handle.raw, structs_in, len(self.inputs), structs_out, len(self.outputs), task
        )
        handle.lib.check("CVI_NN_ForwardAsync", code)
        return Task(handle, task[0], keep, outputs)

    @staticmethod
    def _copies(tensors: tuple[Tensor, ...], keep: list[Any]) -> Any:
        structs = ffi.new("CVI_TENSOR[]", max(len(tensors), 1))
        for i, tensor in enumerate(tensors):
            structs[i] = tensor._struct[0]
        keep.append(structs)
        return structs

    @staticmethod
    def _attach(structs: Any, index: int, array: NDArray[Any], keep: list[Any]) -> None:
        memory = ffi.from_buffer("uint8_t[]", array, require_writable=True)
        structs[index].sys_mem = memory
        structs[index].mem_type = 1
        keep += [array, memory]

    def _match(self, inputs: Inputs | None) -> Iterator[tuple[Tensor, ArrayLike]]:
        """Pairs of tensor and array."""
        if inputs is None:
            return
        if isinstance(inputs, Mapping):
            names = {tensor.name: tensor for tensor in self.inputs}
            unknown = [name for name in inputs if name not in names]
            missing = [name for name in names if name not in inputs and not names[name].bound]
            if unknown or missing:
                raise ValueError(
                    f"inputs are {', '.join(names) or 'none'}; "
                    f"missing: {', '.join(missing) or 'none'}, "
                    f"unknown: {', '.join(map(str, unknown)) or 'none'}"
                )
            yield from ((names[name], array) for name, array in inputs.items())
            return
        arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
        if len(arrays) != len(self.inputs):
            raise ValueError(f"{len(arrays)} arrays for {len(self.inputs)} inputs")
        yield from zip(self.inputs, arrays, strict=True)

    # ---- life ----

    def clone(
        self, *, program: ProgramChoice | None = None, output_all_tensors: bool | None = None
    ) -> "Model":
        """Another handle on the same weights and commands with buffers of its own."""
        handle = self._handle()
        out = ffi.new("CVI_MODEL_HANDLE *")
        code = handle.lib.c.CVI_NN_CloneModel(handle.raw, out)
        handle.lib.check("CVI_NN_CloneModel", code)
        other = Model.__new__(Model)
        other._source = self._source
        wanted = self.program_index if program is None else program
        every = self.output_all_tensors if output_all_tensors is None else output_all_tensors
        other._open(Handle(handle.lib, out[0]), wanted, every)
        return other

    def _handle(self) -> Handle:
        if not self._owner:
            raise ClosedError("the model is closed")
        return self._owner[0]

    @property
    def closed(self) -> bool:
        """Was `close` called?"""
        return not self._owner

    def close(self) -> None:
        """Release the model. Views and tasks that still exist stay valid and release it later."""
        with self._lock:
            self._owner.clear()

    def __repr__(self) -> str:
        state = "closed" if self.closed else self.target
        return f"<Model {state} inputs {list(self.inputs)} outputs {list(self.outputs)}>"


def _by_name(tensors: tuple[Tensor, ...], name: str) -> Tensor:
    for tensor in tensors:
        if tensor.name == name or (name.endswith("*") and tensor.name.startswith(name[:-1])):
            return tensor
    raise KeyError(f"no tensor '{name}' among {[tensor.name for tensor in tensors]}")


def _shaped(tensor: Tensor, raw: NDArray[Any]) -> NDArray[Any]:
    if tensor.aligned:
        return raw[: tensor.nbytes]
    return raw[: tensor.count * tensor.dtype.itemsize].view(tensor.dtype).reshape(tensor.shape)


class _Source:
    """Where a model came from; its list of programs, read when asked for."""

    def __init__(self, source: str | os.PathLike[str] | bytes) -> None:
        self._source = source
        self._programs: tuple[ProgramInfo, ...] | None = None

    def programs(self) -> tuple[ProgramInfo, ...]:
        if self._programs is None:
            self._programs = read_programs(self._source)
        return self._programs

    def choose(self, program: ProgramChoice) -> int:
        """Index of the program with these input shapes (trailing ones do not count)."""
        if isinstance(program, int):
            return program
        for info in self.programs():
            if not isinstance(program, Mapping):
                wanted = {info.inputs[0].name: program} if info.inputs else {}
            else:
                wanted = dict(program)
            shapes = {tensor.name: _trim(tensor.shape) for tensor in info.inputs}
            if wanted and all(shapes.get(k) == _trim(tuple(v)) for k, v in wanted.items()):
                return info.index
        known = [[list(t.shape) for t in info.inputs] for info in self.programs()]
        raise ValueError(f"no program with input shapes {program}; the file has {known}")


def _trim(shape: tuple[int, ...]) -> tuple[int, ...]:
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape
