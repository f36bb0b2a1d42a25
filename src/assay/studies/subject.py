"""The model under study: checked, prepared, described."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from assay.core.tensor import Feeds, Signature, TensorSpec
from assay.decide.propose import ModelTraits
from assay.graph.arithmetic import count_macs, count_macs_at
from assay.graph.ingest import load_model
from assay.graph.prepare import prepare
from assay.graph.quantize_products import list_products
from assay.graph.quantize_tables import list_tables
from assay.graph.repair import list_repairs
from assay.graph.signature import describe_signature
from assay.studies.files import hash_file
from assay.studies.record import ModelProvenance
from assay.studies.sample import count_feeds

CONVOLUTIONS = {"Conv", "ConvTranspose"}
TRANSFORMER_MARKS = {"LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization", "Attention"}
PRODUCTS = {"MatMul", "Gemm"}


@dataclass(frozen=True, slots=True)
class Subject:
    """The model under study.

    Attributes:
        prepared: folded and named, the source of every plan's graph.
        fixed_batch: the batch axis where the model fixes it, else None.
    """

    prepared: ir.Model
    signature: Signature
    provenance: ModelProvenance
    traits: ModelTraits
    fixed_batch: int | None


def hash_with_data(path: Path, model: ir.Model) -> tuple[str, int]:
    """Content hash and bytes of a model file with its external data files."""
    files = {path}
    for value in model.graph.initializers.values():
        if isinstance(value.const_value, ir.ExternalTensor):
            files.add(Path(value.const_value.path))
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(bytes.fromhex(hash_file(file)))
    content = hash_file(path) if len(files) == 1 else digest.hexdigest()
    return content, sum(file.stat().st_size for file in files)


def describe_spec(spec: TensorSpec) -> str:
    """A tensor in words, such as ``image float32 [batch, 3, 224, 224]``."""
    shape = "of any rank" if spec.shape is None else f"[{', '.join(str(axis or '?') for axis in spec.shape)}]"
    return f"{spec.name} {spec.dtype} {shape}"


def find_traits(model: ir.Model) -> ModelTraits:
    """What the proposer wants to know of a model."""
    nodes = tuple(model.graph.all_nodes())
    operators = {node.op_type for node in nodes}
    return ModelTraits(
        has_convolutions=bool(operators & CONVOLUTIONS),
        has_attention_or_norms=bool(operators & TRANSFORMER_MARKS) or any(is_attention(node) for node in nodes),
        repairs=list_repairs(model),
        has_tables=bool(list_tables(model)),
        has_products=holds_products(model),
    )


def holds_products(model: ir.Model) -> bool:
    """Whether weights of matrix products are half of the parameters or more, tables apart, as in transformers.

    Not for convolutional networks, whose last layers may be large but take little of the time.
    """
    nodes = tuple(model.graph.all_nodes())
    if any(node.op_type in CONVOLUTIONS for node in nodes) and not any(is_attention(node) for node in nodes):
        return False
    products, tables = list_products(model), list_tables(model)
    sizes = {
        str(name): int(value.const_value.size)
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and value.const_value.dtype is ir.DataType.FLOAT
    }
    others = sum(size for name, size in sizes.items() if name not in products and name not in tables)
    return bool(products) and sum(products.values()) >= others


def is_attention(node: ir.Node) -> bool:
    """A softmax whose result is multiplied: one at the end of a classifier is not."""
    if node.op_type != "Softmax":
        return False
    users = [user for user in node.outputs[0].consumers() if user.op_type != "Dropout"]
    return any(user.op_type in PRODUCTS for user in users)


def find_fixed_batch(signature: Signature) -> int | None:
    """The batch size where an input fixes its first axis."""
    for spec in signature.inputs:
        if spec.shape and isinstance(spec.shape[0], int):
            return spec.shape[0]
    return None


def has_open_axes(signature: Signature) -> bool:
    """Whether an input has an axis of open length besides that of the items: the data settle it."""
    return any(not isinstance(axis, int) for spec in signature.inputs for axis in (spec.shape or ())[1:])


def count_with(subject: Subject, sample: Feeds) -> Subject:
    """The subject with its multiply-accumulates per item, where the lengths of items settle them.

    Args:
        subject: as loaded.
        sample: a call of typical items.
    """
    if not has_open_axes(subject.signature):
        return subject
    size = count_feeds(sample)
    macs = count_macs_at(subject.prepared, {name: array.shape for name, array in sample.items()})
    return replace(subject, provenance=replace(subject.provenance, macs=round(sum(macs.values()) / size)))


def load_subject(path: Path) -> Subject:
    """Read, check and prepare a model.

    Raises:
        ModelError: naming the file and the node.
    """
    model = load_model(path)
    signature = describe_signature(model)
    content, size_bytes = hash_with_data(path, model)
    prepared = prepare(model)
    provenance = ModelProvenance(
        file=path.name,
        sha256=content,
        opset=model.opset_imports.get("", 0),
        parameters=sum(v.const_value.size for v in model.graph.initializers.values() if v.const_value is not None),
        size_bytes=size_bytes,
        macs=0 if has_open_axes(signature) else sum(count_macs(prepared).values()),
        inputs=tuple(describe_spec(spec) for spec in signature.inputs),
        outputs=tuple(describe_spec(spec) for spec in signature.outputs),
    )
    return Subject(prepared, signature, provenance, find_traits(prepared), find_fixed_batch(signature))
