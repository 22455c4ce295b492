"""`python -m tpuforge` is the command `tpuforge`."""

import sys

from .tools.main import main

sys.exit(main())
