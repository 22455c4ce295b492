"""Calibration: preprocessing, samples, histograms, threshold methods, tuning, table files (cli.md
sections 4, 10, 13, 15).
"""

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
