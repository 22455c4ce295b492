"""tpuforge: an open toolchain for the Sophgo/CVITEK TPUs."""

__version__ = "0.1.0"
