"""How the scheduler cut a network, as the two files <name>_<chip>_int8.layer_group_config.json and
_cache.json (cli.md section 5.5): what it was asked, and the groups it chose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..chip import Chip
from ..schedule.plan import Plan
from ..schedule.program import Program


def search_options(chip: Chip, options: Mapping[str, Any]) -> str:
    """The chip's limits and the options of the compiler, as JSON."""
    limits = {
        "chip": chip.name,
        "lanes": chip.lanes,
        "local_memory_bytes_per_lane": chip.lane_bytes,
    }
    return json.dumps(limits | dict(options), indent=1) + "\n"


def layer_groups(program: Program) -> str:
    """The groups in the order of the program, as JSON with one layer a line.

    tiles: parts of n, h and w (none: nothing to do). channels: parts of the output channels of the
    whole group, or of the channels in front of the layer `sums`, which sums up over them;
    input_channels: parts of the input channels of the one layer. Cycles are the scheduler's
    estimates; local_bytes: per lane. Of a layer: the shape of its output, and if it has constants
    whether they are loaded once (resident) or for every tile, and in how many slices of output
    channels.
    """
    groups = []
    for index, plan in enumerate(program.plans):
        head = json.dumps({"group": index} | _group(plan))[:-1]
        layers = (json.dumps(_layer(plan, i)) for i in range(len(plan.layers)))
        rows = ",\n  ".join(layers)
        groups.append(f'{head}, "layers": [\n  {rows}]}}')
    text = ",\n ".join(groups)
    return f'{{"groups": [\n {text}]}}\n'


def _group(plan: Plan) -> dict[str, Any]:
    if plan.is_nothing:
        return {"tiles": None}
    facts: dict[str, Any] = {"tiles": dict(zip("nhw", plan.tiles, strict=True))}
    if plan.channels:
        facts["channels"] = [list(c) for c in plan.channels]
        facts["loop"] = "channels, tiles" if plan.channels_first else "tiles, channels"
    if plan.sums >= 0:
        facts["sums"] = plan.layers[plan.sums].name
    if plan.ic_slices:
        facts["input_channels"] = [list(c) for c in plan.ic_slices]
    if plan.bands > 1:
        facts["bands"] = plan.bands
    cost = plan.estimate
    times = {"cycles": plan.cycles, "tiu_cycles": cost.tiu, "tdma_cycles": cost.tdma}
    return facts | {"local_bytes": cost.peak} | {k: round(v) for k, v in times.items()}


def _layer(plan: Plan, index: int) -> dict[str, Any]:
    layer = plan.layers[index]
    facts: dict[str, Any] = {
        "name": layer.name,
        "kind": layer.kind,
        "output": list(layer.output.shape),
    }
    use = plan.weights.get(layer)
    if use is not None:
        facts["constants"] = {"resident": use.resident, "slices": max(1, len(use.slices))}
    return facts
