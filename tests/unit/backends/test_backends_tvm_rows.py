"""Functions along rows on TVM: softmax, normalisations and sums are right at every size, and run row by row."""

from __future__ import annotations

import numpy as np
import pytest
from tvm_models import choose_machine, compile_and_run, evaluate, need_tvm, parse

from assay.backends.tvm.compilation import import_model, lower_module
from assay.backends.tvm.machine import Machine, describe_x86
from assay.backends.tvm.row_schedules import schedule_rows
from assay.backends.tvm.vendor import load_compiler

AVX512 = describe_x86(frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"}))
FUNCTIONS = {
    "softmax": "y = Softmax<axis = -1>(x)",
    "softmax of quantized scores": """
        q = QuantizeLinear(x, s, z)
        d = DequantizeLinear(q, s, z)
        p = Softmax<axis = -1>(d)
        r = QuantizeLinear(p, t, z)
        y = DequantizeLinear(r, t, z)
    """,
    "normalisation": "y = LayerNormalization<axis = -1, epsilon = 1e-5>(x, g, b)",
    "root mean square": """
        a = Mul(x, x)
        m = ReduceMean<keepdims = 1>(a, last)
        r = Sqrt(m)
        y = Div(x, r)
    """,
    "sum": "y = ReduceSum<keepdims = 1>(x, last)",
    "largest": "y = ReduceMax<keepdims = 0>(x, last)",
    "mean of rows": "y = ReduceMean<keepdims = 0>(x, rows)",
    "mean of all": "y = ReduceMean<keepdims = 1>(x, both)",
    "two softmaxes": """
        a = Softmax<axis = -1>(x)
        b = Softmax<axis = 1>(x)
        y = Add(a, b)
    """,
}


@pytest.fixture(params=["here", "plain"])
def machine(request: pytest.FixtureRequest) -> Machine:
    return choose_machine(request.param)


@pytest.mark.parametrize("columns", [1, 40, 48])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_along_rows(name: str, columns: int, machine: Machine) -> None:
    rng = np.random.default_rng(columns)
    model = parse(
        f"g (float[N, R, C] x) => (float[N, R2, C2] y) {{ {FUNCTIONS[name]} }}",
        s=np.float32(0.05), t=np.float32(1 / 255), z=np.uint8(128),
        g=rng.normal(1, 0.1, columns).astype(np.float32), b=rng.normal(0, 0.1, columns).astype(np.float32),
        last=np.array([2]), rows=np.array([1]), both=np.array([1, 2]),
    )  # fmt: skip
    used = {name for node in model.graph.node for name in node.input}
    weights = [weight for weight in model.graph.initializer if weight.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
    feeds = {"x": rng.normal(0.5, 2, (2, 16, columns)).astype(np.float32)}
    found, _ = compile_and_run(model, feeds, machine)
    step = 1.01 / 255 if "quantized" in name else 0.0  # a code more or less where a probability lies between two
    np.testing.assert_allclose(found, evaluate(model, feeds), rtol=2e-5, atol=2e-5 + step)


def lower(text: str, columns: int) -> list[object]:
    """The functions that a model becomes."""
    need_tvm()
    model = parse(f"g (float[N, R, C] x) => (float[N, R, C2] y) {{ {text} }}")
    module, _ = lower_module(import_model(model, {"x": (1, 8, columns)}), AVX512)
    primitive = load_compiler("tirx").PrimFunc
    return [function for _, function in module.functions_items() if isinstance(function, primitive)]


def test_a_softmax_is_one_loop_over_rows() -> None:
    (function,) = lower("y = Softmax<axis = -1>(x)", 64)
    schedule = schedule_rows(function, AVX512)
    roots = list(schedule.get_child_blocks(schedule.get_sblock("root")))
    outermost = [schedule.get_loops(block)[0] for block in roots]
    assert len(roots) > 4
    assert all(schedule.get(loop).same_as(schedule.get(outermost[0])) for loop in outermost)


@pytest.mark.parametrize(("text", "columns"), [("y = Softmax<axis = -1>(x)", 65), ("y = Softmax<axis = 1>(x)", 64)])
def test_other_functions_are_none_of_rows(text: str, columns: int) -> None:
    (function,) = lower(text, columns)
    with pytest.raises(ValueError, match="rows"):
        schedule_rows(function, AVX512)
