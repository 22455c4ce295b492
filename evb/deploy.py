"""Push a model with a sample's inputs and run the sample, in one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..compiler.errors import OptionError, UserInputError
from .items import Item, collect
from .push import Progress, Report, push
from .run import Result, run
from .sdk import board_items
from .transport import Link

#: --sample -> program, and whether it takes a picture and labels
SAMPLES = {
    "model_info": ("cvi_sample_model_info", False),
    "classifier": ("cvi_sample_classifier", True),
    "classifier_fused_preprocess": ("cvi_sample_classifier_fused_preprocess", True),
    "classifier_multi_batch": ("cvi_sample_classifier_multi_batch", True),
}
LABELS = "samples/data/synset_words.txt"


def sample_command(
    sample: str, model: str, image: str = "", labels: str = LABELS, options: Sequence[str] = ()
) -> list[str]:
    """The words that run a sample; places are those on the board. OptionError: unknown sample."""
    if sample not in SAMPLES:
        raise OptionError(f"--sample {sample}: choose one of {', '.join(SAMPLES)}")
    program, picture = SAMPLES[sample]
    if picture and not image:
        raise OptionError(f"--sample {sample} needs --image")
    return [program, model, *([image, labels] if picture else []), *options]


def deploy(
    link: Link,
    model: Path,
    sample: str,
    *,
    image: Path | None = None,
    labels: Path | None = None,
    sdk: Path | None = None,
    options: Sequence[str] = (),
    timeout: float | None = None,
    out: Callable[[bytes], None] | None = None,
    err: Callable[[bytes], None] | None = None,
    progress: Progress | None = None,
) -> tuple[Report, Result]:
    """Push model, picture, labels and (if given) the SDK; run the sample. Nothing is compiled."""
    items = board_items(sdk) if sdk else []
    command = sample_command(
        sample,
        f"models/{model.name}",
        f"images/{image.name}" if image else "",
        f"labels/{labels.name}" if labels else LABELS,
        options,
    )
    for path, folder in ((model, "models"), (image, "images"), (labels, "labels")):
        if path is None:
            continue
        if not path.is_file():
            raise UserInputError(f"{path}: no such file")
        items += [Item(p.local, p.remote) for p in collect([path], folder)]
    report = push(link, items, progress)
    return report, run(link, command, timeout, out, err)
