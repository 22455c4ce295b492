"""bench: times of a model on the board, and its output compared with our simulator's."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..compiler.errors import UserInputError
from .errors import BoardError
from .items import Item
from .pull import pull
from .push import push
from .run import run
from .transport import Link

TIMES = re.compile(r"time of (\d+) runs: min ([\d.]+) ms, median ([\d.]+) ms, max ([\d.]+) ms")


@dataclass(frozen=True)
class Bench:
    """Times in milliseconds. equal: tensor -> whether its bytes are those of the simulator."""

    runs: int
    minimum: float
    median: float
    maximum: float
    equal: dict[str, bool]


def bench(
    link: Link,
    model: Path,
    runs: int = 10,
    inputs: Path | None = None,
    timeout: float = 600,
    simulate: bool = True,
) -> Bench:
    """Run `model` `runs` times on the board with model_runner.

    inputs: .npz or .npy with float arrays (default: random numbers, the same every time). The model
    and the arrays are pushed; model_runner comes with the SDK. BoardError: it fails there.
    """
    import cvi_nn

    with tempfile.TemporaryDirectory() as scratch:
        given, wanted = Path(scratch) / "bench_in.npz", {}
        with cvi_nn.Model(str(model)) as local:
            native = _native_inputs(local, inputs)
            np.savez(given, **native)  # type: ignore[arg-type]
            if simulate:
                wanted = {k: np.array(v) for k, v in local.forward(native).items()}
        push(link, [Item(model, f"models/{model.name}"), Item(given, "bench/in.npz")])
        command = ["model_runner", "-m", f"models/{model.name}", "-i", "bench/in.npz",
                   "-o", "bench/out.npz", "-c", str(runs), "--enable-timer"]  # fmt: skip
        result = run(link, command, timeout)
        times = TIMES.search(result.text())
        if result.timed_out:
            raise BoardError(f"{link.board.name}: no result within {timeout:.0f} s")
        if result.code or not times:
            raise BoardError(
                f"{link.board.name}: model_runner ended with exit {result.code}: "
                f"{' '.join(result.err.decode(errors='replace').split())[-300:]}; "
                "it comes with the SDK: `tpuforge evb push --sdk FOLDER`"
            )
        with np.load(pull(link, ["bench/out.npz"], Path(scratch))[0]) as arrays:
            equal = {k: _same(arrays, k, v) for k, v in wanted.items()}
    return Bench(int(times[1]), float(times[2]), float(times[3]), float(times[4]), equal)


def _native_inputs(model: object, source: Path | None) -> dict[str, np.ndarray]:
    """The inputs in the types of the file, from an .npz or .npy of real numbers or at random."""
    tensors = list(model.inputs)  # type: ignore[attr-defined]
    if source is None:
        random = np.random.default_rng(1)
        return {t.name: t.quantize(random.standard_normal(t.shape)) for t in tensors}
    if not source.is_file():
        raise UserInputError(f"{source}: no such file with inputs")
    loaded = np.load(source)
    if isinstance(loaded, np.ndarray):
        arrays = {tensors[0].name: loaded}
    else:
        with loaded:
            arrays = {k: loaded[k] for k in loaded.files}
    missing = [t.name for t in tensors if t.name not in arrays]
    if missing:
        raise UserInputError(f"{source}: no array for input {missing[0]!r}")
    try:
        return {t.name: t.quantize(arrays[t.name]).reshape(t.shape) for t in tensors}
    except ValueError as e:
        raise UserInputError(f"{source}: {e}") from None


def _same(arrays: object, name: str, wanted: np.ndarray) -> bool:
    """Equal bytes (a bf16 tensor comes as uint16)."""
    if name not in arrays:  # type: ignore[operator]
        return False
    return arrays[name].tobytes() == wanted.tobytes()  # type: ignore[index]
