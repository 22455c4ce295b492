"""Actions -> command streams.

Ids of commands have 16 bits and can not wrap inside a stream (hw/cv18xx.md section 6), so a long
program becomes several streams, each a TPU routine of its own. Local memory is undefined when a
stream begins and the shared region of DDR may have changed (formats/cvimodel.md section 6.3): what
is alive in local memory at a cut is stored to private memory at the end of one stream and loaded
at the beginning of the next; activations in DDR then lie in private memory too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from ...chip import Chip, align16
from ...errors import DoesNotFitError
from ...format import cvimodel as f
from ...schedule.layers import Tensor
from ...schedule.program import Buffer, Compute, Load, Store
from .commands import CommandList
from .compute import Emitter
from .operand import Operand
from .tdma import LOAD, STORE, Global
from .transfer import Places, load_tile, load_weights, store, store_pieces
from .weights import Segment

Action = Load | Compute | Store
Span = tuple[int, int]
Offsets = dict[tuple, list[tuple[Segment, int]]]
COPY_COMMANDS = 4  # that cuts add to a stream at most: two copies at each end
COPY_ROW = 1024


@dataclass
class Stream:
    """data: the packets. reads, writes: the root tensors in DDR that its commands touch."""

    data: bytes
    reads: set[Tensor] = field(default_factory=set)
    writes: set[Tensor] = field(default_factory=set)


@dataclass
class Emitted:
    """streams in order (none without commands); where the tensors lie; bytes of shared and of
    private memory."""

    streams: list[Stream]
    places: Places
    shared: int
    private: int


def weights_key(load: Load) -> tuple:
    """What tells slices of constants apart."""
    piece = load.weights
    assert piece is not None
    return (piece.layer, piece.oc, piece.ic)


def emit_streams(
    actions: Sequence[Action],
    chip: Chip,
    place: Callable[[bool], tuple[Places, int, int]],
    offsets: Offsets,
    limit: int,
) -> Emitted:
    """place(lasting): (places, shared bytes, private bytes), with all activations in private memory
    if `lasting`. limit: most commands of one engine in a stream.

    DoesNotFitError if one action alone takes more commands."""
    places, shared, private = place(False)
    commands, ends = _emit(actions, chip, places, offsets)
    if not commands.packets:
        return Emitted([], places, shared, private)
    if max(ends[-1]) <= limit:
        return Emitted([_stream(commands, actions)], places, shared, private)
    places, shared, private = place(True)
    spans = _alive(actions)
    cuts = _cuts(actions, ends, spans, limit)
    room = max((spans[cut][1] - spans[cut][0] for cut in cuts[1:-1]), default=0)
    streams = []
    for begin, end in pairwise(cuts):
        first = spans[begin] if begin else (0, 0)
        last = spans[end] if end < len(actions) else (0, 0)
        part = actions[begin:end]
        commands, _ = _emit(part, chip, places, offsets, first, last, private)
        streams.append(_stream(commands, part))
    return Emitted(streams, places, shared, private + room * chip.lanes)


def _emit(
    actions: Sequence[Action],
    chip: Chip,
    places: Places,
    offsets: Offsets,
    first: Span = (0, 0),
    last: Span = (0, 0),
    saved: int = 0,
) -> tuple[CommandList, list[tuple[int, int]]]:
    """(commands, ids of both engines behind every action). first, last: bytes of local memory that
    are loaded before and stored behind the actions, at byte `saved` of private memory."""
    commands = CommandList(chip)
    e, ends = Emitter(commands), []
    _copy(e, LOAD, first, saved)
    for i, action in enumerate(actions):
        if isinstance(action, Compute):
            commands.layer = action.layer.index & 0xFFFF
            e.compute(action)
        elif isinstance(action, Store):
            store_or_put_off(e, actions, i, places)
        elif action.weights is not None:
            load_weights(e, action, offsets[weights_key(action)])
        else:
            load_tile(e, action, places)
        ends.append((commands.engines["tiu"].id, commands.engines["tdma"].id + len(e.late)))
    e.late_transfers(len(e.late))
    _copy(e, STORE, last, saved)
    return commands, ends


def store_or_put_off(e: Emitter, actions: Sequence[Action], i: int, places: Places) -> None:
    """A store; if a Quantize follows at once that leaves its bytes alone, piece by piece between
    the commands of that."""
    action = actions[i]
    following = next((a for a in actions[i + 1 :] if not isinstance(a, Store)), None)
    assert isinstance(action, Store)
    mine = action.tile.buffer
    if (
        isinstance(following, Compute)
        and following.kind == "quantize"
        and all(
            mine.addr + mine.size <= b.addr or b.addr + b.size + b.temp <= mine.addr
            for b in _buffers(following)
        )
    ):
        pieces = store_pieces(action, e.chip)
        e.late += [(piece, partial(store, e, piece, places)) for piece in pieces]
    else:
        store(e, action, places)


def _stream(commands: CommandList, actions: Sequence[Action]) -> Stream:
    loads = [a for a in actions if isinstance(a, Load) and a.source is None]
    stores = [a for a in actions if isinstance(a, Store) and a.into is None]
    reads = {a.tile.tensor.root for a in loads if a.tile is not None}
    return Stream(commands.stream(), reads, {a.tensor.root for a in stores})


def _copy(e: Emitter, direction: int, span: Span, saved: int) -> None:
    """Bytes `span` of all lanes between local memory and private memory, lane by lane."""
    begin, end = span
    size = end - begin
    rows, rest = divmod(size, COPY_ROW)
    for h, w, offset in ((rows, COPY_ROW, 0), (1, rest, size - rest)):
        if h * w == 0:
            continue
        start, shape = begin + offset, (1, e.chip.lanes, h, w)
        local = Operand(shape, 0, start, (size, size, w, 1), (start, start + h * w))
        ddr = Global(f.PRIVATE, saved + offset, (size * e.chip.lanes, size, w))
        if direction == LOAD:
            e.tdma.copy(LOAD, ddr, local, shape)
        else:
            e.tdma.copy(STORE, local, ddr, shape)


# ---- where to cut
def _buffers(action: Action) -> list[Buffer]:
    if isinstance(action, Load):
        return [action.buffer, *([action.source.buffer] if action.source is not None else [])]
    if isinstance(action, Store):
        return [action.tile.buffer, *([action.into.buffer] if action.into is not None else [])]
    used = [action.out.buffer, *(tile.buffer for tile, _ in action.ins)]
    return used + ([action.weight_buffer] if action.weight_buffer is not None else [])


def _alive(actions: Sequence[Action]) -> list[Span]:
    """Per action: the bytes of local memory around all buffers that are used before it as well as
    by it or behind it; (0, 0) if there are none."""
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    for i, action in enumerate(actions):
        for b in _buffers(action):
            first.setdefault(b, i)
            last[b] = i
    born: list[list[Buffer]] = [[] for _ in range(len(actions) + 1)]
    for b, i in first.items():
        born[i + 1].append(b)
    alive: list[Buffer] = []
    spans = []
    for i in range(len(actions)):
        alive = [b for b in alive + born[i] if last[b] >= i]
        spans.append(
            (min(b.addr for b in alive), max(align16(b.addr + b.size + b.temp) for b in alive))
            if alive
            else (0, 0)
        )
    return spans


def _cuts(
    actions: Sequence[Action], ends: list[tuple[int, int]], spans: list[Span], limit: int
) -> list[int]:
    """Indices of the actions at which streams begin, and the end: every stream is at least half as
    long as it may be, and cut where the fewest bytes are alive."""
    cuts = [0]
    while cuts[-1] < len(actions):
        begin = cuts[-1]
        done = ends[begin - 1] if begin else (0, 0)

        def fits(end: int, done: tuple[int, int] = done) -> bool:
            counts = [a - b for a, b in zip(ends[end - 1], done, strict=True)]
            return max(counts) <= limit - COPY_COMMANDS

        end = begin
        while end < len(actions) and fits(end + 1):
            end += 1
        if end == begin:
            raise DoesNotFitError(
                f"layer {_layer(actions[begin])}: one step takes more than {limit} commands, the "
                "most that a command stream can number; cut the layer in the model"
            )
        if end < len(actions):
            choices = range(end, begin + (end - begin) // 2, -1)
            end = min(choices, key=lambda i: spans[i][1] - spans[i][0])
        cuts.append(end)
    return cuts


def _layer(action: Action) -> str:
    if isinstance(action, Compute):
        return action.layer.name
    if isinstance(action, Store):
        return action.tensor.name
    return action.buffer.name
