"""The one enumeration of number formats, and what describes an integer encoding."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """Number format in which a tensor is stored or an operator computes."""

    FP32 = "fp32"
    TF32 = "tf32"
    """FP32 tensors whose products round their operands to 10 fraction bits: for matrix units of CUDA devices alone."""

    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"
    FP8 = "fp8"
    """E4M3 without infinities, 4 exponent and 3 fraction bits, under a scale (Micikevicius et al. 2022)."""

    INT4 = "int4"
    """For stored weights alone: nothing multiplies in it."""

    @property
    def bits(self) -> int:
        """Width of one element in bits, as it is stored."""
        return {
            Precision.FP32: 32,
            Precision.TF32: 32,
            Precision.BF16: 16,
            Precision.FP16: 16,
            Precision.INT8: 8,
            Precision.FP8: 8,
            Precision.INT4: 4,
        }[self]

    @property
    def largest(self) -> float:
        """Largest finite magnitude.

        Sources: IEEE 754-2019; bfloat16 has 8 exponent and 7 fraction bits, TF32 8 and 10; Micikevicius et al. 2022,
        "FP8 formats for deep learning", table 1.
        """
        return {
            Precision.FP32: 3.4028234663852886e38,
            Precision.TF32: 3.4011621342146535e38,
            Precision.BF16: 3.3895313892515355e38,
            Precision.FP16: 65504.0,
            Precision.INT8: 127.0,
            Precision.FP8: 448.0,
            Precision.INT4: 7.0,
        }[self]


ARITHMETIC = tuple(precision for precision in Precision if precision is not Precision.INT4)
"""Formats that a product can be computed in."""
STANDARD_PRECISIONS = tuple(precision for precision in ARITHMETIC if precision not in {Precision.TF32, Precision.FP8})
"""Formats that are tried where none are named: 4 bits lose too much of most models, few devices have TF32 or FP8."""


class IntegerFormat(StrEnum):
    """Eight-bit integer encoding of a quantized tensor."""

    U8 = "u8"
    S8 = "s8"

    @property
    def lowest(self) -> int:
        """Smallest code."""
        return 0 if self is IntegerFormat.U8 else -128

    @property
    def highest(self) -> int:
        """Largest code."""
        return 255 if self is IntegerFormat.U8 else 127


class RangeMethod(StrEnum):
    """How the clipping range of an activation is solved from its statistics."""

    MIN_MAX = "min-max"
    """Every value seen."""

    MSE = "mse"
    """Least squared error among clips that cut no value badly."""

    WEIGHTED_MSE = "weighted-mse"
    """The same with errors weighted by the magnitude of the value."""

    PERCENTILE = "percentile"
    """All but one value in ten thousand."""

    MOVING_AVERAGE = "moving-average"
    """Mean over items of each item's minimum and maximum."""

    ENTROPY = "entropy"
    """Least Kullback-Leibler divergence of what is left (Migacz 2017)."""

    BEST = "best"
    """The one of all these that local error measures agree on, tensor by tensor."""


class Repair(StrEnum):
    """What is done to a model so that integers lose less of it."""

    EQUALISE = "equalise"
    """Evens out the channels of neighbouring weights, across activations that scale along (Nagel et al. 2019)."""

    OUTLIERS = "outliers"
    """Scales outlying channels of an activation down, and the weights that read them up."""

    SMOOTH = "smooth"
    """Moves part of the range of a matrix product's activations into its weights (Xiao et al. 2023, SmoothQuant)."""

    BIAS = "bias"
    """Takes the mean shift that rounded weights cause out of the biases (Nagel et al. 2019)."""

    ROUND = "round"
    """Rounds weights up or down by what the layer's output loses (Nagel et al. 2020, AdaRound)."""


class Placement(StrEnum):
    """Where quantize/dequantize pairs stand in the graph."""

    OPERANDS = "operands"
    """On the inputs of Conv, MatMul and Gemm only: what transformers want."""

    CHAIN = "chain"
    """Also on outputs, Add and pools, so that activations stay integer between layers: what CNNs want."""


class WeightStyle(StrEnum):
    """What a plan that quantizes weights without calibration does with the activations that they multiply."""

    WEIGHTS = "weights"
    """Leaves them in floats, or lets the runtime round small groups of them as it multiplies."""

    DYNAMIC = "dynamic"
    """Quantizes each of them in every call, by the range that it has there."""


class CastStyle(StrEnum):
    """How a runtime is told to compute in a 16-bit float."""

    TYPED = "typed"
    """The ONNX graph itself is typed: 16-bit tensors with Cast nodes around what stays FP32."""

    HINT = "hint"
    """The graph stays FP32 at its interfaces, weights are stored in 16 bits, and the runtime is asked to compute so."""
