"""The constant weight of a linear node as one shape, whatever the operator: what the repairs compute on."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.graph.fold_batchnorm import is_transposed
from assay.graph.quantize_roles import read_constant


def view_weight(node: ir.Node) -> NDArray[np.float32]:
    """Weight of a linear node, ``[G, M, C, S] float32``: group, output channel, input channel, spatial tap."""
    weight = read_constant(node.inputs[1])
    if weight is None:
        raise ValueError(f"node {node.name!r} has no constant weight")
    if node.op_type not in {"Conv", "ConvTranspose"}:
        turned = weight if node.op_type == "Gemm" and is_transposed(node) else weight.T
        return turned[None, :, :, None]
    group = node.attributes.get_int("group", 1) or 1
    split = weight.reshape(group, weight.shape[0] // group, weight.shape[1], -1)
    return split if node.op_type == "Conv" else split.swapaxes(1, 2)


def measure_magnitudes(node: ir.Node) -> NDArray[np.float64]:
    """Largest magnitude of each pair of channels, ``[G, M, C] float64``."""
    magnitudes: NDArray[np.float64] = np.abs(view_weight(node)).max(axis=3, initial=0.0).astype(np.float64)
    return magnitudes


def measure_powers(node: ir.Node) -> NDArray[np.float64]:
    """Sum of squares of each pair of channels, ``[G, M, C] float64``."""
    powers: NDArray[np.float64] = np.square(view_weight(node), dtype=np.float64).sum(axis=3)
    return powers
