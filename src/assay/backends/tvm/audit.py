"""What a compiled model executes: its products as they were compiled, and its other functions."""

from __future__ import annotations

from collections.abc import Sequence

from assay.backends.tvm.products import Product
from assay.core.audit import ExecutionAudit, NodeExecution
from assay.core.precision import Precision

OTHER = "fused"
"""Kernel of a function that multiplies nothing, or in which something is fused to a product."""


def audit_products(products: Sequence[Product], functions: Sequence[str]) -> ExecutionAudit:
    """One node for each product, one for each other function.

    Args:
        products: of the compiled model.
        functions: its compiled functions, in the order in which they run; those with a product have its name in theirs.
    """
    nodes = [
        NodeExecution(f"{one.operator}_{index}", one.operator, one.precision, one.kernel, one.macs)
        for index, one in enumerate(products)
    ]
    marks = {one.operator.rpartition(".")[2] for one in products}
    others = [name for name in functions if not any(mark in name for mark in marks)]
    nodes += [NodeExecution(name, name, Precision.FP32, OTHER, 0) for name in others]
    return ExecutionAudit(tuple(nodes))
