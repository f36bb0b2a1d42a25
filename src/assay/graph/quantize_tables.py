"""Stores embedding tables as rows of int8 with a scale each; lookups read the integers and scale what they found.

``Gather(table)`` becomes ``Gather(codes) -> Cast -> Mul(Gather(scales))``. Runtimes do not fold this, as the indices
are not known before the call, so the table stays in 8 bits in memory; a DequantizeLinear before the Gather would have
the whole table dequantized in every call. Row-wise scales: Guan et al., Post-training 4-bit quantization on embedding
tables, 2019.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.graph.naming import Namer
from assay.graph.quantize_roles import read_constant
from assay.graph.quantize_weights import PRODUCTS, store_initializer

LEAST_BYTES = 1 << 16
"""Float tables smaller than this stay as they are: their lookups would only take longer."""
LEAST_COLUMNS = 8
"""Rows narrower than this stay: a scale of four bytes for each would take most of what the integers save."""
LARGEST_CODE = 127
CHUNK_ELEMENTS = 1 << 22
"""Elements of a table that are rounded at a time: what a large one takes beyond itself."""
TABLE_RANK = 2


def list_tables(model: ir.Model, keep: Collection[str] = (), least_bytes: int = LEAST_BYTES) -> dict[str, int]:
    """Names of the float32 tables that ``quantize_tables`` would store in integers -> their bytes as floats.

    A table is an initializer ``[rows, columns]`` that lookups (Gather on axis 0) read by indices which are computed or
    given. It may be the weight of products besides (a tied output layer): where the plan gives these integers of their
    own, the lookups get theirs; else the floats stay, which would have to be in memory anyway.

    Args:
        model: a prepared one, or what other rewrites made of it.
        keep: names of nodes that stay in floats; a table that one of them reads stays, too.
        least_bytes: smaller tables are left out.
    """
    return {str(table.name): _count_bytes(table) for table in _find_tables(model, keep, least_bytes, tied=True)}


def quantize_tables(model: ir.Model, keep: Collection[str] = (), least_bytes: int = LEAST_BYTES) -> ir.Model:
    """The model with its large embedding tables as int8 rows, each with a scale of its own.

    Symmetric: a value is off by at most ``max |row| / 254``. A table that several lookups share stays shared; one that
    anything else reads stays as it is, so this comes after the rewrite that gives products integer weights.

    Args:
        model: a prepared one, or what other rewrites made of it; left as it is.
        keep: names of nodes that stay in floats; a table that one of them reads stays, too.
        least_bytes: smaller float tables stay as they are.
    """
    result = model.clone()
    graph = result.graph
    namer = Namer(graph)
    for table in _find_tables(result, keep, least_bytes, tied=False):
        codes, scales = encode_rows(_read_table(table))
        stored = store_initializer(graph, namer.name(f"{table.name}_rows"), codes)
        factors = store_initializer(graph, namer.name(f"{table.name}_row_scales"), scales)
        for lookup in [use.node for use in table.uses()]:
            _rewrite_lookup(lookup, stored, factors, namer)
        graph.initializers.pop(str(table.name))
    return result


def encode_rows(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Codes ``[rows, columns] int8`` and scales ``[rows, 1] float32`` whose product is the table, nearly.

    A row of zeros has the scale 0. A row so small that its scale would be subnormal becomes zeros.

    Args:
        table: ``[rows, columns] float32``, finite.
    """
    rows, columns = table.shape
    codes = np.zeros((rows, columns), np.int8)
    scales = np.zeros((rows, 1), np.float32)
    step = max(1, CHUNK_ELEMENTS // max(columns, 1))
    for start in range(0, rows, step):
        part = table[start : start + step]
        scale = np.abs(part).max(axis=1, keepdims=True, initial=0.0) / np.float32(LARGEST_CODE)
        scale = np.where(scale < np.finfo(np.float32).tiny, np.float32(0), scale)
        ratio = np.divide(part, scale, out=np.zeros_like(part), where=scale > 0)
        codes[start : start + step] = np.clip(np.rint(ratio), -LARGEST_CODE, LARGEST_CODE).astype(np.int8)
        scales[start : start + step] = scale
    return codes, scales


def _find_tables(model: ir.Model, keep: Collection[str], least_bytes: int, *, tied: bool) -> list[ir.Value]:
    """Initializers of the main graph that are worth storing in integers, in the graph's order."""
    return [
        value
        for value in model.graph.initializers.values()
        if _is_float_matrix(value, least_bytes)
        and _is_table(value, keep, tied=tied)
        and np.isfinite(_read_table(value)).all()
    ]


def _is_table(value: ir.Value, keep: Collection[str], *, tied: bool) -> bool:
    """Whether lookups read a matrix, and nothing else, or else only products as their weight."""
    lookups = [use.node for use in value.uses() if _is_lookup(use.node, use.idx)]
    others = [use for use in value.uses() if not _is_lookup(use.node, use.idx)]
    if not lookups or any(node.name in keep for node in lookups):
        return False
    return not others or (tied and all(use.node.op_type in PRODUCTS and use.idx == 1 for use in others))


def _is_float_matrix(value: ir.Value, least_bytes: int) -> bool:
    """Whether an initializer that is read has the type and shape of a table, and its size."""
    tensor = value.const_value
    if tensor is None or tensor.dtype is not ir.DataType.FLOAT or len(tensor.shape) != TABLE_RANK:
        return False
    if value.is_graph_input() or value.is_graph_output() or not value.uses():
        return False
    return _count_bytes(value) >= least_bytes and tensor.numpy().shape[1] >= LEAST_COLUMNS


def _is_lookup(node: ir.Node, index: int) -> bool:
    """Whether a node reads the value as the table of a lookup whose indices are not constants."""
    if node.op_type != "Gather" or node.domain not in {"", "ai.onnx"} or index != 0:
        return False
    indices = node.inputs[1]
    constant = indices is not None and indices.is_initializer() and not indices.is_graph_input()
    return node.attributes.get_int("axis", 0) in {0, -TABLE_RANK} and not constant


def _count_bytes(table: ir.Value) -> int:
    """Of a table."""
    return 0 if table.const_value is None else int(table.const_value.nbytes)


def _read_table(table: ir.Value) -> NDArray[np.float32]:
    """Values of a table, ``[rows, columns] float32``."""
    values = read_constant(table)
    if values is None:
        raise ValueError(f"{table.name!r} is no float32 constant")
    return values


def _rewrite_lookup(lookup: ir.Node, codes: ir.Value, scales: ir.Value, namer: Namer) -> None:
    """Let a Gather read the integers; what its readers want has the name that they know, and its node the Gather's."""
    found, graph = lookup.outputs[0], lookup.graph
    if graph is None:
        raise ValueError(f"node {lookup.name!r} is in no graph")
    stem = str(lookup.name)
    lookup.name = namer.name(f"{stem}_codes")
    axis = ir.AttrInt64("axis", 0)
    factors = ir.Node("", "Gather", [scales, lookup.inputs[1]], [axis], name=namer.name(f"{stem}_scales"))
    to_float = ir.AttrInt64("to", int(ir.DataType.FLOAT))
    cast = ir.Node("", "Cast", [found], [to_float], name=namer.name(f"{stem}_Cast"))
    scaled = ir.Node("", "Mul", [cast.outputs[0], factors.outputs[0]], name=stem)
    whole = scaled.outputs[0]
    whole.type, whole.shape = found.type, found.shape
    graph.insert_after(lookup, [factors, cast, scaled])
    ir.convenience.replace_all_uses_with(found, whole, replace_graph_outputs=True)
    cast.replace_input_with(0, found)
    lookup.replace_input_with(0, codes)
    name = str(found.name)
    found.name, whole.name = namer.name(f"{name}_codes"), name
    found.type = ir.TensorType(ir.DataType.INT8)
    for node, suffix in ((factors, "scales"), (cast, "unscaled")):
        node.outputs[0].name = namer.name(f"{name}_{suffix}")
        node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
