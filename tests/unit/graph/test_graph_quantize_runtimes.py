from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import openvino
import pytest
from graph_samples import run
from quantize_samples import (
    ATTENTION,
    ATTENTION_SHAPES,
    CHAIN,
    GATED,
    GATED_SHAPES,
    RESIDUAL,
    RESIDUAL_SHAPES,
    S8S8,
    U8S8,
    U8S8_LOOSE,
    draw,
    make,
    measure_sqnr,
    optimise,
    quantize,
)

from assay.core.plan import IntegerDialect, Scheme
from assay.core.precision import Placement, RangeMethod


def compile_openvino(model: ir.Model, folder: Path) -> openvino.CompiledModel:
    ir.save(model, folder / "model.onnx")
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    return openvino.Core().compile_model(folder / "model.onnx", "CPU", options)


def count_precisions(compiled: openvino.CompiledModel, layer: str) -> Counter[str]:
    """Precision -> executed layers of a type, as the runtime tells."""
    told = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    return Counter(str(info["runtimePrecision"].astype(str)) for info in told if info["layerType"].astype(str) == layer)


@pytest.mark.parametrize("method", RangeMethod)
def test_onnxruntime_runs_a_residual_chain_on_integers(tmp_path: Path, method: RangeMethod) -> None:
    kinds = optimise(quantize(make(RESIDUAL, RESIDUAL_SHAPES), Scheme(U8S8, Placement.CHAIN, method)), tmp_path)
    assert kinds["QLinearConv"] == 4
    assert (kinds["QLinearAdd"], kinds["QLinearGlobalAveragePool"], kinds["QGemm"]) == (1, 1, 1)
    assert kinds["QuantizeLinear"] == 1
    assert not {"Conv", "FusedConv", "Relu", "Clip", "Add", "MaxPool"} & set(kinds)


def test_onnxruntime_runs_gates_on_integers(tmp_path: Path) -> None:
    kinds = optimise(quantize(make(GATED, GATED_SHAPES), CHAIN), tmp_path)
    assert (kinds["QLinearConv"], kinds["QLinearSigmoid"], kinds["QLinearMul"]) == (2, 1, 1)


@pytest.mark.parametrize("placement", Placement)
def test_onnxruntime_runs_attention_on_integers(tmp_path: Path, placement: Placement) -> None:
    kinds = optimise(
        quantize(make(ATTENTION, ATTENTION_SHAPES), Scheme(U8S8, placement, RangeMethod.MIN_MAX)), tmp_path
    )
    assert kinds["MatMul"] == 0
    assert kinds["QLinearMatMul"] + kinds["MatMulIntegerToFloat"] == 6


@pytest.mark.parametrize("dialect", [U8S8, S8S8, U8S8_LOOSE])
@pytest.mark.parametrize("placement", Placement)
def test_openvino_runs_convolutions_on_integers(tmp_path: Path, dialect: IntegerDialect, placement: Placement) -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    compiled = compile_openvino(quantize(model, Scheme(dialect, placement, RangeMethod.MIN_MAX)), tmp_path)
    found = count_precisions(compiled, "Convolution")
    assert found.total() == 4
    assert not set(found) - {"i8", "u8"}
    feeds = draw(model)
    assert measure_sqnr(run(model, feeds)[0], np.asarray(compiled(feeds)[0])) > 25


def test_openvino_runs_matrix_products_on_integers(tmp_path: Path) -> None:
    model = make(ATTENTION, ATTENTION_SHAPES)
    compiled = compile_openvino(quantize(model, Scheme(S8S8, Placement.OPERANDS, RangeMethod.MIN_MAX)), tmp_path)
    assert set(count_precisions(compiled, "FullyConnected")) == {"i8"}
    feeds = draw(model)
    assert measure_sqnr(run(model, feeds)[0], np.asarray(compiled(feeds)[0])) > 25
