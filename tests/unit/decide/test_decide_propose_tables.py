"""Embedding tables in integers: part of every INT8 form of a model that has them, and left out of the fastest."""

from __future__ import annotations

from trial_samples import U8S8

from assay.core.precision import CastStyle, Precision, RangeMethod
from assay.decide.propose import Capabilities, ModelTraits, Screened, propose

RUNTIME = Capabilities("onnxruntime", (U8S8,), (Precision.FP32,), {Precision.FP16: CastStyle.TYPED})
PRECISIONS = (Precision.FP32, Precision.INT8)
RANGES = (RangeMethod.MSE, RangeMethod.MIN_MAX)
TABLES = ModelTraits(has_convolutions=False, has_tables=True)
PLAIN = ModelTraits(has_convolutions=False)


def run_rounds(traits: ModelTraits, fast: str) -> list[str]:
    """Ids in the order of the trials; the named one takes 1 ms, all others 50."""
    tried: list[Screened] = []
    while fresh := propose([RUNTIME], traits, PRECISIONS, RANGES, tried):
        tried += [Screened(candidate, 1.0 if candidate.id == fast else 50.0) for candidate in fresh]
    return [screened.candidate.id for screened in tried]


def test_the_first_round_stores_tables_in_integers() -> None:
    first = propose([RUNTIME], TABLES, PRECISIONS, RANGES, ())
    assert [candidate.id for candidate in first] == ["onnxruntime.fp32", "onnxruntime.int8-u8s8-operands-mse-tables"]


def test_the_fastest_form_is_tried_with_tables_in_floats() -> None:
    found = run_rounds(TABLES, "onnxruntime.int8-u8s8-operands-minmax-tables")
    assert "onnxruntime.int8-u8s8-operands-mse" in found
    assert "onnxruntime.int8-u8s8-operands-minmax" in found
    assert len(found) == len(set(found))


def test_a_model_without_tables_has_no_such_form() -> None:
    assert not any("tables" in name for name in run_rounds(PLAIN, "onnxruntime.int8-u8s8-operands-minmax"))
