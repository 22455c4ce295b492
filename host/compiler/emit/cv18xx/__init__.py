"""CV18xx: the scheduler's backend, and steps -> TIU and TDMA commands -> `.cvimodel`."""

from .compile import Compiled, compile_graph

__all__ = ["Compiled", "compile_graph"]
