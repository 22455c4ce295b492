"""The demo, stage by stage: build, transform, calibrate, compile, simulate, compare with
float32."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx

from ...compiler import api
from ...compiler.calibrate.samples import InputSpec
from ...compiler.chip import Chip
from ...compiler.errors import OptionError, UserInputError
from ...compiler.flow.simulator import Simulator
from ...compiler.flow.transform import input_specs
from ...compiler.isa import parse_stream
from ...compiler.isa.cv18xx.stream_cost import stream_cost
from ...compiler.verify import cosine
from ..console import TERMINAL, Progress, say
from . import network, photographs
from .photographs import Photograph

NAME = "efficientnet_lite0"
TOP = 5
PREPROCESS = {
    "mean": network.MEAN, "scale": network.SCALE, "pixel_format": "rgb", "keep_aspect_ratio": True,
    "keep_ratio_mode": "short_side_scale", "resize_dims": (network.RESIZE, network.RESIZE),
}  # fmt: skip


class Demo:
    """chip; folder for the files; photographs of the user or the packaged ones; how many to
    classify."""

    def __init__(self, chip: Chip, folder: Path, images: Path | None, shown: int, opt: int):
        if shown < 1:
            raise OptionError(f"--show {shown}: 1 or more photographs")
        self.chip, self.folder, self.opt = chip, folder, opt
        found = photographs.in_folder(images) if images else photographs.packaged()
        self.calibration, self.shown = photographs.split(found, shown)
        self.times: list[tuple[str, float]] = []

    def run(self, *, keep: bool = False) -> None:
        """All stages; prints what they give. Files: see the last lines of the output."""
        self._make_folder()
        table, mlir = self.folder / f"{NAME}_cali_table", self.folder / f"{NAME}.mlir"
        path = self.folder / f"{NAME}_{self.chip.name}.cvimodel"
        with self._stage("build the ONNX graph from the checkpoint"):
            model = network.build()
            if keep:
                onnx.save(model, str(self.folder / f"{NAME}.onnx"))
                self._copy_photographs(self.folder / "photographs")
        with self._stage("optimise the float graph (model_transform)"):
            graph = api.transform(model, name=NAME, mlir=mlir, preprocess=PREPROCESS).graph
        inputs = self._pictures(input_specs(graph)[0])
        with self._stage(f"calibrate on {len(self.calibration)} photographs (run_calibration)"):
            samples = [(str(p.path),) for p in self.calibration]
            thresholds = api.calibrate(graph, samples, table=table, console=TERMINAL)
        with self._stage(f"quantise, schedule, emit for {self.chip.name} (model_deploy)"):
            done = api.deploy(graph, thresholds, self.chip, path, opt=self.opt)
        with self._stage(f"classify {len(self.shown)} photographs in float32"):
            expected = self._float(model, inputs)
        with self._stage(f"classify {len(self.shown)} photographs in the simulator"):
            got = self._simulated(path, inputs)
        self._print_answers(expected, got)
        self._print_figures(done, path)
        self._print_files(done.files, mlir, table, keep)

    # ---- stages
    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise UserInputError(
                f"{self.folder}: can not be made a folder ({e.strerror})"
            ) from None

    def _copy_photographs(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for photograph in self.calibration + self.shown:
            shutil.copyfile(photograph.path, folder / photograph.path.name)

    @contextmanager
    def _stage(self, what: str) -> Iterator[None]:
        begin = time.perf_counter()
        with TERMINAL.step(what):
            yield
        self.times.append((what, time.perf_counter() - begin))

    def _pictures(self, spec: InputSpec) -> list[np.ndarray]:
        """Of the photographs to be classified; those that can not be read are left out, with a
        warning."""
        assert spec.preprocess is not None
        inputs, readable = [], []
        for p in self.shown:
            try:
                inputs.append(spec.preprocess.load(p.path))
            except UserInputError as e:
                warnings.warn(f"left out: {e}", stacklevel=2)
            else:
                readable.append(p)
        if not readable:
            raise UserInputError(
                f"none of the {len(self.shown)} photographs to be classified can be read"
            )
        self.shown = readable
        return inputs

    def _float(self, model: onnx.ModelProto, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """Logits of the ONNX model in onnxruntime."""
        import onnxruntime as ort

        session = ort.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return [session.run(None, {"input": x})[0].reshape(-1) for x in inputs]

    def _simulated(self, path: Path, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """Logits of the compiled file on the simulator."""
        results = []
        with Simulator(path) as simulator, Progress("simulating") as progress:
            for i, x in enumerate(inputs, 1):
                results.append(next(iter(simulator.run({"input": x}).values())).reshape(-1))
                progress(i, len(inputs))
        return results

    # ---- printing
    def _print_answers(self, expected: list[np.ndarray], got: list[np.ndarray]) -> None:
        for photograph, a, b in zip(self.shown, expected, got, strict=True):
            say(f"\n{_title(photograph)}   cosine {cosine(b, a):.4f}")
            say(f"  {self.chip.name + ' INT8 (simulator)':44s}float32 (onnxruntime)")
            for left, right in zip(_top(b), _top(a), strict=True):
                say(f"  {left:44s}{right}")
        same = sum(int(a.argmax() == b.argmax()) for a, b in zip(expected, got, strict=True))
        mean = np.mean([cosine(b, a) for a, b in zip(expected, got, strict=True)])
        say(
            f"\nsame best class as float32: {same} of {len(got)}; mean cosine similarity {mean:.4f}"
        )
        known = [i for i, p in enumerate(self.shown) if p.label is not None]
        if known:
            ours, floats = (
                sum(int(x[i].argmax() == self.shown[i].label) for i in known)
                for x in (got, expected)
            )
            say(f"right by their labels: INT8 {ours}, float32 {floats} of {len(known)}")

    def _print_figures(self, done: api.Deployed, path: Path) -> None:
        model = done.compiled.model
        program = model.programs[0]
        streams = [s.contents() for s in model.sections if s.kind == "cmdbuf"]
        weights = next(s for s in model.sections if s.kind == "weight").contents()
        costs = [stream_cost(self.chip, parse_stream(self.chip, s), weights) for s in streams]
        moved = sum(c.ddr_read_bytes + c.ddr_write_bytes for c in costs)
        total = sum(c.ms(c.total_cycles) for c in costs)
        computing = sum(c.ms(c.tiu_cycles) for c in costs)
        moving = sum(c.ms(c.bounds.ddr_cycles) for c in costs)
        say(f"\n{path.name}: {path.stat().st_size / 1e6:.2f} MB (weights {len(weights) / 1e6:.2f}, "
            f"commands {sum(map(len, streams)) / 1e6:.2f})")  # fmt: skip
        say(f"activation memory on the board: {program.shared_gmem / 1e6:.2f} MB shared, "
            f"{program.private_gmem / 1e6:.2f} MB private")  # fmt: skip
        say(f"estimated on {self.chip.name}: {total:.2f} ms per picture "
            f"(computing {computing:.2f} ms, moving {moved / 1e6:.2f} MB "
            f"{moving:.2f} ms at least)")  # fmt: skip

    def _print_files(self, files: list[Path], mlir: Path, table: Path, keep: bool) -> None:
        say("\ntime of each stage:")
        for what, seconds in self.times:
            say(f"  {seconds:6.2f} s  {what}")
        say(f"  {sum(s for _, s in self.times):6.2f} s  in all")
        say(f"\nfiles in {self.folder}:")
        for path in [mlir, mlir.with_name(f"{mlir.stem}_top_f32_all_weight.npz"), table, *files]:
            say(f"  {path.name:52s} {path.stat().st_size:>10,d} bytes")
        if keep:
            say(f"  {NAME}.onnx, photographs/")


def _title(photograph: Photograph) -> str:
    if photograph.label is None:
        return photograph.path.name
    return f"{photograph.path.name} ({photographs.class_name(photograph.label)})"


def _top(logits: np.ndarray) -> list[str]:
    """The best classes with their probabilities."""
    shifted = np.exp(logits.astype(np.float64) - logits.max())
    shares = shifted / shifted.sum()
    best = np.argsort(-shares, kind="stable")[:TOP]
    return [f"{100 * shares[i]:5.1f} %  {photographs.class_name(int(i))}" for i in best]
