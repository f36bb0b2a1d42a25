"""From an ONNX file to an engine: parsed, typed as the graph is, built for one kind of GPU."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assay.backends.tensorrt.cuda import call
from assay.backends.tensorrt.errors import Messages, describe_parser_errors, make_logger, mapped_errors, to_build_error
from assay.backends.tensorrt.place import Place
from assay.backends.tensorrt.profiles import add_profile
from assay.backends.tensorrt.timing_cache import find_cache_file, load_cache, store_cache
from assay.backends.tensorrt.vendor import Vendor
from assay.core.errors import BuildFailed
from assay.core.target import ShapeRange

WORKSPACE_BYTES = 4 << 30
"""Scratch memory that a layer may take: fits beside weights and activations into the 16 GB of a T4."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built.

    Attributes:
        place: the GPU, here or elsewhere.
        ranges: shapes of the inputs.
        tf32: products of FP32 may be computed in TF32, which keeps 10 bits of the fraction.
        workspace_bytes: scratch memory that a layer may take.
        names: of the model's nodes, by which messages are understood.
    """

    place: Place
    ranges: Sequence[ShapeRange]
    tf32: bool = False
    workspace_bytes: int = WORKSPACE_BYTES
    names: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Parsed:
    """A model in TensorRT's form, with what it stands on: the vendor's objects must outlive each other.

    Attributes:
        messages: that the parser and the builder logged.
        keep: what must not be freed before the builder.
    """

    builder: Any
    network: Any
    messages: Messages
    keep: tuple[Any, ...] = field(repr=False, default=())


def parse_model(model: Path, vendor: Vendor) -> Parsed:
    """Parse an ONNX file into a strongly typed network; needs no GPU with TensorRT-RTX.

    Raises:
        BuildFailed: the parser refuses it; names the nodes.
    """
    module = vendor.module
    logger, messages = make_logger(module)
    with mapped_errors(BuildFailed, f"{vendor.title} cannot parse {model.name}", messages):
        builder = module.Builder(logger)
        typed = getattr(module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        network = builder.create_network(0 if typed is None else 1 << int(typed))
        parser = module.OnnxParser(network, logger)
        parsed = parser.parse_from_file(str(model))
    if not parsed:
        said = describe_parser_errors(parser) if parser.num_errors else messages.summarize()
        raise BuildFailed(f"{vendor.title} cannot parse {model.name}: {said}", "see docs/tensorrt.md for what it takes")
    return Parsed(builder, network, messages, (parser, logger))


def build_engine(model: Path, into: Path, vendor: Vendor, order: Order) -> tuple[str, ...]:
    """Parse a model and write its engine.

    Args:
        model: an ONNX file, external data beside it.
        into: file of the engine.
        vendor: form of TensorRT.
        order: what to build.

    Returns:
        What the vendor warned of.

    Raises:
        BuildFailed: the parser or the builder refuses the model; names the node where they do.
    """
    if order.place.gpu is not None:
        with mapped_errors(BuildFailed, f"{order.place.gpu.device} cannot be used"):
            call("cudaSetDevice", order.place.gpu.index)
    parsed = parse_model(model, vendor)
    with mapped_errors(BuildFailed, f"{vendor.title} cannot build {model.name}", parsed.messages):
        config = _configure(parsed, vendor, order)
        engine = parsed.builder.build_serialized_network(parsed.network, config)
    if engine is None:
        raise to_build_error(vendor.title, model.name, parsed.messages, order.names)
    into.write_bytes(memoryview(engine))
    if not vendor.ahead:
        store_cache(config, find_cache_file(vendor.version, order.place.capability))
    return tuple(dict.fromkeys(parsed.messages.warnings))


def _configure(parsed: Parsed, vendor: Vendor, order: Order) -> Any:  # noqa: ANN401 - the vendor's object has no types
    """What the builder is told: shapes, kind of GPU, memory, TF32; and to keep the names that the audit reads."""
    module = vendor.module
    config = parsed.builder.create_builder_config()
    config.profiling_verbosity = module.ProfilingVerbosity.DETAILED
    config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, order.workspace_bytes)
    if order.tf32:
        config.set_flag(module.BuilderFlag.TF32)
    else:
        config.clear_flag(module.BuilderFlag.TF32)
    if vendor.ahead:
        kind = getattr(module.ComputeCapability, order.place.capability.device.upper())
        config.num_compute_capabilities = 1
        config.set_compute_capability(kind, 0)
    else:
        load_cache(config, find_cache_file(vendor.version, order.place.capability))
    add_profile(parsed.builder, config, parsed.network, order.ranges)
    return config
