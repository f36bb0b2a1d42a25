"""Weights in integers without calibration, on every runtime that declares schemes for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from graph_samples import fill

from assay.backends.backend import Backend, WeightBackend
from assay.backends.table import list_backends, load_backend, make_target
from assay.core.plan import Plan, WeightScheme
from assay.core.precision import Precision, WeightStyle
from assay.core.session import Session
from assay.graph.prepare import prepare
from assay.graph.realise import realise
from assay.graph.save import save_model

INPUTS, OUTPUTS = 192, 160
NETS = {
    "product": "h = MatMul(x, w) y = Relu(h)",
    "bias": "h = MatMul(x, w) s = Add(h, b) y = Relu(s)",
    "gemm": "h = Gemm<transB = 1>(x, wt, b) y = Relu(h)",
    "turned": "t = Transpose<perm = [1, 0]>(wt) h = MatMul(x, t) y = Relu(h)",
}
PRECISIONS = (Precision.INT8, Precision.INT4)


def list_schemes(backend: Backend) -> Iterator[tuple[Precision, WeightScheme]]:
    """What a runtime declares."""
    if isinstance(backend, WeightBackend) and backend.probe().available:
        for precision in PRECISIONS:
            for scheme in backend.weight_schemes(precision, make_target(backend.name)):
                yield precision, scheme


CASES = [
    (name, precision, scheme) for name in list_backends() for precision, scheme in list_schemes(load_backend(name))
]


def make(kind: str, opset: int = 21) -> ir.Model:
    shapes = {"w": (INPUTS, OUTPUTS), "wt": (OUTPUTS, INPUTS), "b": (OUTPUTS,)}
    used = {name: shape for name, shape in shapes.items() if f"{name})" in NETS[kind] or f"{name}," in NETS[kind]}
    text = f"g (float[N, {INPUTS}] x) => (float[N, {OUTPUTS}] y) {{ {NETS[kind]} }}"
    header = f'<ir_version: 10, opset_import: ["": {opset}]>'
    return prepare(fill(header + text, np.random.default_rng(5), **used))


def unpack(model: ir.Model) -> np.ndarray:
    """The weight of the one product, ``[inputs, outputs] float64``, from what is stored."""
    maker = next(node for node in model.graph if node.op_type == "MatMul").inputs[1].producer()
    turned = maker.op_type == "Transpose"
    maker = maker.inputs[0].producer() if turned else maker
    codes, scales = (maker.inputs[index].const_value.numpy().astype(np.float64) for index in (0, 1))
    block = maker.attributes.get_int("block_size", 0)
    spread = np.repeat(scales, block, axis=0)[: len(codes)] if block else scales[:, None] if turned else scales
    wide = codes * spread
    return wide.T if turned else wide


def open_realised(backend: Backend, model: ir.Model, plan: Plan, folder: Path) -> Session:
    source, built, target = folder / "m.onnx", folder / "built", make_target(backend.name)
    save_model(model, source)
    built.mkdir()
    backend.build(source, built, plan, target)
    source.unlink()
    return backend.open(built, target)


def bound_rounding(x: np.ndarray, weight: np.ndarray, scheme: WeightScheme) -> np.ndarray:
    """Most that rounding activations to 8 bits can change each output: half a step for each of them."""
    if scheme.style is WeightStyle.DYNAMIC:
        low, high = np.minimum(x.min(), 0), np.maximum(x.max(), 0)
        steps = np.full(x.shape, (high - low) / 255)
    elif scheme.group:
        groups = np.abs(x).reshape(len(x), -1, scheme.group).max(axis=2, keepdims=True) / 127
        steps = np.broadcast_to(groups, (*groups.shape[:2], scheme.group)).reshape(x.shape)
    else:
        steps = np.zeros(x.shape)
    return 0.55 * steps @ np.abs(weight)


@pytest.mark.parametrize(("name", "precision", "scheme"), CASES)
@pytest.mark.parametrize(("kind", "opset"), [*((kind, 21) for kind in NETS), ("bias", 13), ("gemm", 18)])
def test_products_are_those_of_the_stored_weights(
    name: str, precision: Precision, scheme: WeightScheme, kind: str, opset: int, tmp_path: Path
) -> None:
    backend, plan = load_backend(name), Plan(precision, weights=scheme)
    model = make(kind, opset)
    realised = realise(model, plan)
    weight, x = unpack(realised), np.random.default_rng(6).standard_normal((5, INPUTS)).astype(np.float32)
    bias = model.graph.initializers["b"].const_value.numpy() if kind in {"bias", "gemm"} else 0.0
    exact = np.maximum(x.astype(np.float64) @ weight + bias, 0)
    if scheme.group and INPUTS % scheme.group:
        scheme = replace(scheme, group=INPUTS)  # the last group is short: bounded by that of the whole row
    with open_realised(backend, realised, plan, tmp_path) as session:
        y = session.run({"x": x})["y"]
        audit = session.executed({"x": x})
    allowed = bound_rounding(x, weight, scheme) + 1e-4 * np.abs(exact).max()
    assert (np.abs(y - exact) <= allowed).all()
    rounds = scheme.group > 0 or scheme.style is WeightStyle.DYNAMIC
    assert audit.shares()[Precision.INT8 if rounds else Precision.FP32] == 1
    held = precision if (not rounds or precision is Precision.INT4) else None
    assert audit.stored_shares() == ({held: 1.0} if held else {})


@pytest.mark.parametrize("name", sorted({name for name, _, _ in CASES}))
def test_activations_in_floats_are_not_rounded(name: str, tmp_path: Path) -> None:
    backend, plan = load_backend(name), Plan(Precision.INT8, weights=WeightScheme(WeightStyle.WEIGHTS))
    realised = realise(make("product"), plan)
    x = np.random.default_rng(6).standard_normal((5, INPUTS)).astype(np.float32)
    with open_realised(backend, realised, plan, tmp_path) as session:
        y = session.run({"x": x})["y"]
        audit = session.executed({"x": x})
    exact = np.maximum(x.astype(np.float64) @ unpack(realised), 0)
    assert np.abs(y - exact).max() < 1e-4 * np.abs(exact).max()
    assert audit.shares()[Precision.FP32] == 1
    assert audit.stored_shares() == {Precision.INT8: 1.0}


@pytest.mark.parametrize("name", sorted({name for name, _, _ in CASES}))
def test_integers_that_are_no_scheme_are_refused(name: str) -> None:
    support = load_backend(name).supports(Plan(Precision.INT4), make_target(name))
    assert not support.supported
    assert "stored weights" in support.reason
