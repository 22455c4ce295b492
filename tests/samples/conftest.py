"""The library of the samples, compiled once per session."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from samples.build import Image, Letterbox, shared_library


class Samples:
    """Calls into libsamples.so with numpy arrays."""

    def __init__(self, path: Path):
        self.path = path
        self.c = ctypes.CDLL(str(path))
        self.c.letterbox_geometry.restype = Letterbox

    def image(self, array: np.ndarray) -> Image:
        """A view of an array (h, w, c) of uint8; the caller keeps the array."""
        assert array.dtype == np.uint8 and array.flags.c_contiguous
        h, w, c = array.shape
        return Image(w, h, c, array.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)))

    def take(self, image: Image) -> np.ndarray:
        """The pixels of a picture that C allocated; frees it."""
        shape = (image.height, image.width, image.channels)
        array = np.ctypeslib.as_array(image.pixels, shape).copy()
        self.c.image_free(ctypes.byref(image))
        return array

    def call(self, name: str, *arguments: object) -> np.ndarray | None:
        """A function `bool name(Image *out, ...)`: the picture, or None for false."""
        function, out = getattr(self.c, name), Image()
        function.restype = ctypes.c_bool
        return self.take(out) if function(ctypes.byref(out), *arguments) else None

    def resize(self, array: np.ndarray, width: int, height: int) -> np.ndarray | None:
        return self.call("image_resize", ctypes.byref(self.image(array)), width, height)


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return Samples(shared_library(tmp_path_factory.mktemp("samples")))
