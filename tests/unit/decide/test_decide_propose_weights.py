"""When weights in integers are proposed, in which forms, and what follows the fastest of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from trial_samples import U8S8

from assay.core.plan import Candidate, Plan, WeightScheme
from assay.core.precision import STANDARD_PRECISIONS, Precision, RangeMethod, Repair, WeightStyle
from assay.decide.propose import Capabilities, ModelTraits, Screened, propose
from assay.decide.words import describe_form

RANGES = (RangeMethod.MSE,)
NAMED = (*STANDARD_PRECISIONS, Precision.INT4)
GROUPED = WeightScheme(WeightStyle.WEIGHTS, group=64)
ALONE = WeightScheme(WeightStyle.WEIGHTS)
DYNAMIC = WeightScheme(WeightStyle.DYNAMIC)
BLOCKS = WeightScheme(WeightStyle.WEIGHTS, block=32, group=32)
OPENVINO = Capabilities(
    "openvino",
    (U8S8,),
    (Precision.BF16, Precision.FP32),
    weights={Precision.INT8: (GROUPED, ALONE), Precision.INT4: (BLOCKS,)},
)
ONNXRUNTIME = Capabilities("onnxruntime", (U8S8,), weights={Precision.INT8: (DYNAMIC, GROUPED)})
DECODER = ModelTraits(has_convolutions=False, has_attention_or_norms=True, has_tables=True, has_products=True)


def list_weights(candidates: tuple[Candidate, ...]) -> list[str]:
    return [candidate.id for candidate in candidates if candidate.plan.weights is not None]


def test_a_model_of_products_gets_every_scheme_in_the_first_round() -> None:
    first = propose([OPENVINO, ONNXRUNTIME], DECODER, NAMED, RANGES, ())
    assert list_weights(first) == [
        "openvino.int8-weights-group64-tables-bf16",
        "openvino.int8-weights-tables-bf16",
        "openvino.int4-weights-block32-group32-tables-bf16",
        "onnxruntime.int8-dynamic-tables",
        "onnxruntime.int8-weights-group64-tables",
    ]
    assert any(candidate.plan.scheme is not None for candidate in first)


@pytest.mark.parametrize("hurried", [True, False])
def test_other_models_get_none(*, hurried: bool) -> None:
    traits = ModelTraits(has_convolutions=True, has_products=False)
    assert not list_weights(propose([OPENVINO, ONNXRUNTIME], traits, NAMED, RANGES, (), hurried=hurried))


def test_4_bits_are_tried_only_where_they_are_named() -> None:
    first = propose([OPENVINO], DECODER, STANDARD_PRECISIONS, RANGES, ())
    assert {candidate.plan.precision for candidate in first} == set(STANDARD_PRECISIONS)
    named = propose([OPENVINO], DECODER, (Precision.INT4,), RANGES, ())
    assert list_weights(named) == ["openvino.int4-weights-block32-group32-tables"]


def test_without_calibration_weights_are_all_that_is_in_integers() -> None:
    first = propose([OPENVINO, ONNXRUNTIME], DECODER, STANDARD_PRECISIONS, (), ())
    integers = [candidate for candidate in first if candidate.plan.quantizes]
    assert integers
    assert all(candidate.plan.scheme is None for candidate in integers)


def test_the_fastest_scheme_gets_the_other_rests_and_tables_in_floats() -> None:
    first = propose([OPENVINO], DECODER, STANDARD_PRECISIONS, (), ())
    fastest = "openvino.int8-weights-tables-bf16"
    tried = [Screened(one, 1.0 if one.id == fastest else 2.0) for one in first]
    assert not propose([OPENVINO], DECODER, STANDARD_PRECISIONS, (), tried, hurried=True)
    second = propose([OPENVINO], DECODER, STANDARD_PRECISIONS, (), tried)
    assert [one.id for one in second] == ["openvino.int8-weights-tables", "openvino.int8-weights-bf16"]
    tried += [Screened(one, 3.0) for one in second]
    assert not propose([OPENVINO], DECODER, STANDARD_PRECISIONS, (), tried)


@pytest.mark.parametrize("smooths", [True, False])
def test_what_strains_the_tolerance_gets_finer_scales(*, smooths: bool) -> None:
    traits = replace(DECODER, repairs=(Repair.SMOOTH,) if smooths else (Repair.BIAS,))
    first = propose([ONNXRUNTIME], traits, NAMED, (), ())
    tried = [Screened(one, 1.0, strained=one.plan.weights is not None) for one in first]
    tried += [Screened(one, 2.0, strained=True) for one in propose([ONNXRUNTIME], traits, NAMED, (), tried)]
    known = list_weights(tuple(one.candidate for one in tried))
    assert ("onnxruntime.int8-weights-block64-group64-smooth-tables" in known) is smooths
    assert ("onnxruntime.int8-dynamic-smooth-tables" in known) is smooths
    assert "onnxruntime.int8-weights-block64-group64-tables" in known
    while following := propose([ONNXRUNTIME], traits, NAMED, (), tried):
        tried += [Screened(one, 2.0, strained=True) for one in following]
    finer = [one.candidate.plan.weights for one in tried if one.candidate.plan.weights is not None]
    assert sum(one.smooth for one in finer if one.tables) == 2 * smooths
    assert sum(bool(one.block) and not one.smooth for one in finer if one.tables) == 1
    assert not any("smooth" in one.id for one in propose([ONNXRUNTIME], traits, NAMED, (), tried, hurried=True))


def test_what_is_well_within_the_tolerance_stays_as_it_is() -> None:
    traits = replace(DECODER, repairs=(Repair.SMOOTH,))
    first = propose([ONNXRUNTIME], traits, NAMED, (), ())
    second = propose([ONNXRUNTIME], traits, NAMED, (), [Screened(one, 1.0) for one in first])
    assert not [one.id for one in second if "smooth" in one.id or "block" in one.id]


def test_what_did_not_run_is_followed_by_nothing() -> None:
    first = propose([OPENVINO], DECODER, STANDARD_PRECISIONS, (), ())
    tried = [Screened(one, None if one.plan.quantizes else 2.0) for one in first]
    assert not propose([OPENVINO], DECODER, STANDARD_PRECISIONS, (), tried)


def test_static_forms_are_varied_as_if_there_were_no_weights() -> None:
    without = replace(OPENVINO, weights={})
    rounds = []
    for runtime in (OPENVINO, without):
        first = propose([runtime], DECODER, STANDARD_PRECISIONS, RANGES, ())
        tried = [Screened(one, 1.0 if one.plan.weights is not None else 2.0) for one in first]
        second = propose([runtime], DECODER, STANDARD_PRECISIONS, RANGES, tried)
        rounds.append([one.id for one in second if one.plan.weights is None])
    assert rounds[0] == rounds[1]
    assert rounds[0]


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(Precision.INT8, weights=ALONE), "weights alone"),
        (Plan(Precision.INT8, weights=GROUPED, rest=Precision.BF16), "weights, groups of 64, rest in BF16"),
        (Plan(Precision.INT8, weights=replace(DYNAMIC, tables=True)), "dynamic, tables"),
        (Plan(Precision.INT4, weights=BLOCKS), "weights, groups of 32, blocks of 32"),
        (Plan(Precision.INT8, weights=replace(DYNAMIC, smooth=True)), "dynamic, smooth"),
    ],
)
def test_forms_in_words(plan: Plan, words: str) -> None:
    assert describe_form(Candidate("openvino", plan)) == words
