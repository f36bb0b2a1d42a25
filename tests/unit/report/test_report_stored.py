"""Weights that lie in memory in another format than they are multiplied in, as a report tells them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from trial_samples import make_trial

from assay.core.audit import ExecutionAudit, NodeExecution
from assay.core.precision import Precision
from assay.core.trial import Evidence
from assay.report.cells import executed_cell


def give(*nodes: tuple[Precision, int, Precision | None]) -> Evidence:
    trial = make_trial(Precision.INT8)
    assert trial.evidence is not None
    audit = ExecutionAudit(tuple(NodeExecution("n", "MatMul", kind, "k", macs, held) for kind, macs, held in nodes))
    return replace(trial.evidence, audit=audit)


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ([(Precision.FP32, 99, Precision.INT8), (Precision.FP32, 1, None)], "FP32 100%, weights stored in INT8"),
        ([(Precision.INT8, 1, Precision.INT4)], "INT8 100%, weights stored in INT4"),
        ([(Precision.INT8, 90, None), (Precision.FP32, 10, None)], "INT8 90%, FP32 10%"),
        ([(Precision.FP32, 0, None)], "nothing multiplies"),
    ],
)
def test_what_ran_and_what_is_stored(nodes: list[tuple[Precision, int, Precision | None]], told: str) -> None:
    assert executed_cell(give(*nodes)) == told
