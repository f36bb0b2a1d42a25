"""TensorRT as a backend of Assay."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx

from assay.backends.backend import Availability, Support
from assay.backends.model_files import external_locations, read_graph, read_signature
from assay.backends.tensorrt import plans
from assay.backends.tensorrt.arithmetic import write_graph
from assay.backends.tensorrt.cuda import list_gpus
from assay.backends.tensorrt.engine import WORKSPACE_BYTES, Order, build_engine
from assay.backends.tensorrt.place import Place, describe, find_place, list_builds
from assay.backends.tensorrt.profiles import plan_shapes
from assay.backends.tensorrt.session import TensorRtSession
from assay.backends.tensorrt.settings import GRAPH_FILE, Settings
from assay.backends.tensorrt.unsigned import find_unsigned
from assay.backends.tensorrt.vendor import INSTALL, Vendor, load_vendor
from assay.core.errors import BackendUnavailable, BuildFailed, UnsupportedPlan
from assay.core.plan import FloatDialect, IntegerDialect, Plan, WeightScheme
from assay.core.precision import CastStyle, Precision
from assay.core.session import Session
from assay.core.target import Target

DIGITS = 12
"""Of the model's hash, in the name of an engine's file."""


class TensorRtBackend:
    """TensorRT on a GPU of this machine, or TensorRT-RTX, which also builds for GPUs that are not here.

    Networks are strongly typed: FP16 and BF16 are typed ONNX, INT8 and FP8 are explicit Q/DQ.

    Args:
        workspace_bytes: scratch memory that a layer may take.
    """

    def __init__(self, workspace_bytes: int = WORKSPACE_BYTES) -> None:
        self._workspace_bytes = workspace_bytes

    @property
    def name(self) -> str:
        """Its name in the table."""
        return "tensorrt"

    @property
    def shaped(self) -> bool:
        """Engines take the shapes that they were built for alone."""
        return True

    def probe(self) -> Availability:
        """Which form is installed, the GPUs that it runs on, and those that it builds for; never raises."""
        try:
            vendor = load_vendor()
        except BackendUnavailable as err:
            return Availability(available=False, missing=err.message, remedy=err.hint)
        gpus, reason = list_gpus()
        devices = tuple(gpu.device for gpu in gpus if vendor.runs_on(gpu))
        version, builds = f"{vendor.title} {vendor.version}", list_builds(vendor)
        if devices:
            return Availability(available=True, version=version, devices=devices, builds=builds)
        strangers = ", ".join(describe(gpu) for gpu in gpus)
        missing = f"{vendor.title} does not run on {strangers}" if gpus else reason
        remedy = "run on a machine with an NVIDIA GPU and its driver" + ("" if builds else f", or {INSTALL}")
        return Availability(available=False, version=version, missing=missing, remedy=remedy, builds=builds)

    def dialects(self, target: Target) -> tuple[IntegerDialect, ...]:
        """Symmetric s8 activations and per-channel weights, zero points 0, float biases: nothing else is parsed."""
        self._find_place(target)
        return (plans.DIALECT,)

    def weight_schemes(self, precision: Precision, target: Target) -> tuple[WeightScheme, ...]:
        """Weights in integers, multiplied in floats; in 4 bits from compute capability 8.0 on."""
        return plans.list_weight_schemes(precision, self._find_place(target).capability)

    def float_dialect(self, target: Target) -> FloatDialect | None:
        """8-bit floats (e4m3) on the operands of products, from compute capability 8.9 on."""
        lacking = self._find_place(target).capability.lacks(Precision.FP8)
        return None if lacking else plans.FLOAT_DIALECT

    def cast_style(self, precision: Precision, target: Target) -> CastStyle:
        """Graphs that are typed themselves."""
        del precision, target
        return CastStyle.TYPED

    def rests(self, target: Target) -> tuple[Precision, ...]:
        """FP16, then FP32."""
        self._find_place(target)
        return plans.RESTS

    def supports(self, plan: Plan, target: Target) -> Support:
        """Whether the GPU has the plan's formats, and TensorRT takes the plan's form."""
        try:
            place = self._find_place(target)
        except BackendUnavailable as err:
            return Support(supported=False, reason=str(err))
        reason = plans.refuse_plan(plan, place.capability)
        return Support(supported=not reason, reason=reason)

    def build(self, model: Path, into: Path, plan: Plan, target: Target) -> None:
        """Parse a model and build its engine, for the target's shapes; needs no GPU where the target is none of here.

        Raises:
            BackendUnavailable: TensorRT or the GPU is missing.
            UnsupportedPlan: see ``supports``; or the model quantizes to u8, which the parser would take as s8.
            BuildFailed: the parser or the builder refuses the model; names the node where they do.
        """
        vendor, place = load_vendor(), self._find_place(target)
        reason = plans.refuse_plan(plan, place.capability)
        if reason:
            raise UnsupportedPlan(reason, "choose another precision or device")
        graph = read_graph(model)
        unsigned = find_unsigned(graph)
        if unsigned:
            message = f"node {unsigned!r} quantizes to u8, which {vendor.title} takes as s8: codes above 127 are lost"
            raise UnsupportedPlan(message, "quantize activations to s8 with zero point 0")
        signature = read_signature(model)
        ranges = plan_shapes(signature, target)
        name = name_engine(vendor, place, hash_model(model, graph))
        names = frozenset(node.name for node in graph.graph.node)
        tf32 = Precision.TF32 in {plan.precision, plan.rest}
        order = Order(place, ranges, tf32, self._workspace_bytes, names)
        build_engine(model, into / name, vendor, order)
        write_graph(graph, into / GRAPH_FILE)
        settings = Settings(
            engine=name,
            title=vendor.title,
            version=vendor.version,
            capability=str(place.capability),
            rest=Precision.TF32 if tf32 else Precision.FP32,
            inputs=signature.inputs,
            outputs=signature.outputs,
            ranges=ranges,
        )
        settings.write(into)

    def open(self, built: Path, target: Target) -> Session:
        """Open an engine on a GPU of this machine.

        Raises:
            BackendUnavailable: TensorRT or the GPU is missing.
            BuildFailed: the engine is for another GPU or version, or cannot be loaded.
        """
        settings, vendor, place = Settings.read(built), load_vendor(), self._find_place(target)
        if place.gpu is None:
            message = f"{target.device} is only built for: no GPU of this machine is named"
            raise BackendUnavailable(message, "name cuda:0 where there is one")
        asked = (vendor.title, vendor.version, str(place.capability))
        if asked != (settings.title, settings.version, settings.capability):
            message = f"{built} is for {settings.title} {settings.version} on compute capability {settings.capability}"
            raise BuildFailed(f"{message}; here is {asked[0]} {asked[1]} on {asked[2]}", "build it again here")
        return TensorRtSession(built, settings, vendor, place, target)

    def versions(self) -> Mapping[str, str]:
        """The form of TensorRT with its version."""
        vendor = load_vendor()
        return {vendor.title.lower(): vendor.version}

    def _find_place(self, target: Target) -> Place:
        """Where the target's engine is to run."""
        return find_place(target, load_vendor())


def hash_model(model: Path, graph: onnx.ModelProto) -> str:
    """Hash of a model's graph and of the files that its weights lie in."""
    digest = hashlib.sha256(model.read_bytes())
    for path in _list_weights(model, external_locations(graph)):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _list_weights(model: Path, locations: Iterable[str]) -> Iterable[Path]:
    """Files beside a model.

    Raises:
        BuildFailed: one is missing.
    """
    for location in sorted(set(locations)):
        path = model.parent / location
        if not path.is_file():
            raise BuildFailed(f"{model}: external data {location!r} is missing", "keep it beside the model")
        yield path


def name_engine(vendor: Vendor, place: Place, digest: str) -> str:
    """File of an engine: kind of GPU, form, version, model."""
    return f"{place.capability.device}-{vendor.title.lower()}-{vendor.version}-{digest[:DIGITS]}.engine"
