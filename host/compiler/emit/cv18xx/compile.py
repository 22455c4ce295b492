"""compile_graph: Tpu graph -> cvimodel.Model (schedule, constants, DDR places, commands, file
tables)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...chip import Chip
from ...errors import UnsupportedError
from ...format import cvimodel as f
from ...format.weight_map import WeightMap, assign_weights
from ...ir import Graph, Op
from ...schedule.ddr import allocate
from ...schedule.layers import LayerGraph, Tensor
from ...schedule.program import Load, Program, WeightSlice
from ...schedule.schedule import schedule
from .backend import Cv18xxBackend
from .commands import MAX_ID
from .streams import Emitted, emit_streams, weights_key
from .transfer import Places
from .weights import Constants

IO_NUMBERS = range(3, 8)
DTYPES = {
    "f32": f.DType.FP32,
    "i8": f.DType.INT8,
    "u8": f.DType.UINT8,
    "bf16": f.DType.BF16,
    "i32": f.DType.INT32,
}


@dataclass
class Compiled:
    """model: the file; program: the schedule behind it; weight_map: for --merge_weight; streams:
    the command streams of its TPU routines."""

    model: f.Model
    program: Program
    weight_map: WeightMap
    streams: list[bytes]


def compile_graph(
    graph: Graph,
    chip: Chip,
    *,
    opt: int = 2,
    weight_map: WeightMap | None = None,
    compress_weight: bool = True,
    compiler_version: str = "",
    build_time: str | None = None,
    max_commands: int = MAX_ID,
) -> Compiled:
    """Compile a Tpu graph of this chip. weight_map: places of constants of an earlier file to
    share; compress_weight: store constants as streams that the TDMA decompresses, where that is
    shorter (never with a weight_map; without it constants lie so that later files can share them);
    max_commands: of one engine in a command stream, longer programs become several.

    Raises UnsupportedError, DoesNotFitError."""
    compress = compress_weight and weight_map is None
    program = schedule(graph, Cv18xxBackend(chip, compress), opt)
    offsets, weights, section, new_map = _constants(program, chip, weight_map, compress)
    emitted = emit_streams(
        program.actions, chip, lambda x: _places(graph, program, x), offsets, max_commands
    )
    tensors = _tensors(graph, program, emitted.places)
    routines = _routines(graph, program, emitted, tensors)
    streams = [s.data for s in emitted.streams]
    sections = [f.Section("weight", "weight", section)]
    sections += [f.Section("cmdbuf", _section(i), data) for i, data in enumerate(streams)]
    model = f.Model(
        name=graph.name,
        chip=chip.name,
        weights=weights,
        mlir_version=compiler_version,
        build_time=f.build_time_now() if build_time is None else build_time,
        programs=[
            f.Program(
                [v.name for v in graph.inputs],
                [v.name for v in graph.outputs],
                tensors,
                routines,
                shared_gmem=emitted.shared,
                private_gmem=emitted.private,
            )
        ],
        sections=sections,
    )
    return Compiled(model, program, new_map, streams)


# ---- constants
def _constants(
    program: Program, chip: Chip, known: WeightMap | None, compress: bool
) -> tuple[dict, list[f.Weight], bytes, WeightMap]:
    """(segments and offsets of every slice, weight_map entries, weight section, map for the next
    file)."""
    slices: dict[tuple, WeightSlice] = {}
    for action in program.actions:
        if isinstance(action, Load) and action.weights is not None:
            slices.setdefault(weights_key(action), action.weights)
    constants = Constants(chip, compress)
    loads = {key: constants.loads(piece) for key, piece in slices.items()}
    items = constants.stored
    offsets, section, new_map = assign_weights(items.items(), known)
    new_map.chip = chip.name
    entries = [
        f.Weight(
            name, f.address(f.WEIGHT, offsets[name]), len(data), (1, 1, 1, len(data)), f.DType.INT8
        )
        for name, data in items.items()
    ]
    places = {
        key: [(segment, offsets[name] + first) for segment, name, first in found]
        for key, found in loads.items()
    }
    return places, entries, section, new_map


# ---- DDR
def _places(graph: Graph, program: Program, lasting: bool) -> tuple[Places, int, int]:
    """(places of all roots, shared bytes, private bytes): io buffers while there are numbers, int8
    copies of float inputs in private memory, everything between groups in shared memory, or, if it
    must outlast a routine, in private memory."""
    layers = program.graph
    places, private = Places(), 0
    numbers = iter(IO_NUMBERS)

    def put_private(t: Tensor) -> None:
        nonlocal private
        places.roots[t] = (f.PRIVATE, private)
        private += -(-t.nbytes // 16) * 16

    for v in (*graph.inputs, *graph.outputs):
        t = layers.tensor(v).root
        if t in places.roots:
            continue
        number = next(numbers, None) if t.nbytes == v.type.nbytes else None
        if number is None:  # also the root of an output that is only a part of it
            put_private(t)
        else:
            places.roots[t] = (number, 0)
    for v in (
        *(op.results[0] for op in layers.cpu_ops),
        *(next(op.inputs()) for op in layers.cpu_after),
    ):
        root = layers.tensor(v).root
        if root not in places.roots:
            put_private(root)
    offsets, scratch = allocate(program.groups, set(places.roots) | program.local)
    base, start = (f.PRIVATE, private) if lasting else (f.SHARED, 0)
    for t, offset in offsets.items():
        places.roots[t] = (base, start + offset)
    return (places, 0, private + scratch) if lasting else (places, scratch, private)


# ---- file tables
def _tensors(graph: Graph, program: Program, places: Places) -> list[f.Tensor]:
    """Every activation that lies in DDR, in network order."""
    ins, outs = {v.name for v in graph.inputs}, {v.name for v in graph.outputs}
    found: list[f.Tensor] = []
    for t in program.graph.tensors:
        if t.value is None or t.root not in places.roots:
            continue
        root, offset, n_stride = t.placement()
        if n_stride != t.nbytes // t.shape[0] and t.shape[0] > 1:
            continue  # scattered over a concat: not one dense tensor
        base, start = places.roots[root]
        scale = t.value.type.scale
        q = 1.0 if scale is None else 1.0 / scale if t.name in ins else scale
        found.append(
            f.Tensor(
                t.name,
                f.address(base, start + offset),
                DTYPES[t.value.type.dtype],
                t.shape,
                qscale=q,
            )
        )
    for v in graph.outputs:  # a graph output may be another tensor under a name of its own
        t = program.graph.tensor(v)
        if t.name != v.name:
            found += [replace(x, name=v.name) for x in found if x.name == t.name]
    known = {t.name for t in found}
    found.sort(
        key=lambda t: t.name not in ins | outs
    )  # the first tensor of an io buffer gives its size (section 6.2)
    missing = (ins | outs) - known
    if missing:
        raise UnsupportedError(
            f"{', '.join(sorted(missing))}: an output that is only a part of another tensor, "
            "batch > 1"
        )
    _mark_overwritten(found, ins | outs)
    return found


def _mark_overwritten(tensors: list[f.Tensor], io: set[str]) -> None:
    """Tensors whose bytes a later tensor reuses do not keep their value."""
    reused = (f.SHARED, f.PRIVATE)
    own = [t for t in tensors if f.selector(t.offset) in reused and t.name not in io]
    for i, t in enumerate(own):
        a, b = t.offset, t.offset + t.dense_bytes
        t.overwrote = any(o.offset < b and o.offset + o.dense_bytes > a for o in own[i + 1 :])


def _section(number: int) -> str:
    return f"subfunc_{number}"


def _routines(
    graph: Graph, program: Program, emitted: Emitted, tensors: list[f.Tensor]
) -> list[f.Routine]:
    """The CPU quantisation of float inputs, one TPU routine per stream (none without commands: the
    vendor's runtime refuses an empty stream), the CPU conversion of outputs to float."""
    layers, routines = program.graph, []
    for op in layers.cpu_ops:
        routines.append(
            _quant(
                layers, op, {"from": "FP32", "scale": float(op.attrs["inv_scale"]), "to": "INT8"}
            )
        )
    before = {next(op.inputs()).name: op.name for op in layers.cpu_ops}
    after = {op.name: layers.tensor(next(op.inputs())).name for op in layers.cpu_after}
    inputs = [before.get(v.name, v.name) for v in graph.inputs]
    outputs = [after.get(v.name, v.name) for v in graph.outputs]
    if len(emitted.streams) == 1:
        routines.append(f.Routine("tpu", inputs, outputs, section=_section(0)))
    elif emitted.streams:
        known = {t.name for t in tensors}
        roots = {t.name: t.root for t in layers.tensors}
        roots |= {v.name: layers.tensor(v).root for v in graph.outputs}
        roots = {n: root for n, root in roots.items() if n in known}
        routines += _chain(emitted, roots, outputs)
    for op in layers.cpu_after:
        routines.append(
            _quant(layers, op, {"from": "INT8", "scale": float(op.attrs["scale"]), "to": "NONE"})
        )
    return routines


def _chain(emitted: Emitted, roots: dict[str, Tensor], last: list[str]) -> list[f.Routine]:
    """One TPU routine per stream. Its inputs: the tensors of the file that it reads and that others
    made; its outputs: those that it makes for later streams, and those of `last`."""
    found, streams = [], emitted.streams
    for number, stream in enumerate(streams):
        before = {root for s in streams[:number] for root in s.writes}
        after = {root for s in streams[number + 1 :] for root in s.reads}
        reads = stream.reads & (before | (stream.reads - stream.writes))
        inputs = [n for n, root in roots.items() if root in reads]
        outputs = [
            n for n, root in roots.items() if root in stream.writes and (n in last or root in after)
        ]
        found.append(f.Routine("tpu", inputs, outputs, section=_section(number)))
    return found


def _quant(layers: LayerGraph, op: Op, args: dict[str, f.Argument]) -> f.Routine:
    """The runtime's CPU routine `quant` (api/cvi_nn.md section 10.1)."""
    source = layers.tensor(next(op.inputs())).name
    return f.Routine("cpu", [source], [op.name], function="quant", args=args)
