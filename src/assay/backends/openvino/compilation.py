"""From a model in OpenVINO's form to one compiled for a target, and the requests that run it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.backends.openvino.engine import Engine
from assay.backends.openvino.errors import VENDOR_ERRORS, mapped_errors
from assay.backends.openvino.vendor import device_name, load_core
from assay.core.errors import BuildFailed
from assay.core.precision import Precision
from assay.core.target import ServingMode, Target
from assay.core.tensor import TensorSpec

HINTS = {Precision.FP32: "f32", Precision.BF16: "bf16", Precision.FP16: "f16"}
"""Format -> value of INFERENCE_PRECISION_HINT; an INT8 plan gives the format of what stays in floats."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Compute:
    """What OpenVINO is asked to compute in.

    Attributes:
        precision: of floats; None leaves it to OpenVINO.
        group: neighbouring activations that are rounded to 8 bits by one scale where they meet weights stored in
            integers, 0 for none; None leaves it to OpenVINO, which rounds in groups of 32 (2026.4, on a CPU).
    """

    precision: Precision | None
    group: int | None = None


def compile_properties(target: Target, compute: Compute) -> dict[str, Any]:
    """Properties of ``compile_model`` for a target.

    One stream for latency; as many as OpenVINO finds best for throughput. Threads are not pinned: the pinned
    threads of two opened artifacts would share a core and leave another idle. The compile cache stays off, so that
    the time to load is honest.
    """
    properties: dict[str, Any] = {}
    if compute.precision is not None:
        properties["INFERENCE_PRECISION_HINT"] = HINTS[compute.precision]
    if compute.group is not None:
        properties["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = compute.group
    if target.mode is ServingMode.LATENCY:
        properties |= {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
    else:
        properties["PERFORMANCE_HINT"] = "THROUGHPUT"
    if device_name(target.device).startswith("CPU"):
        properties |= {"INFERENCE_NUM_THREADS": target.threads, "ENABLE_CPU_PINNING": False}
    return properties


def read_model(path: Path) -> Any:  # noqa: ANN401 - the vendor's object has no types
    """Read an ONNX or IR file.

    Raises:
        BuildFailed: OpenVINO cannot read it.
    """
    with mapped_errors(BuildFailed, f"OpenVINO cannot read {path}", "see which node or operator it names"):
        return load_core().read_model(str(path))


def compile_model(
    model: Any,  # noqa: ANN401 - as above
    target: Target,
    compute: Compute,
    *,
    counting: bool = False,
) -> Engine:
    """Compile for the target.

    Args:
        model: in OpenVINO's form.
        target: as ``compile_properties``.
        compute: formats that OpenVINO is asked to compute in.
        counting: with performance counters, which take time themselves.

    Raises:
        BuildFailed: OpenVINO refuses the model.
    """
    with mapped_errors(BuildFailed, f"OpenVINO cannot compile the model for {target.device}"):
        properties = compile_properties(target, compute) | ({"PERF_COUNT": True} if counting else {})
        compiled = load_core().compile_model(model, device_name(target.device), properties)
        return Engine(compiled, dynamic=model.is_dynamic())


def order_ports(ports: Sequence[Any], specs: Sequence[TensorSpec]) -> tuple[int, ...]:
    """Index of each named tensor's port: by name, or by position where conversion dropped the name.

    Raises:
        BuildFailed: the model has other inputs or outputs than the ONNX file.
    """
    if len(ports) != len(specs):
        names = ", ".join(spec.name for spec in specs)
        message = f"OpenVINO's form of the model has {len(ports)} tensors where the ONNX file has {names}"
        raise BuildFailed(message, "rename or remove inputs and outputs that are not used")
    found = {name: index for index, port in enumerate(ports) for name in port.get_names()}
    order = tuple(found.get(spec.name, position) for position, spec in enumerate(specs))
    return order if len(set(order)) == len(order) else tuple(range(len(specs)))


def fix_batch(specs: Sequence[TensorSpec], batch: int) -> tuple[Shape, ...] | None:
    """Static input shapes at a batch, where the first axis is all that is open.

    Returns:
        One shape per input, or None where another axis is open too or none is.
    """
    shapes = []
    for spec in specs:
        if not spec.shape:
            return None
        tail = tuple(size for size in spec.shape[1:] if isinstance(size, int))
        if len(tail) != len(spec.shape) - 1:
            return None
        first = spec.shape[0]
        shapes.append((first if isinstance(first, int) else batch, *tail))
    return tuple(shapes) if any(not isinstance(spec.shape[0], int) for spec in specs if spec.shape) else None


def is_one_batch(specs: Sequence[TensorSpec]) -> bool:
    """Whether a common first axis is all that is open, so that shapes that fit the specifications fit each other."""
    if fix_batch(specs, 1) is None:
        return all(spec.shape is not None and all(isinstance(axis, int) for axis in spec.shape) for spec in specs)
    axes = {spec.shape[0] for spec in specs if spec.shape and not isinstance(spec.shape[0], int)}
    return len(specs) == 1 or (len(axes) == 1 and None not in axes)


def reshape_model(model: Any, order: Sequence[int], shapes: Sequence[Shape]) -> None:  # noqa: ANN401 - as above
    """Give a model static input shapes, in place."""
    ports = model.inputs
    model.reshape({ports[index]: list(shape) for index, shape in zip(order, shapes, strict=True)})


def compile_static(
    model: Any,  # noqa: ANN401 - as above
    target: Target,
    compute: Compute,
    order: Sequence[int],
    shapes: Sequence[Shape],
) -> Engine | None:
    """Compile for fixed input shapes, measured 3 to 25% faster than the same model with an open batch.

    Args:
        model: gets these shapes, in place.
        target: as ``compile_model``.
        compute: as ``compile_model``.
        order: port of each input, see ``order_ports``.
        shapes: of the inputs.

    Returns:
        None where the model does not compile so: some do with open shapes only.
    """
    try:
        reshape_model(model, order, shapes)
        return compile_model(model, target, compute)
    except (*VENDOR_ERRORS, BuildFailed):
        return None
