"""Where and how an artifact will serve."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ServingMode(StrEnum):
    """What the runtime is tuned for when it opens an artifact."""

    LATENCY = "latency"
    THROUGHPUT = "throughput"


@dataclass(frozen=True, slots=True)
class Target:
    """Runtime, device, batch and threads of the deployment.

    Attributes:
        runtime: a name in ``assay.backends.table``.
        device: ``cpu``, ``cuda:0``, ...
        threads: compute threads the runtime may use (>= 1).
        batch: items per call that latency is measured at (>= 1).
        mode: one call at a time, or as many as the device takes.
    """

    runtime: str
    device: str = "cpu"
    threads: int = 1
    batch: int = 1
    mode: ServingMode = ServingMode.LATENCY
