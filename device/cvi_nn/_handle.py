"""Models as the C library knows them."""

import weakref
from typing import Any

from cvi_nn._lib import Library


class Handle:
    """Owns a CVI_MODEL_HANDLE: released when the last user (model, view, task) is gone."""

    def __init__(self, lib: Library, raw: Any) -> None:
        self.lib = lib
        self.raw = raw
        self.finalizer = weakref.finalize(self, lib.c.CVI_NN_CleanupModel, raw)
