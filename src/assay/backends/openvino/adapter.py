"""The OpenVINO adapter: what OpenVINO can realise, and how a model is built for it and opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from assay.backends.backend import Availability, Support
from assay.backends.openvino.compilation import Compute, compile_model, order_ports, read_model
from assay.backends.openvino.errors import mapped_errors, summarize_error
from assay.backends.openvino.plans import find_compute, refuse_plan
from assay.backends.openvino.processor import is_exact_here
from assay.backends.openvino.profile import find_renamed
from assay.backends.openvino.quantizers import fuse_pairs
from assay.backends.openvino.session import OpenVinoSession
from assay.backends.openvino.settings import MODEL_FILE, Settings
from assay.backends.openvino.signs import find_lost_signs
from assay.backends.openvino.vendor import INSTALL, load_core, load_openvino, read_capabilities
from assay.core.errors import BackendUnavailable, BuildFailed, UnsupportedPlan
from assay.core.plan import IntegerDialect, Plan, WeightScheme
from assay.core.precision import CastStyle, IntegerFormat, Precision, WeightStyle
from assay.core.session import Session
from assay.core.target import Target

CHAIN_OPERATORS = frozenset(
    {"Add", "AveragePool", "Concat", "ConvTranspose", "GlobalAveragePool", "MaxPool", "ReduceMean"}
)
"""Operators that gain from integers around them (measured on a CPU with VNNI, one thread, between convolutions).

