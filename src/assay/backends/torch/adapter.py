"""PyTorch as a backend of Assay: on the CPU, and on the matrix units of CUDA devices."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from assay.backends.backend import Availability, Support
from assay.backends.model_files import copy_model
from assay.backends.torch.settings import Settings
from assay.backends.torch.vendor import INSTALL, explain_cuda, explain_eager, find_device, load_torch, refuse_format
from assay.core.errors import BackendUnavailable, UnsupportedPlan
from assay.core.plan import IntegerDialect, Plan
from assay.core.precision import CastStyle, IntegerFormat, Precision
from assay.core.session import Session
from assay.core.target import Target

CHAIN_OPERATORS = frozenset({"Add", "AveragePool", "Concat", "GlobalAveragePool", "MaxPool"})
"""Operators whose results are quantized too: compiled, they read and write codes in the same pass."""
FLOATS = (Precision.BF16, Precision.FP16, Precision.FP32)


class TorchBackend:
    """PyTorch on the CPU.

    Args:
        compiled: off runs models operator by operator, as they stand.
        integers: off computes quantize/dequantize pairs in floats, as they stand.
        graphs: off makes no CUDA graphs.
    """

    def __init__(self, *, compiled: bool = True, integers: bool = True, graphs: bool = True) -> None:
        self._how = Settings(compiled=compiled, integers=integers, graphs=graphs)

    @property
    def name(self) -> str:
        """Its name in the table."""
        return "torch"

    def probe(self) -> Availability:
        """Whether torch is installed, and what it sees; never raises. It is without a compiler too, only slower."""
        try:
            torch = load_torch()
        except BackendUnavailable as err:
            return Availability(available=False, missing=err.message, remedy=err.hint)
        count = 0 if explain_cuda() else int(torch.cuda.device_count())
        devices = ("cpu", *(f"cuda:{index}" for index in range(count)))
        return Availability(available=True, version=str(torch.__version__), devices=devices)

    def dialects(self, target: Target) -> tuple[IntegerDialect, ...]:
        """Symmetric s8 activations, and asymmetric u8 ones, which cost the same: the zero point is part of the bias.

        Both take s8 weights per channel and float biases; a product of two activations is computed in floats.
        """
        device = find_device(target.device)
        if refuse_format(Precision.INT8, device):
            return ()
        return tuple(
            IntegerDialect(activation, symmetric=activation is IntegerFormat.S8, chain_operators=CHAIN_OPERATORS)
            for activation in (IntegerFormat.U8, IntegerFormat.S8)
        )

    def cast_style(self, precision: Precision, target: Target) -> CastStyle:
        """Graphs that are typed themselves."""
        del precision, target
        return CastStyle.TYPED

    def rests(self, target: Target) -> tuple[Precision, ...]:
        """Formats of the products that an INT8 plan leaves in floats; BF16 first, which does not overflow."""
        device = find_device(target.device)
        return tuple(precision for precision in FLOATS if not refuse_format(precision, device))

    def supports(self, plan: Plan, target: Target) -> Support:
        """Whether the device computes in the plan's formats."""
        try:
            reason = self._refuse(plan, find_device(target.device))
        except BackendUnavailable as err:
            return Support(supported=False, reason=str(err))
        return Support(supported=not reason, reason=reason)

    def build(self, model: Path, into: Path, plan: Plan, target: Target) -> None:
        """Copy the model with its external data, and prove that torch has every operator of it.

        Raises:
            BackendUnavailable: torch or the device is missing.
            UnsupportedPlan: the device does not compute in the plan's formats.
            BuildFailed: torch has no form of the model.
        """
        find_device(target.device)
        support = self.supports(plan, target)
        if not support.supported:
            raise UnsupportedPlan(support.reason, "choose another precision or runtime")
        copy_model(model, into)
        how = self._how
        settings = Settings(
            compiled=how.compiled,
            graphs=how.graphs,
            integers=how.integers,
            rest=plan.rest if plan.quantizes else Precision.FP32,
            tf32=plan.precision is Precision.TF32,
        )
        settings.write(into)
        self.open(into, target).close()

    def open(self, built: Path, target: Target) -> Session:
        """Open a built folder.

        Raises:
            BackendUnavailable: torch or the device is missing.
            BuildFailed: the folder is incomplete or damaged.
        """
        find_device(target.device)
        module: Any = import_module("assay.backends.torch.session")
        return cast("Session", module.TorchSession(built, target))

    def versions(self) -> Mapping[str, str]:
        """Versions of torch, and of what it compiles with where that is there."""
        torch = load_torch()
        found = {"torch": str(torch.__version__)}
        found |= {"cuda": str(torch.version.cuda)} if torch.version.cuda else {}
        found |= {"compiler": "none"} if explain_eager("cuda" if torch.cuda.is_available() else "cpu") else {}
        return found

    def _refuse(self, plan: Plan, device: str) -> str:
        """Why a plan cannot be realised; empty where it can."""
        if plan.weights is not None or plan.precision is Precision.INT4:
            return "torch multiplies by stored weights in no format of its own here: use calibrated INT8"
        if plan.precision is Precision.FP8:
            return "torch multiplies no 8-bit floats of quantized graphs here: use calibrated INT8"
        if plan.cast is CastStyle.HINT:
            return "torch takes 16-bit floats as typed graphs, not as a hint"
        if plan.rest is Precision.TF32:
            return "what an INT8 plan leaves in floats is FP32 or 16 bits"
        wanted = {plan.precision, plan.rest, *(kept for _, kept in plan.overrides)}
        reasons = ((precision, refuse_format(precision, device)) for precision in sorted(wanted))
        return next((f"no {precision} on {device}: {reason}" for precision, reason in reasons if reason), "")


class TorchCudaBackend(TorchBackend):
    """PyTorch on CUDA devices."""

    @property
    def name(self) -> str:
        """Its name in the table."""
        return "torch-cuda"

    def probe(self) -> Availability:
        """Whether torch sees a CUDA device, and why not; never raises."""
        found = super().probe()
        if not found.available:
            return found
        devices = tuple(device for device in found.devices if device != "cpu")
        if devices:
            return Availability(available=True, version=found.version, devices=devices)
        remedy = f"use a machine with an NVIDIA GPU and its driver, and torch built with CUDA ({INSTALL})"
        return Availability(available=False, version=found.version, missing=explain_cuda(), remedy=remedy)
