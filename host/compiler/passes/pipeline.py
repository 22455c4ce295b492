"""The order of the passes: this file alone fixes it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection

import numpy as np

from ..errors import InternalError, OptionError
from ..ir import Graph
from . import (
    absorb_pad,
    canonical_names,
    dead_code,
    fold_affine,
    fuse_relu,
    merge_affine,
    merge_permute,
    merge_pointwise,
    merge_reshape,
    move_relu,
    rename_permute,
)

Pass = Callable[[Graph], None]

#: the passes of `optimise`, in order
PASSES: dict[str, Pass] = {
    "dead_code": dead_code.run,
    "merge_permute": merge_permute.run,
    "rename_permute": rename_permute.run,
    "merge_reshape": merge_reshape.run,
    "absorb_pad": absorb_pad.run,
    "fold_affine": fold_affine.run,
    "merge_affine": merge_affine.run,
    "move_relu": move_relu.run,
    "fuse_relu": fuse_relu.run,
    "merge_pointwise": merge_pointwise.run,
    "canonical_names": canonical_names.run,
}


def optimise(
    graph: Graph,
    *,
    passes: Collection[str] | None = None,
    print_ir_after: Collection[str] = (),
    hook: Callable[[str, Graph], None] | None = None,
) -> Graph:
    """Run the passes on the graph, in place, and return it; the graph is verified before the first
    and after each.

    passes: names of the passes to run (default all; always in the order of PASSES). print_ir_after:
    names of passes after which the graph is printed on stderr, or ["all"]. hook(name, graph) is
    called after each pass.
    """
    for name in [*(passes or ()), *print_ir_after]:
        if name not in PASSES and name != "all":
            raise OptionError(f"unknown pass {name!r}: the passes are {', '.join(PASSES)}")
    graph.verify()
    for name, run in PASSES.items():
        if passes is not None and name not in passes:
            continue
        with np.errstate(all="ignore"):  # folded weights are checked where they are made
            run(graph)
        try:
            graph.verify()
        except InternalError as e:
            raise InternalError(f"the graph is broken after pass {name}: {e}") from e
        if name in print_ir_after or "all" in print_ir_after:
            from ..ir.text import to_text

            print(f"// ----- after {name}\n{to_text(graph)}", file=sys.stderr)
        if hook:
            hook(name, graph)
    return graph
