"""Inputs and outputs of a model."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvi_nn._cviruntime_cffi import ffi
from cvi_nn._handle import Handle
from cvi_nn.dtypes import FORMATS, PIXEL_FORMATS, bf16_to_float32, float32_to_bf16, round_half_away
from cvi_nn.errors import ClosedError

if TYPE_CHECKING:
    from cvi_nn.rt import DeviceMemory


class Tensor:
    """One input or output. The description stays readable after the model was closed."""

    name: str
    shape: tuple[int, ...]
    format: str  # "int8", "bf16", ...
    dtype: np.dtype  # numpy type of the elements (bf16: uint16)
    count: int  # elements
    nbytes: int  # bytes of the buffer (more or less than count elements if aligned)
    qscale: float
    zero_point: int
    pixel_format: str
    aligned: bool  # rows padded for the video hardware: the buffer is plain bytes
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def __init__(self, owner: list[Handle], struct: Any, is_input: bool) -> None:
        self._owner = owner  # emptied by Model.close
        self._struct = struct
        self._is_input = is_input
        self.name = ffi.string(struct.name).decode("utf-8", "replace")
        self.shape = tuple(struct.shape.dim[i] for i in range(min(struct.shape.dim_size, 4)))
        self.format, self.dtype = FORMATS[struct.fmt]
        self.count = struct.count
        self.nbytes = struct.mem_size
        self.qscale = struct.qscale
        self.zero_point = struct.zero_point
        self.pixel_format = PIXEL_FORMATS.get(struct.pixel_format, str(struct.pixel_format))
        self.aligned = struct.aligned
        self.mean = tuple(struct.mean)
        self.scale = tuple(struct.scale)

    def __repr__(self) -> str:
        return f"<Tensor {self.name} {list(self.shape)} {self.format} qscale {self.qscale:g}>"

    def _handle(self) -> Handle:
        if not self._owner:
            raise ClosedError(f"tensor '{self.name}': its model is closed")
        return self._owner[0]

    @property
    def paddr(self) -> int:
        """Device address (0: system memory only)."""
        self._handle()
        return int(self._struct.paddr)

    def view(self) -> NDArray[Any]:
        """The tensor's own buffer without a copy: write inputs, read outputs here.

        The memory lives as long as the array does, also beyond `Model.close`. Aligned tensors give
        a row of bytes. Contents change with every `forward` of the model.
        """
        handle = self._handle()
        return self._view_of(handle, self._struct.sys_mem)

    def _view_of(self, handle: Handle, pointer: Any) -> NDArray[Any]:
        if self.nbytes == 0:
            return np.empty(self.shape, self.dtype)
        owned = ffi.gc(pointer, lambda _, keep=handle: None)
        raw = np.frombuffer(ffi.buffer(owned, self.nbytes), np.uint8)
        if self.aligned:
            return raw
        return raw[: self.count * self.dtype.itemsize].view(self.dtype).reshape(self.shape)

    def check(self, array: ArrayLike) -> NDArray[Any]:
        """`array`, C-contiguous; ValueError unless it has this tensor's type and shape.

        Trailing dimensions of 1 may be missing; nothing is converted (see `quantize`).
        """
        a = np.asarray(array)
        if self.aligned:
            wanted_shape: tuple[int, ...] = (self.nbytes,)
            wanted = np.dtype(np.uint8)
        else:
            wanted_shape, wanted = self.shape, self.dtype
        if a.dtype != wanted and not (self.format == "bf16" and a.dtype.name == "bfloat16"):
            raise ValueError(
                f"tensor '{self.name}' takes {wanted} ({self.format}), the array is {a.dtype}; "
                f"convert it first, e.g. with Tensor.quantize"
            )
        missing = len(wanted_shape) - a.ndim
        if missing > 0 and wanted_shape == a.shape + (1,) * missing:
            a = a.reshape(wanted_shape)
        if a.shape != wanted_shape:
            raise ValueError(
                f"tensor '{self.name}' has shape {list(wanted_shape)}, the array {list(a.shape)}"
            )
        return np.ascontiguousarray(a).view(wanted)

    def quantize(self, values: ArrayLike) -> NDArray[Any]:
        """Real values as elements of this tensor.

        int8, uint8: q = clamp(round_half_away(real * s)), s = qscale of an input and 1 / qscale
        of an output (formats/cvimodel.md section 7.1). bf16: bits. fp32: unchanged. Others:
        rounded.
        """
        x = np.asarray(values, np.float32)
        if self.format == "fp32":
            return x
        if self.format == "bf16":
            return float32_to_bf16(x)
        s = np.float32(self.qscale)
        if self.qscale and self.format in ("int8", "uint8"):
            x = x * (s if self._is_input else np.float32(1) / s)
        info = np.iinfo(self.dtype)
        q: NDArray[Any] = np.clip(round_half_away(x), info.min, info.max).astype(self.dtype)
        return q

    def dequantize(self, elements: ArrayLike) -> NDArray[np.float32]:
        """Elements of this tensor as real values; the inverse of `quantize` up to rounding."""
        q = np.asarray(elements)
        if self.format == "bf16":
            return bf16_to_float32(q)
        x = q.astype(np.float32)
        if self.qscale and self.format in ("int8", "uint8"):
            s = np.float32(self.qscale)
            x = x / s if self._is_input else x * s
        return x

    def bind(self, memory: "DeviceMemory", offset: int = 0) -> None:
        """Let the tensor live in device memory of the caller: `forward` does not copy it.

        Reverted by `unbind`. The memory must stay open as long as it is bound.
        """
        handle = self._handle()
        code = handle.lib.c.CVI_NN_SetTensorPhysicalAddr(self._struct, memory.paddr + offset)
        handle.lib.check("CVI_NN_SetTensorPhysicalAddr", code)

    def unbind(self) -> None:
        """Back to the tensor's own buffer (not with vendor libraries, api/cvi_nn.md section 4)."""
        handle = self._handle()
        code = handle.lib.c.CVI_NN_SetTensorPtr(self._struct, self._struct.sys_mem)
        handle.lib.check("CVI_NN_SetTensorPtr", code)

    @property
    def bound(self) -> bool:
        """Is the tensor in device memory of the caller?"""
        self._handle()
        return bool(self._struct.mem_type == 2)
