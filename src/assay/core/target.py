"""Where and how an artifact will serve."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ServingMode(StrEnum):
    """What the runtime is tuned for when it opens an artifact."""

    LATENCY = "latency"
    THROUGHPUT = "throughput"


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """Shapes that calls give to an input of a model.

    Attributes:
        name: of the input.
        least: smallest size of each axis.
        usual: what latency is measured at.
        most: largest size of each axis.
    """

    name: str
    least: tuple[int, ...]
    usual: tuple[int, ...]
    most: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """Runtime, device, batch and threads of the deployment.

    Attributes:
        runtime: a name in ``assay.backends.table``.
        device: ``cpu``, ``cuda:0``, ...; for building alone also one that is not here, such as ``sm86``.
        threads: compute threads the runtime may use (>= 1).
        batch: items per call that latency is measured at (>= 1).
        mode: one call at a time, or as many as the device takes.
        shapes: of the inputs, for runtimes that build for them; none where they are not known.
    """

    runtime: str
    device: str = "cpu"
    threads: int = 1
    batch: int = 1
    mode: ServingMode = ServingMode.LATENCY
    shapes: tuple[ShapeRange, ...] = ()
