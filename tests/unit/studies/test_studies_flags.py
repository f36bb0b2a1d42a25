"""Disagreements between what was asked and what ran are told, and nothing else is."""

from __future__ import annotations

import pytest
from trial_samples import make_quality

from assay.core.audit import ExecutionAudit, NodeExecution
from assay.core.plan import Candidate, Plan
from assay.core.precision import Precision
from assay.studies.concluding import find_flags


def audit(**macs: int) -> ExecutionAudit:
    return ExecutionAudit(
        tuple(NodeExecution(name, "Conv", Precision(name), "kernel", count) for name, count in macs.items())
    )


@pytest.mark.parametrize(
    ("asked", "ran", "named"),
    [
        (Precision.INT8, audit(fp32=100), "only 0% ran so: 100% ran in fp32"),
        (Precision.INT8, audit(fp32=60, int8=40), "only 40% ran so"),
        (Precision.INT8, audit(fp32=2, int8=98), None),
        (Precision.FP32, audit(bf16=100), "asked for fp32, but 100%"),
        (Precision.FP32, audit(fp32=100), None),
        (Precision.FP16, audit(fp32=100), "asked for fp16"),
        (Precision.FP16, audit(bf16=100), "100% ran in bf16"),
        (Precision.BF16, audit(bf16=100), None),
        (Precision.INT8, audit(), None),
    ],
)
def test_what_ran_is_held_against_what_was_asked(asked: Precision, ran: ExecutionAudit, named: str | None) -> None:
    flags = find_flags(Candidate("openvino", Plan(asked)), ran, 0, make_quality())
    assert len(flags) == (named is not None)
    assert named is None or named in flags[0]


def test_outputs_that_are_no_numbers_are_told() -> None:
    flags = find_flags(Candidate("openvino", Plan(Precision.BF16)), audit(bf16=1), 7, None)
    assert flags == ("7 output values are NaN or infinite",)


def test_a_dead_output_is_told() -> None:
    dead = make_quality(93.0, 0.1)
    flags = find_flags(Candidate("openvino", Plan(Precision.INT8)), audit(int8=1), 0, dead)
    assert "top1 is 0" in flags[0]
