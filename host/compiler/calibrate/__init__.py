"""Calibration: preprocessing, samples, histograms, threshold methods, tuning, table files (cli.md
sections 4, 10, 13, 15).
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from .preprocess import Preprocess
from .run import calibrate
from .table import CalibrationTable, Entry, read_quantize_table, read_table, write_table

__all__ = [
    "CalibrationTable",
    "Entry",
    "Preprocess",
    "calibrate",
    "read_quantize_table",
    "read_table",
    "write_table",
]


class _CallableModule(ModuleType):
    """`tpuforge.compiler.calibrate(...)` is the public function, although a folder has the name."""

    def __call__(self, *args: Any, **options: Any) -> CalibrationTable:
        """See tpuforge.compiler.flow.calibration.calibrate."""
        from ..flow.calibration import calibrate

        return calibrate(*args, **options)


sys.modules[__name__].__class__ = _CallableModule
