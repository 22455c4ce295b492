"""Where the board tools keep their files; every place has an environment variable."""

from __future__ import annotations

import os
from pathlib import Path


def boards_folder() -> Path:
    """Board descriptions: $TPUFORGE_BOARDS, else $XDG_CONFIG_HOME/tpuforge/boards."""
    if os.environ.get("TPUFORGE_BOARDS"):
        return Path(os.environ["TPUFORGE_BOARDS"])
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "tpuforge" / "boards"


def virtual_folder() -> Path:
    """Downloads and state of virtual boards: $TPUFORGE_EVB_HOME, else ~/.cache/tpuforge/evb."""
    if os.environ.get("TPUFORGE_EVB_HOME"):
        return Path(os.environ["TPUFORGE_EVB_HOME"])
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "tpuforge" / "evb"
