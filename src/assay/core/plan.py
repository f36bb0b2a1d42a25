"""Plans: which precision and quantization scheme the tensors get; and dialects: how a runtime wants them written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from assay.core.precision import CastStyle, IntegerFormat, Placement, Precision, RangeMethod, Repair, WeightStyle


@dataclass(frozen=True, slots=True)
class IntegerDialect:
    """One form of quantize/dequantize graph that a runtime executes as integers.

    Attributes:
        activation: encoding of activations.
        symmetric: the zero point must be the middle of the code range (0 for s8).
        weight: encoding of weights, always symmetric with zero point 0.
        per_channel: one weight scale per output channel instead of one per tensor.
        integer_bias: biases are int32 with scale ``activation scale * weight scale``; otherwise they stay FP32.
        chain_operators: ONNX operators beside Conv, MatMul and Gemm that the runtime executes on integers.
        weight_block: elements of a weight's reduction axis that share a scale; 0 for the whole axis.
        reduced_range: weights use 7 bits (-64..64), for CPUs whose u8 x s8 product saturates in 16 bits.
    """

    activation: IntegerFormat
    symmetric: bool
    weight: IntegerFormat = IntegerFormat.S8
    per_channel: bool = True
    integer_bias: bool = False
    chain_operators: frozenset[str] = frozenset()
    reduced_range: bool = False
    weight_block: int = 0

    @property
    def name(self) -> str:
        """Activation and weight encodings, such as ``u8s8``."""
        return f"{self.activation}{self.weight}"


@dataclass(frozen=True, slots=True)
class Scheme:
    """How an INT8 plan quantizes: a dialect, a placement, a range method, and repairs in the order of the enum.

    Attributes:
        tables: large embedding tables are stored as rows of integers with a scale each; else as floats.
    """

    dialect: IntegerDialect
    placement: Placement
    ranges: RangeMethod
    repairs: tuple[Repair, ...] = ()
    tables: bool = False


@dataclass(frozen=True, slots=True)
class WeightScheme:
    """How a plan stores the weights of matrix products in integers, without calibrated ranges.

    Weights are symmetric, with a scale for every output channel.

    Attributes:
        style: what becomes of the activations.
        block: elements along a weight's reduction axis that share a scale; 0 for the whole axis.
        ragged: the runtime takes a last block that is shorter; else a block that does not divide the axis is halved
            until it does.
        group: neighbouring activations that the runtime rounds by one scale as it multiplies, for ``WEIGHTS``; 0 where
            it multiplies floats.
        tables: large embedding tables are stored as rows of 8-bit integers with a scale each; else as floats.
        reduced_range: weights use 7 bits, for CPUs whose u8 x s8 product saturates in 16 bits.
        smooth: part of the range of loud activation channels is moved into the weights first (`Repair.SMOOTH`), which
            takes calibration data.
    """

    style: WeightStyle
    block: int = 0
    group: int = 0
    tables: bool = False
    reduced_range: bool = False
    ragged: bool = False
    smooth: bool = False

    @property
    def name(self) -> str:
        """Such as ``weights``, ``weights-block32-group64`` or ``dynamic-tables``."""
        parts = [str(self.style)]
        parts += [f"block{self.block}"] if self.block else []
        parts += [f"group{self.group}"] if self.group else []
        parts += ["smooth"] if self.smooth else []
        return "-".join(parts + (["tables"] if self.tables else []))


@dataclass(frozen=True, slots=True)
class FloatDialect:
    """One form of quantize/dequantize graph that a runtime multiplies in 8-bit floats.

    Activations have one scale, weights one per output channel; zero points are 0 and biases stay as they are. Pairs
    stand on the operands of products alone.

    Attributes:
        operators: ONNX operators beside Conv, MatMul and Gemm that the runtime multiplies so.
    """

    operators: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FloatScheme:
    """How an FP8 plan quantizes.

    Attributes:
        dialect: of the runtime.
        ranges: of activations and weights: MIN_MAX, or MSE by the steps of e4m3.
    """

    dialect: FloatDialect
    ranges: RangeMethod


@dataclass(frozen=True, slots=True)
class Plan:
    """Number formats for a whole model; knows no runtime.

    Attributes:
        precision: format of the operators that do the arithmetic (Conv, MatMul, Gemm); of their stored weights, where
            the plan has a scheme of weights.
        rest: format of everything else in an INT8 or FP8 plan (FP32, or BF16/FP16 where the runtime has them).
        scheme: set for INT8 plans whose ranges come from calibration.
        weights: set for INT8 and INT4 plans that quantize no more than weights before the first call.
        cast: set for FP16 and BF16 plans, and for plans that quantize and whose 16-bit rest is typed in the graph.
        overrides: node name -> format that differs from ``precision``.
        floats: set for FP8 plans.
    """

    precision: Precision
    rest: Precision = Precision.FP32
    scheme: Scheme | None = None
    cast: CastStyle | None = None
    overrides: tuple[tuple[str, Precision], ...] = field(default=())
    weights: WeightScheme | None = None
    floats: FloatScheme | None = None

    @property
    def quantizes(self) -> bool:
        """Whether it has values of 8 bits or fewer, which need scales: integers of any kind, or 8-bit floats."""
        return self.precision in {Precision.INT8, Precision.FP8, Precision.INT4}

    @property
    def name(self) -> str:
        """Short text that tells plans apart in one study, such as ``int8-u8s8-chain-mse-bf16``."""
        parts, scheme = [str(self.precision)], self.scheme
        if scheme is not None:
            parts += [scheme.dialect.name, str(scheme.placement), str(scheme.ranges).replace("-", "")]
            parts += [str(repair) for repair in scheme.repairs]
            parts += ["tables"] if scheme.tables else []
        if self.weights is not None:
            parts.append(self.weights.name)
        if self.floats is not None:
            parts.append(str(self.floats.ranges).replace("-", ""))
        if self.quantizes and self.rest is not Precision.FP32:
            parts.append(str(self.rest))
        if self.overrides:
            parts += [f"{len(self.overrides)}kept", self._digest()]
        return "-".join(parts)

    def _digest(self) -> str:
        """Six characters that tell apart plans which keep equally many nodes."""
        text = "\n".join(f"{name} {precision}" for name, precision in sorted(self.overrides))
        return hashlib.sha256(text.encode()).hexdigest()[:6]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plan for one runtime: what a trial tries.

    Attributes:
        device: that is not here, for what is only built (``sm86``); empty for what runs here.
    """

    runtime: str
    plan: Plan
    device: str = ""

    @property
    def id(self) -> str:
        """Identifier of the trial, unique in a study, such as ``openvino.int8-u8s8-chain-mse``."""
        return f"{self.runtime}{f'@{self.device}' if self.device else ''}.{self.plan.name}"

    @property
    def place(self) -> str:
        """Runtime, and the device that is only built for: ``tensorrt for sm86``."""
        return f"{self.runtime} for {self.device}" if self.device else self.runtime
