"""Brings a model into the plain form that the rewrites expect, without changing what it computes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import onnx_ir as ir
from onnx_ir.passes import common as passes
from onnxscript import optimizer, rewriter
from onnxscript.rewriter.rules.common import fuse_pad_into_conv_rule

from assay.core.errors import ModelError
from assay.graph.fold_batchnorm import fold_batchnorm
from assay.graph.ingest import infer_shapes
from assay.graph.resize_axes import spell_resize_axes

FOLDED_ELEMENTS = 65536
"""A folded constant may have as many elements, or as many as the constants it is computed from."""
DETERMINISTIC = """
    Abs Add And Cast CastLike Ceil Clip Concat ConstantOfShape Cos CumSum Div Equal Erf Exp Expand Flatten Floor
    Gather GatherElements GatherND Greater GreaterOrEqual Identity Less LessOrEqual Log MatMul Max Min Mod Mul Neg
    NonZero Not OneHot Or Pad Pow Range Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare Relu Reshape Round ScatterElements ScatterND Shape Sigmoid Sign Sin Size Slice Split
    Sqrt Squeeze Sub Sum Tanh Tile Transpose Trilu Unsqueeze Where Xor
"""
FOLDABLE = frozenset(DETERMINISTIC.split())
"""Operators whose result from constants is worth storing; QuantizeLinear and DequantizeLinear are not among them."""
GROWING = frozenset({"ConstantOfShape", "Expand", "OneHot", "Pad", "Range", "Tile"})


def prepare(model: ir.Model) -> ir.Model:
    """Inline functions, fold constants and batch normalization, drop identities and dead nodes, name every node.

    What comes out computes the same within float rounding, with the same inputs and outputs; dynamic axes stay
    dynamic, quantize/dequantize pairs stay, and no runtime's private operator is introduced.

    Args:
        model: left as it is; unchanged weights are shared.

    Raises:
        ModelError: a constant part of the graph cannot be computed.
    """
    result = model.clone()
    name_nodes(result)
    try:
        passes.InlinePass()(result)
        optimizer.fold_constants(
            result, onnx_shape_inference=True, output_size_limit=FOLDED_ELEMENTS, should_fold=is_worth_folding
        )
    except Exception as err:
        # Both run parts of the user's model and raise whatever NumPy or ONNX raises there.
        reason = err.__cause__ or err
        message = f"the constant part of the model cannot be computed: {err}: {reason}"
        raise ModelError(message, "simplify or export the model again") from err
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(result)
    remove_identities(result.graph)
    rewriter.rewrite(result, [fuse_pad_into_conv_rule])
    spell_resize_axes(result.graph)
    result = fold_batchnorm(result)
    clean: ir.passes.InPlacePass
    for clean in (passes.RemoveUnusedNodesPass(), passes.RemoveUnusedOpsetsPass()):
        clean(result)
    name_nodes(result)
    return infer_shapes(result)


def is_worth_folding(node: ir.Node) -> bool:
    """Whether a node with constant inputs is replaced by its value."""
    if node.domain not in {"", "ai.onnx"} or node.op_type not in FOLDABLE:
        return False
    held = sum(v.const_value.size for v in node.inputs if v is not None and v.const_value is not None)
    limit = max(FOLDED_ELEMENTS, held)
    sizes = [count_elements(value) for value in node.outputs]
    if any(size is None for size in sizes):
        return node.op_type not in GROWING
    return sum(size for size in sizes if size is not None) <= limit


def count_elements(value: ir.Value) -> int | None:
    """Elements of a value of known shape."""
    if value.shape is None:
        return None
    axes = [axis for axis in value.shape if isinstance(axis, int)]
    return math.prod(axes) if len(axes) == len(value.shape) else None


def remove_identities(graph: ir.Graph) -> None:
    """Remove Identity nodes of the main graph in place; one that joins an input or constant to an output stays."""
    for node in list(graph):
        if node.domain or node.op_type != "Identity":
            continue
        source, output = node.inputs[0], node.outputs[0]
        if source is None:
            continue
        if output.is_graph_output():
            if source.producer() is None or source.is_graph_output():
                continue
            name, output.name = output.name, None
            ir.convenience.replace_all_uses_with(output, source, replace_graph_outputs=True)
            source.name = name
        else:
            output.replace_all_uses_with(source)
        graph.remove(node, safe=True)


def name_nodes(model: ir.Model) -> None:
    """Give every node a name that no other has, in place; of several with one name the first keeps it."""
    nodes = [*model.graph.all_nodes()]
    taken: set[str] = {node.name for node in nodes if node.name}
    seen: set[str] = set()
    for node in nodes:
        if not node.name or node.name in seen:
            node.name = number_name(node.name or node.op_type, taken)
        seen.add(node.name)
        taken.add(node.name)


def number_name(stem: str, taken: Iterable[str]) -> str:
    """The stem with the lowest number that makes it a new name."""
    number = 1
    while f"{stem}_{number}" in taken:
        number += 1
    return f"{stem}_{number}"
