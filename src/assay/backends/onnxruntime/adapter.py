"""ONNX Runtime as a backend of Assay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import onnxruntime as ort

from assay.backends.backend import Availability, Support
from assay.backends.model_files import MODEL_FILE, copy_model
from assay.backends.onnxruntime.capabilities import (
    ELEMENT_TYPES,
    machine_saturates,
    make_dialect,
    make_engine_dialect,
    refuse_reason,
)
from assay.backends.onnxruntime.options import Settings, find_providers
from assay.backends.onnxruntime.providers import PACKAGES, Provider, explain_missing, list_devices
from assay.backends.onnxruntime.session import OnnxRuntimeSession
from assay.backends.onnxruntime.stored_weights import list_weight_schemes, refuse_scheme
from assay.core.errors import BackendUnavailable, UnsupportedPlan
from assay.core.plan import IntegerDialect, Plan, WeightScheme
from assay.core.precision import CastStyle, Precision
from assay.core.session import Session
from assay.core.target import Target

NAMES = {
    Provider.CPU: "onnxruntime",
    Provider.CUDA: "onnxruntime-cuda",
    Provider.TENSORRT: "onnxruntime-tensorrt",
    Provider.RTX: "onnxruntime-rtx",
}
"""Provider -> name in the table."""


class OnnxRuntimeBackend:
    """ONNX Runtime on the CPU, or on what another provider runs on.

    Args:
        provider: what executes the graphs.
        optimise: off builds artifacts that run every node as it stands (``ORT_DISABLE_ALL``): the exact semantics
            of a quantize/dequantize graph, to compare with.
        integers: off builds artifacts that compute quantize/dequantize pairs in floats, as they stand.
    """

    def __init__(self, *, provider: Provider = Provider.CPU, optimise: bool = True, integers: bool = True) -> None:
        self._settings = Settings(optimise=optimise, integers=integers, provider=provider)

    @property
    def name(self) -> str:
        """Its name in the table."""
        return NAMES[self._settings.provider]

    def probe(self) -> Availability:
        """The installed version and its devices, or why the provider is not there."""
        provider = self._settings.provider
        devices = list_devices(provider)
        if devices:
            return Availability(available=True, version=ort.__version__, devices=devices)
        missing, remedy = explain_missing(provider, 0), PACKAGES[provider]
        return Availability(available=False, version=ort.__version__, missing=missing, remedy=remedy)

    def dialects(self, target: Target) -> tuple[IntegerDialect, ...]:
        """On the CPU u8 asymmetric activations and s8 per-channel weights: s8 activations are slower than FP32.

        TensorRT takes s8 around 0. The CUDA provider has no integer convolutions or products for such graphs: it would
        compute the pairs in floats.
        """
        find_providers(self._settings, target.device)
        if self._settings.provider is Provider.CPU:
            return (make_dialect(saturates=machine_saturates()),)
        return (make_engine_dialect(),) if self._settings.provider.compiles else ()

    def weight_schemes(self, precision: Precision, target: Target) -> tuple[WeightScheme, ...]:
        """Activations quantized in every call; and weights that MatMulNBits multiplies by rounded groups of them."""
        find_providers(self._settings, target.device)
        return list_weight_schemes(precision) if self._settings.provider is Provider.CPU else ()

    def cast_style(self, precision: Precision, target: Target) -> CastStyle:
        """Graphs that are typed themselves."""
        del precision, target
        return CastStyle.TYPED

    def rests(self, target: Target) -> tuple[Precision, ...]:
        """FP32 alone: 16-bit floats run as FP32 between casts. TensorRT computes in FP16 what may."""
        del target
        if self._settings.provider is Provider.TENSORRT:
            return (Precision.FP16, Precision.FP32)
        return (Precision.FP32,)

    def supports(self, plan: Plan, target: Target) -> Support:
        """Whether the runtime has kernels for the plan's formats; for 16-bit floats it is asked with a tiny model."""
        try:
            find_providers(self._settings, target.device)
        except BackendUnavailable as err:
            return Support(supported=False, reason=str(err))
        reason = self._refuse_form(plan, target) or _refuse_floats(plan, target, self._settings.provider)
        return Support(supported=not reason, reason=reason)

    def _refuse_form(self, plan: Plan, target: Target) -> str:
        """Why a plan is not written as the runtime wants it; empty where it is."""
        if plan.cast is CastStyle.HINT:
            return "ONNX Runtime takes 16-bit floats as typed graphs, not as a hint"
        provider = self._settings.provider
        if plan.precision is Precision.TF32 and provider is not Provider.CUDA:
            return f"ONNX Runtime's {provider} provider cannot be told to use TF32"
        if plan.quantizes and provider is Provider.CUDA:
            return "ONNX Runtime's CUDA provider computes quantize/dequantize pairs in floats"
        if plan.weights is not None and provider is not Provider.CPU:
            return f"ONNX Runtime's {provider} provider is given calibrated INT8 alone"
        if plan.quantizes and plan.rest not in self.rests(target):
            return f"ONNX Runtime would run the {plan.rest} rest of an INT8 plan in fp32 between casts"
        return refuse_scheme(plan) if plan.precision is Precision.INT4 or plan.weights is not None else ""

    def build(self, model: Path, into: Path, plan: Plan, target: Target) -> None:
        """Copy the model with its external data, and prove that it loads.

        Raises:
            BackendUnavailable: the device is missing.
            UnsupportedPlan: the runtime has no kernel for the plan's formats.
            BuildFailed: the runtime refused the model.
        """
        find_providers(self._settings, target.device)
        support = self.supports(plan, target)
        if not support.supported:
            raise UnsupportedPlan(support.reason, "choose another precision or runtime")
        copy_model(model, into)
        group = 0 if plan.weights is None else plan.weights.group
        settings = msgspec.structs.replace(
            self._settings,
            quantized=plan.quantizes,
            group=group,
            tf32=plan.precision is Precision.TF32,
            rest=plan.rest if plan.quantizes else Precision.FP32,
        )
        settings.write(into)
        self.open(into, target).close()

    def open(self, built: Path, target: Target) -> Session:
        """Open a built folder.

        Raises:
            BackendUnavailable: the device is missing.
            BuildFailed: the folder is incomplete or damaged, or the runtime refused the model.
            UnsupportedPlan: the runtime has no kernel for an operator in its number format.
        """
        return OnnxRuntimeSession(built / MODEL_FILE, target, Settings.read(built))

    def versions(self) -> Mapping[str, str]:
        """ONNX Runtime's version."""
        return {"onnxruntime": ort.__version__}


