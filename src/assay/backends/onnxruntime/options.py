"""How ONNX Runtime is set up for a target, and what a built folder says of itself."""

from __future__ import annotations

import onnxruntime as ort

from assay.backends.onnxruntime.providers import QUIET, Chosen, Provider, choose_providers
from assay.backends.settings import BuiltSettings
from assay.core.precision import Precision
from assay.core.target import ServingMode, Target

UNWANTED_REWRITES = "MatMulAddFusion;WeightBiasQuantization"
"""Rewrites that are off where a graph holds quantize/dequantize pairs (seen in 1.31). MatMulAddFusion comes before the
integer rewrites and gets in their way: a MatMul with an Add behind it becomes a Gemm, which needs an integer bias and
an integer result to run on integers, where the MatMul alone does not. WeightBiasQuantization rounds the weights of
layers that the plan keeps in floats, to one scale for the whole tensor, wherever pairs stand on both sides of them."""

FLOAT_ACCURACY, INTEGER_ACCURACY = 1, 4
"""``accuracy_level`` at which MatMulNBits multiplies floats, and that at which it rounds its input to integers."""


class Settings(BuiltSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a model is run.

    Attributes:
        optimise: let ONNX Runtime rewrite the graph; off gives the exact semantics of every node.
        quantized: the graph has quantize/dequantize pairs that are to become integer operators.
        integers: let pairs become integer operators at all; off computes them in floats as they stand.
        group: activations that MatMulNBits rounds by one scale where they meet weights stored in integers; 0 for none.
        provider: what executes the graph.
        tf32: products in FP32 may round their operands to TF32, on CUDA.
        rest: float in which TensorRT may compute what an INT8 graph leaves in FP32.
    """

    optimise: bool = True
    quantized: bool = False
    integers: bool = True
    group: int = 0
    provider: Provider = Provider.CPU
    tf32: bool = False
    rest: Precision = Precision.FP32


def find_providers(settings: Settings, device: str) -> Chosen:
    """Execution providers of a session on a device (``cpu``, ``cuda:0``), as built.

    Raises:
        BackendUnavailable: ONNX Runtime cannot use the device here.
    """
    return choose_providers(settings.provider, device, tf32=settings.tf32, rest=settings.rest)


def make_options(target: Target, settings: Settings) -> ort.SessionOptions:
    """Session options of a target.

    In throughput mode a call has one thread, and as many calls run at once as the target has threads.
    """
    options = ort.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = target.threads if target.mode is ServingMode.LATENCY else 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # Workers that spin after a call has ended would take their cores from the next session's call.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if settings.quantized:
        options.add_session_config_entry("optimization.disable_specified_optimizers", UNWANTED_REWRITES)
    level = INTEGER_ACCURACY if settings.group else FLOAT_ACCURACY
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", str(level))
    if settings.group:
        options.add_session_config_entry("session.qdq_matmulnbits_block_size", str(settings.group))
    if not settings.integers:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if not settings.optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options
