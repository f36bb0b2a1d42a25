from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graph_samples import fill, run
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from quantize_samples import RESIDUAL, RESIDUAL_SHAPES, S8S8, U8S8, draw, make, measure_sqnr, solve

from assay.backends.reference.operators import OPERATORS
from assay.core.errors import ModelError
from assay.core.moments import LayerMoments
from assay.core.plan import IntegerDialect, Plan, Scheme
from assay.core.precision import IntegerFormat, Placement, Precision, RangeMethod, Repair
from assay.graph.prepare import prepare
from assay.graph.quantize import insert_qdq
from assay.graph.realise import realise
from assay.graph.scales import encode_blocks, encode_weight, spread_scale

NEW = '<ir_version: 10, opset_import: ["": 21]>'
BODIES = {
    "product": ("y = MatMul(x, w)", (40, 6)),
    "gemm": ("y = Gemm(x, w, b)", (40, 6)),
    "turned": ("y = Gemm<transB=1, alpha=0.5, beta=2.0>(x, w, b)", (6, 40)),
}
NONE = np.zeros(1)


def uneven(shape: tuple[int, ...], axis: int, seed: int = 0) -> NDArray[np.float32]:
    """Weights whose size varies along the axis that a product sums over."""
    sizes = np.geomspace(0.01, 10, shape[axis]).reshape([-1 if index == axis else 1 for index in range(2)])
    return (np.random.default_rng(seed).standard_normal(shape) * sizes).astype(np.float32)


def make_product(kind: str) -> ir.Model:
    body, shape = BODIES[kind]
    text = f"{NEW} g (float[N, 40] x) => (float[N, 6] y) {{ {body} }}"
    shapes = {"w": shape} if kind == "product" else {"w": shape, "b": (6,)}
    model = prepare(fill(text, np.random.default_rng(0), **shapes))
    value = model.graph.initializers["w"]
    value.const_value = ir.tensor(uneven(shape, 1 if kind == "turned" else 0), name="w")
    return model


def block_scheme(dialect: IntegerDialect, block: int, *repairs: Repair) -> Scheme:
    return Scheme(replace(dialect, weight_block=block), Placement.OPERANDS, RangeMethod.MSE, repairs)


def evaluate(model: ir.Model, feeds: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Output in the reference evaluator."""
    evaluator = ReferenceEvaluator(ir.to_proto(model), new_ops=list(OPERATORS))
    return np.asarray(evaluator.run(None, feeds)[0])


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("block", [1, 7, 8, 40, 64])
def test_a_block_is_encoded_like_a_weight_of_its_own(axis: int, block: int) -> None:
    weight = uneven((40, 6) if axis == 0 else (6, 40), axis)
    encoded = encode_blocks(weight, axis, block, RangeMethod.MSE, 127)
    count = -(-40 // block)
    assert encoded.scale.shape == ((count, 6) if axis == 0 else (6, count))
    for index in range(count):
        part = np.take(weight, range(index * block, min(40, (index + 1) * block)), axis=axis)
        alone = encode_weight(part, 1 - axis, RangeMethod.MSE, 127, NONE)
        np.testing.assert_array_equal(np.take(encoded.scale, index, axis=axis), alone.scale)
    spread = spread_scale(encoded)
    assert spread.shape == weight.shape
    assert (np.abs(spread * encoded.codes - weight) <= 0.7 * np.abs(weight).max(axis=axis, keepdims=True)).all()


def test_smaller_blocks_lose_less() -> None:
    weight = uneven((6, 256), 1)
    whole = encode_weight(weight, 0, RangeMethod.MSE, 127, NONE)
    errors = [np.square(spread_scale(whole) * whole.codes - weight).sum()]
    for block in (64, 16, 4):
        encoded = encode_blocks(weight, 1, block, RangeMethod.MSE, 127)
        errors.append(np.square(spread_scale(encoded) * encoded.codes - weight).sum())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 10


@pytest.mark.parametrize("weight_format", list(IntegerFormat))
@pytest.mark.parametrize("dialect", [U8S8, S8S8], ids=["u8", "s8"])
@pytest.mark.parametrize("block", [8, 16])  # 40 is no multiple of 16: the last block is short
@pytest.mark.parametrize("kind", sorted(BODIES))
def test_runtimes_compute_what_blocks_say(
    kind: str, block: int, dialect: IntegerDialect, weight_format: IntegerFormat
) -> None:
    model = make_product(kind)
    feeds = draw(model, 32)
    scheme = block_scheme(replace(dialect, weight=weight_format), block)
    result = insert_qdq(model, scheme, solve(model, scheme, feeds))
    onnx.checker.check_model(ir.to_proto(result), full_check=True)
    weight = next(node for node in result.graph if node.attributes.get_int("block_size", 0))
    assert weight.attributes.get_int("axis") == (1 if kind == "turned" else 0)
    reference = run(model, feeds)[0]
    found = {"onnxruntime": run(result, feeds)[0], "reference": evaluate(result, feeds)}
    np.testing.assert_allclose(found["onnxruntime"], found["reference"], rtol=1e-4, atol=1e-4)
    plain = replace(scheme, dialect=replace(scheme.dialect, weight_block=0))
    whole = insert_qdq(model, plain, solve(model, plain, feeds))
    assert measure_sqnr(reference, found["reference"]) > measure_sqnr(reference, run(whole, feeds)[0]) - 0.1
    assert measure_sqnr(reference, found["reference"]) > 35


def test_convolutions_are_not_divided() -> None:
    model = make(RESIDUAL.replace('"": 17', '"": 21').replace("ir_version: 8", "ir_version: 10"), RESIDUAL_SHAPES)
    scheme = block_scheme(S8S8, 8)
    result = insert_qdq(model, scheme, solve(model, scheme, draw(model)))
    divided = [node for node in result.graph if node.attributes.get_int("block_size", 0)]
    assert [str(node.inputs[0].name) for node in divided if node.inputs[0] is not None] == ["w5_quantized"]


def test_an_old_opset_has_no_blocks() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    with pytest.raises(ModelError, match="opset 17 has no quantization in blocks"):
        insert_qdq(model, block_scheme(S8S8, 8), {})


def test_blocks_are_rounded_adaptively_too() -> None:
    model = make_product("gemm")
    feeds = draw(model, 400)
    feeds["x"] = feeds["x"] @ np.random.default_rng(3).standard_normal((40, 40)).astype(np.float32) / 6 + 1
    wide = feeds["x"].astype(np.float64)
    node = str(next(iter(model.graph)).name)
    moments = {node: LayerMoments((wide.T @ wide)[None], wide.sum(axis=0)[None], len(wide))}
    dialect = replace(S8S8, reduced_range=True)
    sqnr = []
    for repairs in ((), (Repair.ROUND,)):
        scheme = block_scheme(dialect, 8, *repairs)
        ranges = solve(model, scheme, feeds)
        result = realise(model, Plan(Precision.INT8, scheme=scheme), None, ranges, moments)
        weight = result.graph.initializers["w_quantized"].const_value
        scale = result.graph.initializers["w_scale"].const_value
        assert weight is not None
        assert scale is not None
        dequantized = weight.numpy() * np.repeat(scale.numpy(), 8, axis=0)
        float_weight = model.graph.initializers["w"].const_value
        assert float_weight is not None
        sqnr.append(measure_sqnr(wide @ float_weight.numpy(), wide @ dequantized))
    assert sqnr[1] > sqnr[0] + 1