ConvTranspose is 2.8 times as fast, Add, pools and means 1.02 to 1.08 times; Resize, Pad, DepthToSpace, LeakyRelu and
HardSwish are the same either way. Mul and Sigmoid are slower in whole networks (0.8 to 0.9).
"""


GROUP = 64
"""Activations that share a run-time scale: 32 to 128 are as fast, 576 are slower (one thread, a CPU with VNNI)."""
BLOCKS = (32, 128)
"""Elements of a weight in 4 bits that share a scale."""


class OpenVinoBackend:
    """OpenVINO on the CPU.

    Under a hint OpenVINO decides by itself which nodes compute in 16 bits, and on the CPU takes no notice of the marks
    that keep a node in FP32 (``disable_fp16_compression``): Softmax, normalisation and reductions between matrix
    products read and write BF16. They compute and sum inside in FP32, and BF16 has FP32's range, so nothing
    overflows. A graph that is itself typed BF16 is executed as it is typed, node by node, under the hint ``f32``.

    So formats are mixed node by node in one direction: an INT8 plan that leaves the rest in FP32 may keep nodes in
    BF16, and these are typed. Under the hint ``bf16`` a newer mark (``DisablePrecisionConversion``, 2026.4) keeps
    convolutions in FP32; but a matrix product with constant weights forgets it, and a marked convolution that an
    unmarked Add is fused into does not compile. Typed mixes were measured as fast.
    """

    @property
    def name(self) -> str:
        """Its name in the table."""
        return "openvino"

    def probe(self) -> Availability:
        """Whether OpenVINO is installed and which devices it finds; never raises."""
        try:
            version = str(load_openvino().__version__)
            devices = tuple(str(device).lower().replace(".", ":") for device in load_core().available_devices)
        except BackendUnavailable as err:
            return Availability(available=False, missing=err.message, remedy=err.hint)
        except (AttributeError, RuntimeError) as err:
            return Availability(available=False, missing=f"OpenVINO is broken: {summarize_error(err)}", remedy=INSTALL)
        if "cpu" not in devices:
            return Availability(
                available=False, version=version, devices=devices, missing="the CPU plugin", remedy=INSTALL
            )
        return Availability(available=True, version=version, devices=devices)

    def dialects(self, target: Target) -> tuple[IntegerDialect, ...]:
        """Asymmetric u8 activations, fastest for convolutional nets; symmetric s8, fastest for transformers.

        Both take s8 weights per channel and float biases. u8 weights run in floats, and u8 activations with the
        fixed zero point 128 are the slowest of all. A product of two activations (attention) runs on integers only
        with symmetric s8.
        """
        if "INT8" not in read_capabilities(target.device):
            return ()
        narrow = not is_exact_here()
        return tuple(
            IntegerDialect(
                activation=activation,
                symmetric=activation is IntegerFormat.S8,
                chain_operators=CHAIN_OPERATORS,
                reduced_range=narrow,
            )
            for activation in (IntegerFormat.U8, IntegerFormat.S8)
        )

    def weight_schemes(self, precision: Precision, target: Target) -> tuple[WeightScheme, ...]:
        """Weights in integers under activations that are rounded in groups as they are multiplied, or not at all.

        Measured on a CPU with VNNI, one thread: one token at a time both are limited by the memory that the weights
        take, and as fast; for a whole prompt rounded groups are 1.8 times as fast as FP32, and floats as fast as it. A
        graph that quantizes activations itself (DynamicQuantizeLinear) is slower than either.
        """
        if "INT8" not in read_capabilities(target.device):
            return ()
        if precision is Precision.INT8:
            return tuple(WeightScheme(WeightStyle.WEIGHTS, group=group) for group in (GROUP, 0))
        if precision is Precision.INT4:
            return tuple(WeightScheme(WeightStyle.WEIGHTS, block=block, group=block) for block in BLOCKS)
        return ()

    def cast_style(self, precision: Precision, target: Target) -> CastStyle:
        """A hint, for both 16-bit formats.

        Measured as fast as a typed BF16 graph (0.9 to 1.1) and 0.3 to 4 dB nearer to FP32; a typed FP16 graph is
        widened to FP32 on a CPU without FP16.
        """
        del precision, target
        return CastStyle.HINT

    def rests(self, target: Target) -> tuple[Precision, ...]:
        """BF16 and FP32 where the device computes in BF16, else FP32."""
        return (Precision.BF16, Precision.FP32) if "BF16" in read_capabilities(target.device) else (Precision.FP32,)

    def supports(self, plan: Plan, target: Target) -> Support:
        """Whether the device has the plan's formats, and mixes them as the plan does.

        Beside integers and what the hint asks for, an INT8 plan with an FP32 rest may keep nodes in a 16-bit float
        that the device has. For a whole model FP16 is taken also where the device has no FP16 units: the file is
        halved, and the audit says in what it ran.
        """
        try:
            capabilities = read_capabilities(target.device)
        except BackendUnavailable as err:
            return Support(supported=False, reason=str(err))
        reason = refuse_plan(plan, target.device, capabilities)
        return Support(supported=not reason, reason=reason)

    def build(self, model: Path, into: Path, plan: Plan, target: Target) -> None:
        """Write the model as IR with its constants as they are stored, and prove that it compiles.

        Raises:
            BackendUnavailable: OpenVINO or the device is missing.
            UnsupportedPlan: see ``supports``.
            BuildFailed: OpenVINO refused the model.
        """
        # Opening what was built needs no ONNX package, whose import takes longer than opening a small model.
        from assay.backends.model_files import read_signature  # noqa: PLC0415

        module = load_openvino()
        support = self.supports(plan, target)
        if not support.supported:
            raise UnsupportedPlan(f"OpenVINO cannot realise {plan.name}: {support.reason}")
        signature = read_signature(model)
        compute = find_compute(plan)
        converted = read_model(model)
        fuse_pairs(converted)
        order_ports(converted.inputs, signature.inputs)
        order_ports(converted.outputs, signature.outputs)
        with mapped_errors(BuildFailed, f"OpenVINO cannot write {model} as IR", "is the disk full?"):
            module.save_model(converted, str(into / MODEL_FILE), compress_to_fp16=False)
        renamed = find_renamed(model, converted)
        group = 0 if plan.weights is None else plan.weights.group
        settings = Settings(
            inputs=signature.inputs, outputs=signature.outputs, compute=compute, group=group, renamed=renamed
        )
        settings.write(into)
        written = read_model(into / MODEL_FILE)
        lost = find_lost_signs(written, compile_model(written, target, Compute(compute, group)).compiled)
        if lost:
            message = f"OpenVINO hands on the signed codes of Concat {lost[0]!r} as unsigned: negative values are lost"
            raise UnsupportedPlan(message, "quantize activations to u8 for this model")

    def open(self, built: Path, target: Target) -> Session:
        """Open a built folder for running.

        Raises:
            BackendUnavailable: OpenVINO or the device is missing.
            BuildFailed: OpenVINO cannot load what was built.
        """
        read_capabilities(target.device)
        return OpenVinoSession(built, target)

    def versions(self) -> Mapping[str, str]:
        """OpenVINO's version with its build."""
        return {"openvino": str(load_openvino().get_version())}
