"""Every ONNX operator that torch runs here: name and domain -> function."""

from __future__ import annotations

from collections.abc import Mapping

from assay.backends.torch.integers import convolve_packed, multiply_packed, pack_offset, pack_scale, pack_weight
from assay.backends.torch.operators import Operator, Table, simple
from assay.backends.torch.operators_integer import INTEGER
from assay.backends.torch.operators_layout import LAYOUT
from assay.backends.torch.operators_math import MATH
from assay.backends.torch.operators_neural import NEURAL
from assay.backends.torch.operators_sequence import SEQUENCE
from assay.backends.torch.rewrite import DOMAIN

OWN: Table = {
    "Pack": simple(pack_weight),
    "Scale": simple(pack_scale),
    "Offset": simple(pack_offset),
    "Conv": simple(convolve_packed),
    "MatMul": simple(multiply_packed),
}
"""Operators that ``rewrite`` puts in."""
STANDARD: Table = {**MATH, **LAYOUT, **NEURAL, **SEQUENCE, **INTEGER}
CONTROL = frozenset({"If", "Loop"})
"""Operators with graphs inside, which the tracer itself follows."""
DOMAINS: Mapping[str, Table] = {"": STANDARD, "ai.onnx": STANDARD, DOMAIN: OWN}


def find_operator(domain: str, name: str) -> Operator | None:
    """The function of an operator, or None."""
    return DOMAINS.get(domain, {}).get(name)
