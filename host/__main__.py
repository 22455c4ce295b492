"""`python -m tpuforge` is the command `tpuforge`."""

import sys

from .tools.entry import start

sys.exit(start("tpuforge"))