class OnnxRuntimeCuda(OnnxRuntimeBackend):
    """ONNX Runtime on its CUDA provider."""

    def __init__(self) -> None:
        super().__init__(provider=Provider.CUDA)


class OnnxRuntimeTensorRt(OnnxRuntimeBackend):
    """ONNX Runtime on its TensorRT provider."""

    def __init__(self) -> None:
        super().__init__(provider=Provider.TENSORRT)


class OnnxRuntimeRtx(OnnxRuntimeBackend):
    """ONNX Runtime on its NV TensorRT RTX provider."""

    def __init__(self) -> None:
        super().__init__(provider=Provider.RTX)


def _refuse_floats(plan: Plan, target: Target, provider: Provider) -> str:
    """Why a float of 8 or 16 bits of the plan cannot be computed in; empty where it can, or there is none."""
    if plan.precision is Precision.FP8:
        reason = "is given calibrated INT8 alone" if provider.compiles else "would compute 8-bit floats in fp32"
        return f"ONNX Runtime's {provider} provider {reason}"
    for precision in {plan.precision, *(kept for _, kept in plan.overrides)} & {Precision.FP16, Precision.BF16}:
        refused = refuse_reason(precision, target.device, provider)
        if refused:
            return f"ONNX Runtime has no {precision} kernels: {refused}"
    kept = [(node, kept) for node, kept in plan.overrides if plan.quantizes and kept in ELEMENT_TYPES]
    told = (
        f"node {node!r} is to run in {kept}, which ONNX Runtime would run in fp32 between casts" for node, kept in kept
    )
    return next(told, "")
