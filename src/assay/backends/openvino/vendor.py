"""The one place that imports OpenVINO, so that a machine without it can still be told so."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from assay.core.errors import BackendUnavailable

INSTALL = "pip install 'openvino>=2026.0'"


@cache
def load_openvino() -> Any:  # noqa: ANN401 - the vendor's module has no types
    """The vendor's module.

    Raises:
        BackendUnavailable: it is not installed, or its libraries do not load.
    """
    try:
        return import_module("openvino")
    except (ImportError, OSError) as err:
        raise BackendUnavailable(f"OpenVINO cannot be imported: {err}", f"install it: {INSTALL}") from err


def load_opset() -> Any:  # noqa: ANN401 - as above
    """The vendor's functions that make operators.

    Raises:
        BackendUnavailable: as ``load_openvino``.
    """
    return load_openvino().opset13


@cache
def load_core() -> Any:  # noqa: ANN401 - the vendor's object has no types
    """The process's one runtime core: making it searches for plugins, which costs milliseconds.

    Raises:
        BackendUnavailable: OpenVINO is missing or finds no plugins.
    """
    module = load_openvino()
    try:
        return module.Core()
    except RuntimeError as err:
        raise BackendUnavailable(f"OpenVINO does not start: {err}", f"install it anew: {INSTALL}") from err


def device_name(device: str) -> str:
    """OpenVINO's spelling of a target's device: ``cpu`` -> ``CPU``, ``gpu:1`` -> ``GPU.1``."""
    return device.upper().replace(":", ".")


def read_capabilities(device: str) -> frozenset[str]:
    """What the device computes natively, as OpenVINO spells it (``BF16``, ``INT8``, ...).

    Raises:
        BackendUnavailable: OpenVINO or the device is missing.
    """
    core = load_core()
    name = device_name(device)
    try:
        found = [str(item) for item in core.available_devices]
        if name in found or any(item.startswith(f"{name}.") for item in found):
            return frozenset(core.get_property(name, "OPTIMIZATION_CAPABILITIES"))
    except RuntimeError as err:
        raise BackendUnavailable(f"OpenVINO cannot ask the device {device!r}: {err}", "check its driver") from err
    names = ", ".join(item.lower() for item in found) or "none"
    raise BackendUnavailable(f"OpenVINO has no device {device!r} here", f"devices found: {names}")
