"""The public functions of the compiler; `tpuforge.compiler` offers them too, imported on first use.

graph = transform("net.onnx", preprocess={"mean": (127.5,) * 3, "scale": (1 / 127.5,) *
3}).graph table = calibrate(graph, "photographs/")
deploy(graph, table, "cv181x", "net.cvimodel", test_input=["cat.jpg"])
"""

from .flow.calibration import calibrate
from .flow.deploy import deploy
from .flow.deployed import Deployed
from .flow.simulator import simulate
from .flow.transform import Transformed, transform

__all__ = ["Deployed", "Transformed", "calibrate", "deploy", "simulate", "transform"]
