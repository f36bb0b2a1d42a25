"""The protocol that every runtime's adapter keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from assay.core.plan import FloatDialect, IntegerDialect, Plan, WeightScheme
from assay.core.precision import CastStyle, Precision
from assay.core.session import Session
from assay.core.target import Target


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a runtime can be used here.

    Attributes:
        available: it can.
        version: of the runtime, empty where it is missing.
        devices: what it can run on (``cpu``, ``cuda:0``).
        missing: what is missing, in words; empty where nothing is.
        remedy: how to get it.
        builds: devices that need not be here for which it builds artifacts (``sm86``), also where it is not available;
            the first one where none is named.
    """

    available: bool
    version: str = ""
    devices: tuple[str, ...] = ()
    missing: str = ""
    remedy: str = ""
    builds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Support:
    """Whether a runtime can realise a plan; ``reason`` says why not."""

    supported: bool
    reason: str = ""


class Backend(Protocol):
    """One runtime: compiles what ``graph`` wrote, runs it, and says what it really executed."""

    @property
    def name(self) -> str:
        """Its name in the table."""
        ...

    def probe(self) -> Availability:
        """Whether it is installed and what it can use; never raises."""
        ...

    def dialects(self, target: Target) -> tuple[IntegerDialect, ...]:
        """Forms of INT8 graph that it executes as integers on the target, the one expected fastest first."""
        ...

    def cast_style(self, precision: Precision, target: Target) -> CastStyle:
        """How it wants a 16-bit float plan written."""
        ...

    def rests(self, target: Target) -> tuple[Precision, ...]:
        """Formats in which it can run what an INT8 plan leaves in floats, the one expected fastest first."""
        ...

    def supports(self, plan: Plan, target: Target) -> Support:
        """Whether it can realise the plan, or the reason why not; asks the runtime where it can."""
        ...

    def build(self, model: Path, into: Path, plan: Plan, target: Target) -> None:
        """Compile an ONNX model, as ``graph`` realised the plan, into an existing empty folder.

        The folder must be all that ``open`` needs, also on another machine of the same kind.

        Raises:
            BackendUnavailable: the runtime is missing.
            UnsupportedPlan: the runtime cannot realise the plan.
            BuildFailed: the runtime refused the model; names the node where it tells.
        """
        ...

    def open(self, built: Path, target: Target) -> Session:
        """Open a built folder for running.

        Raises:
            BackendUnavailable: the runtime is missing.
            BuildFailed: the runtime cannot load what was built.
        """
        ...

    def versions(self) -> Mapping[str, str]:
        """Name -> version of every tool that shapes an artifact."""
        ...


@runtime_checkable
class ShapedBackend(Protocol):
    """A runtime whose artifacts take the shapes that they were built for alone; not every one has to be."""

    @property
    def shaped(self) -> bool:
        """Whether ``build`` goes by the shapes of its target."""
        ...


@runtime_checkable
class WeightBackend(Protocol):
    """A runtime that gains from weights which are quantized without calibration; not every one has to."""

    def weight_schemes(self, precision: Precision, target: Target) -> tuple[WeightScheme, ...]:
        """Schemes that it executes faster than floats on the target, the one expected fastest first.

        Args:
            precision: of the weights, INT8 or INT4; for others the answer is empty.
            target: device and threads.
        """
        ...


@runtime_checkable
class FloatBackend(Protocol):
    """A runtime that multiplies 8-bit floats; not every one has to."""

    def float_dialect(self, target: Target) -> FloatDialect | None:
        """The form of FP8 graph that it executes on the target; None where the device has no 8-bit floats."""
        ...
