"""ONNX Runtime's execution providers: which one a device and a choice stand for, and why one is not there."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Any

import onnxruntime as ort
from onnx import TensorProto, helper

from assay.backends.onnxruntime.errors import VENDOR_ERRORS, describe
from assay.core.errors import BackendUnavailable
from assay.core.precision import Precision


class Provider(StrEnum):
    """What executes the nodes of a graph."""

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    RTX = "rtx"

    @property
    def vendor_name(self) -> str:
        """Its name in ONNX Runtime."""
        return {
            Provider.CPU: CPU,
            Provider.CUDA: "CUDAExecutionProvider",
            Provider.TENSORRT: "TensorrtExecutionProvider",
            Provider.RTX: "NvTensorRTRTXExecutionProvider",
        }[self]

    @property
    def compiles(self) -> bool:
        """Whether it turns parts of the graph into engines, of whose nodes ONNX Runtime tells nothing."""
        return self in {Provider.TENSORRT, Provider.RTX}


CPU = "CPUExecutionProvider"
PACKAGES = {
    Provider.CUDA: "install onnxruntime-gpu in place of onnxruntime, on a machine with an NVIDIA GPU",
    Provider.TENSORRT: "install onnxruntime-gpu in place of onnxruntime, and TensorRT 10 beside it",
    Provider.RTX: "use a build of ONNX Runtime with the NV TensorRT RTX provider, and TensorRT-RTX beside it",
}
QUIET = 4
"""Log nothing but fatal messages: every error comes as an exception already, and warnings are not for the user."""
Chosen = list[Any]
"""As ``InferenceSession`` takes providers."""


def list_devices(provider: Provider) -> tuple[str, ...]:
    """Devices that a provider runs on here: the CPU, or the first GPU where it loads."""
    if provider is Provider.CPU:
        return ("cpu",)
    return () if explain_missing(provider, 0) else ("cuda:0",)


def choose_providers(
    provider: Provider, device: str, *, tf32: bool = False, rest: Precision = Precision.FP32
) -> Chosen:
    """Providers of a session: the chosen one, then those that take what it leaves.

    Args:
        provider: to run on.
        device: ``cpu`` or ``cuda:1``.
        tf32: products in FP32 may round their operands, on CUDA.
        rest: float in which TensorRT may compute what is typed FP32.

    Raises:
        BackendUnavailable: ONNX Runtime cannot use the device, or lacks the provider; says why.
    """
    kind, _, number = device.partition(":")
    wanted = "cpu" if provider is Provider.CPU else "cuda"
    if kind != wanted or (number and (not number.isdecimal() or kind == "cpu")):
        raise BackendUnavailable(
            f"ONNX Runtime on {provider} cannot use the device {device!r}", f"devices are {wanted}"
        )
    if provider is Provider.CPU:
        return [CPU]
    index = int(number or 0)
    reason = explain_missing(provider, index)
    if reason:
        raise BackendUnavailable(f"ONNX Runtime cannot use {device!r}: {reason}", PACKAGES[provider])
    chosen: Chosen = [(provider.vendor_name, make_options(provider, index, tf32=tf32, rest=rest))]
    if provider.compiles and Provider.CUDA.vendor_name in ort.get_available_providers():
        chosen.append((Provider.CUDA.vendor_name, make_options(Provider.CUDA, index, tf32=tf32)))
    return [*chosen, CPU]


def make_options(
    provider: Provider, index: int, *, tf32: bool = False, rest: Precision = Precision.FP32
) -> dict[str, str]:
    """Options of a provider on a GPU, as ONNX Runtime spells them.

    TensorRT 10 reads INT8 from quantize/dequantize pairs, and 16-bit floats from types or, where the rest of such a
    graph may be FP16, by its own choice.
    """
    options = {"device_id": str(index)}
    if provider is Provider.CUDA:
        options |= {"use_tf32": str(int(tf32)), "cudnn_conv_algo_search": "EXHAUSTIVE"}
    elif provider is Provider.TENSORRT:
        options |= {"trt_int8_enable": "1", "trt_fp16_enable": str(int(rest is Precision.FP16))}
    return options


@cache
def explain_missing(provider: Provider, index: int) -> str:
    """Why a provider cannot run on a GPU; empty where it can, which a tiny session is asked for."""
    offered = ort.get_available_providers()
    if provider.vendor_name not in offered:
        return (
            f"this build of ONNX Runtime {ort.__version__} has no {provider.vendor_name}: it has {', '.join(offered)}"
        )
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1,)) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], "relu")], "probe", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.log_severity_level = QUIET
    try:
        found = ort.InferenceSession(
            model.SerializeToString(), options, providers=[(provider.vendor_name, make_options(provider, index))]
        ).get_providers()
    except VENDOR_ERRORS as err:
        return describe(err)
    if provider.vendor_name in found:
        return ""
    return f"{provider.vendor_name} does not load: its libraries or the driver of an NVIDIA GPU are not here"
