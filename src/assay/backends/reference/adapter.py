"""The ONNX reference evaluator as a backend of Assay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from assay.backends.backend import Availability, Support
from assay.backends.model_files import MODEL_FILE, copy_model
from assay.backends.reference.capabilities import refuse_reason
from assay.backends.reference.session import ReferenceSession
from assay.core.errors import BackendUnavailable, UnsupportedPlan
from assay.core.plan import IntegerDialect, Plan
from assay.core.precision import CastStyle, IntegerFormat, Precision
from assay.core.session import Session
from assay.core.target import Target

CHAIN_OPERATORS = frozenset({"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "MaxPool"})


class ReferenceBackend:
    """The exact semantics of every ONNX operator, in NumPy on the CPU; threads and serving mode mean nothing to it."""

    @property
    def name(self) -> str:
        """Its name in the table."""
        return "reference"

    def probe(self) -> Availability:
        """Always available: it comes with ``onnx``."""
        return Availability(available=True, version=onnx.__version__, devices=("cpu",))

    def dialects(self, target: Target) -> tuple[IntegerDialect, ...]:
        """Every form of INT8 graph; it dequantizes and computes in FP32, exactly as the graph says."""
        _check_device(target)
        return (
            IntegerDialect(IntegerFormat.U8, symmetric=False, integer_bias=True, chain_operators=CHAIN_OPERATORS),
            IntegerDialect(IntegerFormat.S8, symmetric=True, chain_operators=CHAIN_OPERATORS),
        )

    def cast_style(self, precision: Precision, target: Target) -> CastStyle:
        """Graphs that are typed themselves."""
        del precision, target
        return CastStyle.TYPED

    def rests(self, target: Target) -> tuple[Precision, ...]:
        """FP32 alone."""
        del target
        return (Precision.FP32,)

    def supports(self, plan: Plan, target: Target) -> Support:
        """Whether the evaluator computes in the plan's formats; for 16-bit floats it is asked with a tiny model."""
        if target.device != "cpu":
            return Support(supported=False, reason=f"the reference evaluator has no device {target.device!r}")
        if plan.cast is CastStyle.HINT:
            return Support(supported=False, reason="the reference evaluator computes in the types of the graph")
        if plan.precision in {Precision.TF32, Precision.FP8}:
            reason = f"the reference evaluator has no {plan.precision.upper()}: it is a format of GPUs"
            return Support(supported=False, reason=reason)
        if plan.rest is not Precision.FP32:
            return Support(supported=False, reason=f"the reference evaluator leaves the rest in fp32, not {plan.rest}")
        for precision in {plan.precision, *(kept for _, kept in plan.overrides)} & {Precision.FP16, Precision.BF16}:
            refused = refuse_reason(precision)
            if refused:
                return Support(supported=False, reason=f"the reference evaluator does not run {precision}: {refused}")
        return Support(supported=True)

    def build(self, model: Path, into: Path, plan: Plan, target: Target) -> None:
        """Copy the model with its external data, and prove that it loads.

        Raises:
            BackendUnavailable: the device is not the CPU.
            UnsupportedPlan: the evaluator does not compute in the plan's formats.
            BuildFailed: the model is not valid, or has an operator without a definition.
        """
        _check_device(target)
        support = self.supports(plan, target)
        if not support.supported:
            raise UnsupportedPlan(support.reason, "choose another precision or runtime")
        copy_model(model, into)
        self.open(into, target).close()

    def open(self, built: Path, target: Target) -> Session:
        """Open a built folder.

        Raises:
            BackendUnavailable: the device is not the CPU.
            BuildFailed: the folder is incomplete or damaged.
        """
        _check_device(target)
        return ReferenceSession(built / MODEL_FILE)

    def versions(self) -> Mapping[str, str]:
        """Versions of onnx and NumPy."""
        return {"onnx": onnx.__version__, "numpy": np.__version__}


def _check_device(target: Target) -> None:
    if target.device != "cpu":
        raise BackendUnavailable(f"the reference evaluator has no device {target.device!r}", "use cpu")
