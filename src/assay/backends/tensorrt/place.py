"""Where an engine is to run: a GPU of this machine, or a kind of GPU that need not be here."""

from __future__ import annotations

from dataclasses import dataclass

from assay.backends.tensorrt.capability import Capability, parse_device, parse_index
from assay.backends.tensorrt.cuda import Gpu, list_gpus
from assay.backends.tensorrt.vendor import Vendor
from assay.core.errors import BackendUnavailable
from assay.core.target import Target

USUAL = Capability(8, 6)
"""Kind of GPU that is built for where none is here and none is named: what most workstations have."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an engine is to run.

    Attributes:
        gpu: of this machine; None where it is only built for.
    """

    capability: Capability
    gpu: Gpu | None


def find_place(target: Target, vendor: Vendor) -> Place:
    """Where a target's engine is to run.

    Raises:
        BackendUnavailable: there is no such GPU here, or TensorRT cannot build for it.
    """
    capability = parse_device(target.device)
    if capability is not None:
        if capability in vendor.capabilities:
            return Place(capability, None)
        kinds = ", ".join(str(one) for one in vendor.capabilities)
        builds = f"it builds for {kinds}" if kinds else "it builds for the GPU of this machine alone"
        raise BackendUnavailable(f"{vendor.title} cannot build for {target.device}: {builds}", "name another GPU")
    index = parse_index(target.device)
    gpus, reason = list_gpus()
    gpu = next((gpu for gpu in gpus if gpu.index == index), None)
    if gpu is None:
        message = reason or f"there is no GPU {target.device!r} here"
        raise BackendUnavailable(message, "build for a GPU elsewhere, such as sm86, or run where one is")
    if not vendor.runs_on(gpu):
        raise BackendUnavailable(f"{vendor.title} {vendor.version} does not run on {describe(gpu)}", "see its release")
    return Place(gpu.capability, gpu)


def describe(gpu: Gpu) -> str:
    """A GPU in words."""
    return f"{gpu.name} ({gpu.device}, compute capability {gpu.capability})"


def list_builds(vendor: Vendor) -> tuple[str, ...]:
    """Devices that a form of TensorRT builds for without having them, the usual one first."""
    return tuple(one.device for one in sorted(vendor.capabilities, key=lambda one: (one != USUAL, one)))
