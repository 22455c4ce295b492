"""Python binding of the CVI_NN runtime: runs cvimodels on a board or bit-accurately on any host.

    with cvi_nn.Model("net.cvimodel") as model:
        outputs = model.forward({"input": array})

Needs numpy and cffi only. The environment variable CVI_NN_LIB (or the argument `library`) names
another libcviruntime.so, such as a board vendor's.
"""

from cvi_nn._file import ProgramInfo, TensorInfo, read_programs
from cvi_nn._lib import library_path
from cvi_nn.dtypes import bf16_to_float32, float32_to_bf16
from cvi_nn.errors import ClosedError, CviError, LibraryNotFound
from cvi_nn.model import Model, Task
from cvi_nn.rt import Context, DeviceMemory
from cvi_nn.tensor import Tensor

__all__ = [
    "ClosedError",
    "Context",
    "CviError",
    "DeviceMemory",
    "LibraryNotFound",
    "Model",
    "ProgramInfo",
    "Task",
    "Tensor",
    "TensorInfo",
    "bf16_to_float32",
    "float32_to_bf16",
    "library_path",
    "read_programs",
]
