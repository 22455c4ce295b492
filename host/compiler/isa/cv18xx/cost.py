"""The cost model of CV18xx: single instructions (`cost_tiu`, `cost_tdma`) and whole streams
(`stream_cost`), hw/cv18xx.md section 9.
"""

from .cost_tdma import (
    compressed_bytes,
    compressed_traffic,
    ddr_traffic,
    local_words,
    piece_traffic,
    tdma_cycles,
    transposed_matrix_traffic,
)
from .cost_tiu import (
    arith_cycles,
    avg_pool_cycles,
    conv_cycles,
    depthwise_cycles,
    lookup_cycles,
    matrix_cycles,
    max_pool_cycles,
    mdsum_cycles,
)
from .stream_cost import Bounds, StreamCost, stream_cost

__all__ = [
    "Bounds",
    "StreamCost",
    "arith_cycles",
    "avg_pool_cycles",
    "compressed_bytes",
    "compressed_traffic",
    "conv_cycles",
    "ddr_traffic",
    "depthwise_cycles",
    "local_words",
    "lookup_cycles",
    "matrix_cycles",
    "max_pool_cycles",
    "mdsum_cycles",
    "piece_traffic",
    "stream_cost",
    "tdma_cycles",
    "transposed_matrix_traffic",
]
