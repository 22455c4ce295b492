"""The CVI_RT layer: device memory and bare command streams (api/cvi_nn.md section 7)."""

import os
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvi_nn._closing import Closing
from cvi_nn._cviruntime_cffi import ffi
from cvi_nn._lib import Library, load
from cvi_nn.errors import ClosedError, CviError


class Context(Closing):
    """A runtime context. Vendor libraries on a host need SET_CHIP_NAME in the environment.

    `close` (or the end of a `with` block) gives it back when the last memory of it is gone, too.
    """

    def __init__(self, library: str | os.PathLike[str] | None = None) -> None:
        self.lib = load(library)
        out = ffi.new("CVI_RT_HANDLE *")
        self.lib.check("CVI_RT_Init", self.lib.c.CVI_RT_Init(out))
        self._owner: list[_Context] = [_Context(self.lib, out[0])]

    def _context(self) -> "_Context":
        if not self._owner:
            raise ClosedError("the context is closed")
        return self._owner[0]

    @property
    def raw(self) -> Any:
        """The CVI_RT_HANDLE."""
        return self._context().raw

    def alloc(self, size: int) -> "DeviceMemory":
        """New device memory of `size` bytes."""
        return DeviceMemory(self, size)

    def close(self) -> None:
        """No further calls; memory that exists stays valid."""
        self._owner.clear()

    def run(self, stream: bytes, bases: "Sequence[DeviceMemory | int | None]") -> None:
        """Execute a command stream with up to eight base registers (None: 0)."""
        out = ffi.new("CVI_RT_MEM *")
        data = ffi.from_buffer("uint8_t[]", stream)
        code = self.lib.c.CVI_RT_LoadCmdbuf(self.raw, data, len(stream), 0, 0, False, out)
        self.lib.check("CVI_RT_LoadCmdbuf", code)
        try:
            registers = ffi.new("CVI_RT_ARRAYBASE *")
            for i, base in enumerate(bases):
                address = base.paddr if isinstance(base, DeviceMemory) else base
                registers.gaddr_base[i] = address or 0
            code = self.lib.c.CVI_RT_RunCmdbufEx(self.raw, out[0], registers)
            self.lib.check("CVI_RT_RunCmdbufEx", code)
        finally:
            self.lib.c.CVI_RT_MemFree(self.raw, out[0])


class DeviceMemory(Closing):
    """Memory that both the CPU and the TPU can address; freed with the last view of it."""

    def __init__(self, context: Context, size: int) -> None:
        owner, lib = context._context(), context.lib
        raw = lib.c.CVI_RT_MemAlloc(owner.raw, size)
        if raw == ffi.NULL:
            raise CviError("CVI_RT_MemAlloc", -1065910260, lib.last_error())
        self._owner: list[_Memory] = [_Memory(owner, raw)]
        self.size = size

    def _memory(self) -> "_Memory":
        if not self._owner:
            raise ClosedError("the device memory is closed")
        return self._owner[0]

    @property
    def paddr(self) -> int:
        """Device address."""
        memory = self._memory()
        return int(memory.context.lib.c.CVI_RT_MemGetPAddr(memory.raw))

    def view(self, dtype: Any = np.uint8) -> NDArray[Any]:
        """The bytes, without a copy."""
        memory = self._memory()
        pointer = memory.context.lib.c.CVI_RT_MemGetVAddr(memory.raw)
        owned = ffi.gc(pointer, lambda _, keep=memory: None)
        return np.frombuffer(ffi.buffer(owned, self.size), dtype)

    def flush(self) -> None:
        """Make what the CPU wrote visible to the TPU."""
        memory = self._memory()
        lib = memory.context.lib
        lib.check("CVI_RT_MemFlush", lib.c.CVI_RT_MemFlush(memory.context.raw, memory.raw))

    def invalidate(self) -> None:
        """Make what the TPU wrote visible to the CPU."""
        memory = self._memory()
        lib = memory.context.lib
        lib.check("CVI_RT_MemInvld", lib.c.CVI_RT_MemInvld(memory.context.raw, memory.raw))

    def close(self) -> None:
        """Free the memory when the last view is gone."""
        self._owner.clear()


class _Context:
    """Owns a CVI_RT_HANDLE."""

    def __init__(self, lib: Library, raw: Any) -> None:
        self.lib = lib
        self.raw = raw
        weakref.finalize(self, lib.c.CVI_RT_DeInit, raw)


class _Memory:
    """Owns a CVI_RT_MEM."""

    def __init__(self, context: _Context, raw: Any) -> None:
        self.context = context
        self.raw = raw
        weakref.finalize(self, context.lib.c.CVI_RT_MemFree, context.raw, raw)
