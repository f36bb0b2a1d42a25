"""INT8 plans that keep any nodes in any float formats."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from graph_samples import run
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from quantize_samples import (
    ATTENTION,
    ATTENTION_SHAPES,
    GATED,
    GATED_SHAPES,
    RESIDUAL,
    RESIDUAL_SHAPES,
    S8S8,
    U8S8,
    U8S8_LOOSE,
    calibrate,
    draw,
    make,
    measure_sqnr,
)

from assay.backends.reference.operators import OPERATORS
from assay.calibrate.ranges import solve_ranges
from assay.core.calibration import Calibration
from assay.core.plan import Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod
from assay.graph.cast_rules import ARITHMETIC, DTYPES
from assay.graph.expose import observable_tensors
from assay.graph.realise import list_refused, realise

MODELS = [
    make(text, shapes)
    for text, shapes in ((RESIDUAL, RESIDUAL_SHAPES), (GATED, GATED_SHAPES), (ATTENTION, ATTENTION_SHAPES))
]
FEEDS = [draw(model, items=2) for model in MODELS]
CALIBRATIONS = [calibrate(model, feeds, observable_tensors(model)) for model, feeds in zip(MODELS, FEEDS, strict=True)]
SCHEMES = st.builds(
    Scheme, st.sampled_from([U8S8, S8S8, U8S8_LOOSE]), st.sampled_from(Placement), st.just(RangeMethod.MIN_MAX)
)
FORMATS = st.sampled_from([None, Precision.FP32, Precision.FP16, Precision.BF16])


def realise_mix(
    model: ir.Model, calibration: Calibration, scheme: Scheme, formats: list[Precision | None]
) -> tuple[Plan, ir.Model]:
    nodes = [str(node.name) for node in model.graph]
    kept = tuple((name, found) for name, found in zip(nodes, formats, strict=False) if found is not None)
    plan = Plan(Precision.INT8, scheme=scheme, overrides=kept)
    return plan, realise(model, plan, calibration, solve_ranges(calibration, scheme))


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(range(len(MODELS))), SCHEMES, st.lists(FORMATS, min_size=13, max_size=13))
def test_every_mix_is_valid_and_means_what_the_model_means(
    number: int, scheme: Scheme, formats: list[Precision | None]
) -> None:
    model = MODELS[number]
    plan, result = realise_mix(model, CALIBRATIONS[number], scheme, formats)
    proto = ir.to_proto(result)
    onnx.checker.check_model(proto, full_check=True)
    with np.errstate(all="ignore"):  # the evaluator's own Sigmoid, whose exponential ends at 11 in FP16
        found = np.asarray(ReferenceEvaluator(proto, new_ops=list(OPERATORS)).run(None, dict(FEEDS[number]))[0])
    assert found.dtype == np.float32
    assert measure_sqnr(run(model, FEEDS[number])[0], found) > 15
    types = {str(node.name): node.outputs[0].dtype for node in result.graph}
    refused = list_refused(model, plan, CALIBRATIONS[number])
    for name, kept in plan.overrides:
        assert types[name] is (ir.DataType.FLOAT if name in refused else DTYPES.get(kept, ir.DataType.FLOAT))
    assert not {node.op_type for node in model.graph if node.name in refused} & ARITHMETIC


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(range(len(MODELS))), SCHEMES, st.lists(FORMATS, min_size=13, max_size=13))
def test_nothing_is_cast_there_and_back(number: int, scheme: Scheme, formats: list[Precision | None]) -> None:
    _, result = realise_mix(MODELS[number], CALIBRATIONS[number], scheme, formats)
    casts = [node for node in result.graph if node.op_type == "Cast"]
    for node in casts:
        (source,) = node.inputs
        assert source is not None
        before = source.producer()
        assert source.dtype is not node.outputs[0].dtype
        if before is not None and before.op_type == "Cast":
            assert before.inputs[0] is not None
            assert before.inputs[0].dtype is not node.outputs[0].dtype
    made = [(node.inputs[0], node.outputs[0].dtype) for node in casts]
    assert len(made) == len(set(made))
