"""The compiler: model file -> Top graph -> calibrated -> quantised Tpu graph -> program -> model
file.

`tpuforge.compiler.transform(...)`, `.calibrate(...)` and `.deploy(...)` are the three steps; they
are imported on first use, so that `import tpuforge.compiler` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Deployed, Transformed, calibrate, deploy, simulate, transform

__all__ = ["Deployed", "Transformed", "calibrate", "deploy", "simulate", "transform"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from . import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
