"""What this machine can do: runtimes, number formats, matrix units, extras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

from assay.backends.backend import Backend, FloatBackend, WeightBackend
from assay.backends.table import list_backends, load_backend, make_target
from assay.core.errors import BackendUnavailable
from assay.core.plan import FloatDialect, FloatScheme, Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod
from assay.core.target import Target
from assay.measure.machine import Machine, MatrixUnit, describe_machine

EXTRAS = (
    ("torch", "studies PyTorch modules", "pip install 'assay-precision[torch]'"),
    ("pyarrow", "reads Parquet and Arrow data", "pip install 'assay-precision[parquet]'"),
)

X86_USES = {
    MatrixUnit.AVX2: "FP32 and, slowly, INT8",
    MatrixUnit.AVX512: "FP32 on 512-bit vectors",
    MatrixUnit.AVX_VNNI: "INT8 dot products, 256 bits",
    MatrixUnit.AVX512_VNNI: "INT8 dot products, 512 bits",
    MatrixUnit.AVX512_BF16: "BF16 dot products",
    MatrixUnit.AVX512_FP16: "FP16 arithmetic",
    MatrixUnit.AMX_INT8: "INT8 matrix products",
    MatrixUnit.AMX_BF16: "BF16 matrix products",
    MatrixUnit.AMX_FP16: "FP16 matrix products",
}
ARM_USES = {
    MatrixUnit.NEON: "FP32 vectors",
    MatrixUnit.NEON_FP16: "FP16 arithmetic",
    MatrixUnit.NEON_DOTPROD: "INT8 dot products",
    MatrixUnit.NEON_I8MM: "INT8 matrix products",
    MatrixUnit.NEON_BF16: "BF16 matrix products",
    MatrixUnit.SVE: "scalable vectors",
    MatrixUnit.SME: "matrix tiles",
}


@dataclass(frozen=True, slots=True)
class UnitState:
    """A matrix unit, whether it is here, and what it is good for."""

    name: str
    present: bool
    use: str


@dataclass(frozen=True, slots=True)
class FormatState:
    """Whether a runtime takes a number format; the reason where not."""

    precision: Precision
    supported: bool
    reason: str


@dataclass(frozen=True, slots=True)
class RuntimeState:
    """A runtime, what it can do here, and what is missing."""

    name: str
    available: bool
    version: str
    devices: tuple[str, ...]
    formats: tuple[FormatState, ...]
    missing: str
    remedy: str


@dataclass(frozen=True, slots=True)
class ExtraState:
    """An optional package; no version where it is missing."""

    name: str
    use: str
    version: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that ``assay doctor`` tells."""

    machine: Mapping[str, str]
    units: tuple[UnitState, ...]
    runtimes: tuple[RuntimeState, ...]
    extras: tuple[ExtraState, ...]


def diagnose() -> Diagnosis:
    """Look at the machine and every runtime."""
    machine = describe_machine()
    return Diagnosis(
        machine=machine.facts(),
        units=tuple(UnitState(unit, unit in machine.units, use) for unit, use in find_uses(machine).items()),
        runtimes=tuple(examine_runtime(name) for name in list_backends()),
        extras=tuple(find_extra(*extra) for extra in EXTRAS),
    )


def find_uses(machine: Machine) -> Mapping[MatrixUnit, str]:
    """The matrix units that this kind of machine could have, and what each is good for."""
    return ARM_USES if machine.architecture.lower() in {"aarch64", "arm64"} else X86_USES


def examine_runtime(name: str) -> RuntimeState:
    """One runtime."""
    try:
        backend = load_backend(name)
    except BackendUnavailable as error:
        return RuntimeState(
            name, available=False, version="", devices=(), formats=(), missing=error.message, remedy=error.hint
        )
    here = backend.probe()
    target = make_target(name)
    formats = tuple(examine_format(backend, precision, target) for precision in Precision) if here.available else ()
    return RuntimeState(name, here.available, here.version, here.devices, formats, here.missing, here.remedy)


def examine_format(backend: Backend, precision: Precision, target: Target) -> FormatState:
    """Whether a runtime takes plans of a number format."""
    if precision is Precision.INT8:
        dialects = backend.dialects(target)
        if not dialects:
            return FormatState(precision, supported=False, reason="it runs no quantized graph as integers")
        plan = Plan(precision, scheme=Scheme(dialects[0], Placement.CHAIN, RangeMethod.MIN_MAX))
    elif precision is Precision.FP32:
        plan = Plan(precision)
    elif precision is Precision.FP8:
        floats = backend.float_dialect(target) if isinstance(backend, FloatBackend) else None
        plan = Plan(precision, floats=FloatScheme(floats or FloatDialect(), RangeMethod.MIN_MAX))
    elif precision is Precision.INT4:
        schemes = backend.weight_schemes(precision, target) if isinstance(backend, WeightBackend) else ()
        if not schemes:
            return FormatState(precision, supported=False, reason="it multiplies by no weights stored in 4 bits")
        plan = Plan(precision, weights=schemes[0])
    else:
        plan = Plan(precision, cast=backend.cast_style(precision, target))
    support = backend.supports(plan, target)
    return FormatState(precision, support.supported, support.reason)


def find_extra(name: str, use: str, remedy: str) -> ExtraState:
    """One optional package."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = ""
    return ExtraState(name, use, version, remedy)
