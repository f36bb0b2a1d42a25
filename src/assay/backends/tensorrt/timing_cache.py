"""The tactics that TensorRT timed for earlier engines, kept between builds.

TensorRT-RTX times nothing while it builds; there its functions are deprecated and do nothing.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from assay.backends.tensorrt.capability import Capability


def find_cache_file(version: str, capability: Capability) -> Path:
    """File of a version and a kind of GPU, in ``$ASSAY_CACHE``, else in the user's cache folder."""
    given, home = os.environ.get("ASSAY_CACHE", ""), os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(given) if given else (Path(home) if home else Path.home() / ".cache") / "assay"
    return folder / "tensorrt" / f"timing-{version}-{capability.device}.cache"


def load_cache(config: Any, path: Path) -> None:  # noqa: ANN401 - the vendor's object has no types
    """Give a build what earlier ones timed; a missing or refused file means an empty cache."""
    try:
        known = path.read_bytes()
    except OSError:
        known = b""
    if not config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def store_cache(config: Any, path: Path) -> None:  # noqa: ANN401 - as above
    """Keep what a build timed; a folder that cannot be written costs the next build its time, and nothing else."""
    cache = config.get_timing_cache()
    if cache is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:
            part.write(memoryview(cache.serialize()))
        Path(part.name).replace(path)
    except OSError:
        return
