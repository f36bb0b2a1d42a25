"""Quantizations behind reshapes and transposes move before them, where only they need what is moved."""

from __future__ import annotations

import re

import numpy as np
import pytest
from tvm_models import compile_and_run, evaluate, need_tvm, parse

from assay.backends.tvm.compilation import import_model
from assay.backends.tvm.constants import op_name
from assay.backends.tvm.hoisting import list_bindings
from assay.backends.tvm.machine import find_machine

HEADS = """
    h = MatMul(x, w)
    r = Reshape(h, split)
    t = Transpose<perm = [0,2,3,1]>(r)
    q = QuantizeLinear(t, s, z)
    y = DequantizeLinear(q, s, z)
"""
READ_TWICE = f"{HEADS.replace('y =', 'd =')} y = Add(t, d)"
BY_CHANNEL = """
    h = MatMul(x, w)
    t = Transpose<perm = [0,2,1]>(h)
    q = QuantizeLinear<axis = 1>(t, many, zeros)
    y = DequantizeLinear<axis = 1>(q, many, zeros)
"""
WEIGHTS = {
    "w": np.random.default_rng(0).normal(0, 0.3, (12, 32)).astype(np.float32),
    "split": np.array([0, 6, 4, 8]),
    "s": np.float32(0.03),
    "z": np.uint8(120),
    "many": np.linspace(0.02, 0.05, 32, dtype=np.float32),
    "zeros": np.full(32, 128, np.uint8),
}


def read(text: str, shape: str) -> tuple[object, dict[str, np.ndarray]]:
    """A model, and feeds for it."""
    need_tvm()
    used = {name: array for name, array in WEIGHTS.items() if re.search(rf"\b{name}\b", text)}
    feeds = {"x": np.random.default_rng(1).standard_normal((2, 6, 12)).astype(np.float32)}
    return parse(f"g (float[N, 6, 12] x) => (float{shape} y) {{ {text} }}", **used), feeds


@pytest.mark.parametrize(
    ("text", "shape"), [(HEADS, "[N, 4, 8, 6]"), (READ_TWICE, "[N, 4, 8, 6]"), (BY_CHANNEL, "[N, 32, 6]")]
)
def test_results_are_those_of_the_model(text: str, shape: str) -> None:
    model, feeds = read(text, shape)
    found, _ = compile_and_run(model, feeds, find_machine())
    np.testing.assert_allclose(found, evaluate(model, feeds), atol=1e-5)


def list_operators(text: str, shape: str) -> list[str]:
    """Operators of a model's function in the order in which it is rewritten."""
    model, feeds = read(text, shape)
    module = import_model(model, {name: array.shape for name, array in feeds.items()})
    return [op_name(binding.value).removeprefix("relax.") for binding in list_bindings(module["main"])]


def test_codes_are_moved_instead_of_floats() -> None:
    names = list_operators(HEADS, "[N, 4, 8, 6]")
    start = names.index("quantize")
    assert names[start : start + 3] == ["quantize", "reshape", "permute_dims"]
    model, feeds = read(HEADS, "[N, 4, 8, 6]")
    _, compiled = compile_and_run(model, feeds, find_machine())
    assert any("matmul" in name and "quantize" in name for name in compiled.functions)


@pytest.mark.parametrize(("text", "shape"), [(READ_TWICE, "[N, 4, 8, 6]"), (BY_CHANNEL, "[N, 32, 6]")])
def test_what_is_read_elsewhere_and_scales_of_channels_stay(text: str, shape: str) -> None:
    names = list_operators(text, shape)
    assert names.count("permute_dims") == 1
    assert names.index("permute_dims") < names.index("quantize")
