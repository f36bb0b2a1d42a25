"""Quantizes a tensor before it is reshaped or transposed, where the model does so behind.

Codes are a quarter of the memory that is moved, and TVM fuses the quantization to the product that computes the
tensor. With one scale for all elements the result is the same.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from assay.backends.tvm.constants import element_type, op_name, static_shape
from assay.backends.tvm.vendor import load_compiler

Expr = Any
"""An expression of Relax, which has no types; likewise its bindings."""
MOVES = frozenset({"relax.permute_dims", "relax.reshape", "relax.flatten", "relax.squeeze", "relax.expand_dims"})
"""Operators that give the elements of their first operand in another order or shape."""


def list_bindings(function: Expr) -> list[Expr]:
    """Bindings of a Relax function in order, with every quantization before the moves that only it needs."""
    bindings = [binding for block in function.body.blocks for binding in block.bindings]
    values = {binding.var: getattr(binding, "value", None) for binding in bindings}
    uses = _count_uses(bindings, function.body.body)
    return [made for binding in bindings for made in _hoist(binding, values, uses)]


def _count_uses(bindings: list[Expr], output: Expr) -> Counter[Expr]:
    """How often each variable is read."""
    uses: Counter[Expr] = Counter()
    visit, variable = load_compiler("relax.analysis").post_order_visit, load_compiler("relax").Var
    for expr in [*(binding.value for binding in bindings), output]:
        visit(expr, lambda part: uses.update([part] if isinstance(part, variable) else []))
    return uses


def _hoist(binding: Expr, values: dict[Expr, Expr], uses: Counter[Expr]) -> list[Expr]:
    """A binding; for a quantization behind moves, that of their operand, and the moves of its codes."""
    call = binding.value
    moves: list[Expr] = []
    scales = static_shape(call.args[1]) if op_name(call) == "relax.quantize" else None
    if scales is None or math.prod(scales) != 1:
        return [binding]
    source = call.args[0]
    while uses[source] == 1 and op_name(values.get(source)) in MOVES:
        moves.append(values[source])
        source = moves[-1].args[0]
    if not moves or static_shape(source) is None:
        return [binding]
    relax, normalize = load_compiler("relax"), load_compiler("relax").BlockBuilder().normalize
    quantize = load_compiler("relax.op").quantize
    made = normalize(quantize(source, call.args[1], call.args[2], axis=0, out_dtype=element_type(call)))
    found = []
    for move in reversed(moves):
        codes = relax.DataflowVar("codes", made.ty)
        found.append(relax.VarBinding(codes, made))
        made = normalize(relax.Call(move.op, [codes, *move.args[1:]], move.attrs, move.ty_args))
    return [*found, relax.VarBinding(binding.var, made)]
