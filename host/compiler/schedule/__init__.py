"""The scheduler: Tpu graph -> Program. It knows no chip; a backend answers sizes, limits and
cycles.

layers.py   graph -> layers and DDR tensors (views, aliases)
regions.py  which input region an output region needs
plan.py     how one group of layers is cut: tiles, slices, residency
cost.py     what a plan costs (memory, cycles, bytes)
search.py   which consecutive layers form a group and with which plan (dynamic programming)
bands.py    the first layer in bands of rows, tail.py  a last fully connected layer spread over the
            convolution before it: changes to the plans that the search does not see
steps.py    plans -> one list of steps (loads, computations, stores) on buffers
settle.py   groups get their places one after the other
local.py    addresses of the buffers in local memory, and how early each load may be issued, by one
            of several ways (strategy.py); situation.py: what the choice depends on
schedule.py all of it, comparing plans that differ in a few groups
ddr.py      addresses of the tensors in DDR
"""

from .layers import Layer, LayerGraph, Tensor, build_layers
from .program import Program

__all__ = ["Layer", "LayerGraph", "Program", "Tensor", "build_layers"]
