"""Disagreements between what was asked and what ran are told, and nothing else is."""

from __future__ import annotations

import pytest
from quantize_samples import RESIDUAL, RESIDUAL_SHAPES, make
from trial_samples import make_quality

from assay.core.audit import ExecutionAudit, NodeExecution
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.studies.flags import find_flags, share_asked


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
    flags = find_flags({asked: 1.0}, ran, 0, make_quality())
    assert len(flags) == (named is not None)
    assert named is None or named in flags[0]


@pytest.mark.parametrize(
    ("asked", "stored", "named"),
    [
        (Precision.INT8, Precision.INT8, None),
        (Precision.INT4, Precision.INT4, None),
        (Precision.INT4, None, "asked for int4, but only 0% ran so: 100% ran in fp32"),
        (Precision.INT4, Precision.INT8, "asked for int4"),
    ],
)
def test_weights_that_lie_in_a_format_are_not_flagged(
    asked: Precision, stored: Precision | None, named: str | None
) -> None:
    ran = ExecutionAudit((NodeExecution("head", "MatMul", Precision.FP32, "kernel", 100, stored),))
    flags = find_flags({asked: 1.0}, ran, 0, make_quality())
    assert len(flags) == (named is not None)
    assert named is None or named in flags[0]


def test_outputs_that_are_no_numbers_are_told() -> None:
    flags = find_flags({Precision.BF16: 1.0}, audit(bf16=1), 7, None)
    assert flags == ("7 output values are NaN or infinite",)


def test_a_dead_output_is_told() -> None:
    dead = make_quality(93.0, 0.1)
    flags = find_flags({Precision.INT8: 1.0}, audit(int8=1), 0, dead)
    assert "top1 is 0" in flags[0]


@pytest.mark.parametrize(
    ("ran", "named"),
    [
        (audit(int8=30, bf16=60, fp32=10), ()),
        (audit(int8=20, bf16=60, fp32=20), ()),
        (audit(int8=30, fp32=70), ("asked for bf16 in 60% of the arithmetic, but only 0% ran so: 70% ran in fp32",)),
        (audit(bf16=70, fp32=30), ("asked for int8 in 30%",)),
        (audit(int8=30, bf16=70), ("asked for fp32 in 10%",)),
    ],
)
def test_every_format_of_a_mix_is_held_against_its_share(ran: ExecutionAudit, named: tuple[str, ...]) -> None:
    asked = {Precision.INT8: 0.3, Precision.BF16: 0.6, Precision.FP32: 0.1}
    flags = find_flags(asked, ran, 0, make_quality())
    assert len(flags) == len(named)
    assert all(flag.startswith(words) for flag, words in zip(flags, named, strict=True))


def test_shares_follow_the_arithmetic_of_what_is_kept() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    names = {str(node.outputs[0].name): str(node.name) for node in model.graph}
    macs = {"a": 256 * 16 * 27, "d": 256 * 16 * 9, "e": 256 * 16 * 16, "h": 64 * 24 * 144, "y": 5 * 24}
    kept = ((names["a"], Precision.BF16), (names["a1"], Precision.BF16), (names["h"], Precision.FP32))
    shares = share_asked(model, Plan(Precision.INT8, overrides=kept), {"x": (2, 3, 16, 16)})
    total = sum(macs.values())
    assert shares == pytest.approx(
        {
            Precision.INT8: (macs["d"] + macs["e"] + macs["y"]) / total,
            Precision.BF16: macs["a"] / total,
            Precision.FP32: macs["h"] / total,
        }
    )
    assert share_asked(model, Plan(Precision.INT8), {}) == {Precision.INT8: 1.0}
