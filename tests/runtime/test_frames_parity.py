"""SetTensorWithAlignedFrames on our runtime and on the vendor's: which rows are taken
(api/cvi_nn.md section 4)."""

import os
import subprocess
import sys
from pathlib import Path

import cvi_nn
import pytest
from runtime import builder as b

CHILD = """
import sys
import numpy as np
import cvi_nn
from cvi_nn._cviruntime_cffi import ffi
folder, library, frame_format = sys.argv[1:]
model = cvi_nn.Model(folder + "/x.cvimodel", library=library)
memory = cvi_nn.Context(library).alloc(16384)
memory.view()[:] = (np.arange(16384) * 7 + np.arange(16384) // 251) % 256
addresses = ffi.new("uint64_t[]", [memory.paddr + 64])
c = model._owner[0].lib.c
assert c.CVI_NN_SetTensorWithAlignedFrames(model._arrays[0], addresses, 1, int(frame_format)) == 0
model.run()
sys.stderr.write("OUT" + model.outputs[0].view().tobytes().hex())
"""

CASES = [
    ("cv181x", 2, "RGB_PLANAR", [1, 3, 5, 7]), ("cv183x", 2, "RGB_PLANAR", [1, 3, 5, 7]),
    ("cv181x", 0, "RGB_PACKED", [1, 5, 7, 3]), ("cv181x", 2, "RGB_PACKED", [1, 5, 7, 3]),
    ("cv181x", 0, "RGB_PLANAR", [1, 3, 5, 7]), ("cv181x", 0, None, [1, 3, 5, 7]),
    ("cv182x", 2, None, [1, 5, 7, 3]), ("cv180x", 15, "GRAYSCALE", [1, 1, 5, 70]),
]  # fmt: skip


@pytest.mark.parity
@pytest.mark.parametrize(("chip", "frame_format", "pixels", "shape"), CASES)
def test_the_same_pixels(oracle, tmp_path: Path, chip, frame_format, pixels, shape):
    tensor = b.Tensor("x", shape, "uint8", b.io(3), pixel_format=pixels)
    model = b.Model([b.Program(["x"], ["x"], [tensor])], chip=chip)
    (tmp_path / "x.cvimodel").write_bytes(model.write())
    results = []
    for library in (oracle.vendor_library_dir() / "libcviruntime.so", cvi_nn.library_path()):
        done = subprocess.run(
            [sys.executable, "-c", CHILD, tmp_path, library, str(frame_format)],
            capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "SET_CHIP_NAME": chip},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        results.append(done.stderr.rsplit("OUT", 1)[1])
    assert results[0] == results[1] and len(results[0]) > 100
