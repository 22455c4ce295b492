"""Old (CV18xx toolchain 1.5) or new (tpu-mlir) command line, by its options (cli.md 2.3)."""

from __future__ import annotations

import argparse

from ..compiler.errors import OptionError

OLD, NEW = "old", "new"

OLD_ONLY = (
    "model_type", "image", "net_input_dims", "image_resize_dims", "raw_scale", "std", "input_scale",
    "model_channel_order", "channel_order", "cvimodel", "all_bf16", "mix_precision_table",
    "batch_size", "gray", "image_list", "buffer_size",
)  # fmt: skip
NEW_ONLY = (
    "input_shapes", "scale", "test_input", "test_reference", "model", "quantize",
    "customization_format",
)  # fmt: skip
#: pairs that say the same thing: given together with equal values they decide nothing
NEUTRAL = (
    ("image", "test_input"),
    ("cvimodel", "model"),
    ("mix_precision_table", "quantize_table"),
)


def detect_dialect(options: argparse.Namespace, *, name_is_old: bool = False) -> str:
    """OLD or NEW for options from Parser.parse.

    name_is_old: model_name marks the old dialect (model_deploy).
    OptionError if options of both dialects are present; the message names one of each.
    """
    typed: dict[str, str] = options.typed
    names = set(typed)
    for old, new in NEUTRAL:
        if {old, new} <= names and typed[old] == typed[new]:
            names -= {old, new}
    if {"all_bf16", "quantize"} <= names and typed["quantize"].upper() == "BF16":
        names -= {"quantize"}
    old_only = (*OLD_ONLY, "model_name") if name_is_old else OLD_ONLY
    old_found = [o for o in old_only if o in names]
    new_found = [o for o in NEW_ONLY if o in names]
    if old_found and new_found:
        raise OptionError(
            f"--{old_found[0]} belongs to the old command line (CV18xx toolchain 1.5) and "
            f"--{new_found[0]} to the new one (tpu-mlir); use the options of one of them"
        )
    return OLD if old_found else NEW
