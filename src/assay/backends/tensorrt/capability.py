"""NVIDIA GPUs by compute capability, here or elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass

from assay.core.errors import BackendUnavailable
from assay.core.precision import Precision

_NAME = re.compile(r"sm(?P<major>\d+)(?P<minor>\d)")


@dataclass(frozen=True, slots=True, order=True)
class Capability:
    """Compute capability of a GPU, such as 8.6 (CUDA C++ Programming Guide, appendix "Compute Capabilities")."""

    major: int
    minor: int

    def __str__(self) -> str:
        """With a dot, such as ``8.6``."""
        return f"{self.major}.{self.minor}"

    @property
    def device(self) -> str:
        """Name of a GPU of this kind that need not be here, such as ``sm86``."""
        return f"sm{self.major}{self.minor}"

    def lacks(self, precision: Precision) -> bool:
        """Whether its tensor cores do not have a format."""
        return self < FIRST.get(precision, self)


FIRST = {
    Precision.TF32: Capability(8, 0),
    Precision.BF16: Capability(8, 0),
    Precision.INT4: Capability(8, 0),
    Precision.FP8: Capability(8, 9),
}
"""Format -> the first compute capability for which TensorRT takes it; those that are not here, all have."""


def parse_device(name: str) -> Capability | None:
    """Compute capability that a device is named after, ``sm86``; None for other names."""
    match = _NAME.fullmatch(name)
    return None if match is None else Capability(int(match["major"]), int(match["minor"]))


def parse_index(name: str) -> int:
    """Index of a GPU of this machine, ``cuda:1`` or ``cuda`` for the first.

    Raises:
        BackendUnavailable: the name is none of a GPU.
    """
    kind, _, index = name.partition(":")
    if kind == "cuda" and (index.isdecimal() or not index):
        return int(index or 0)
    raise BackendUnavailable(f"TensorRT has no device {name!r}", "name cuda:0, or for building alone sm86")
