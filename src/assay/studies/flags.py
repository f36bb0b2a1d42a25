"""What to tell of an artifact that ran otherwise than its plan asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir

from assay.core.audit import ExecutionAudit
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.trial import Quality
from assay.graph.arithmetic import count_macs_at

MOSTLY = 0.5
"""Part of what was asked for that is to run so: operators without a kernel in the format are no disagreement."""
NOTICEABLE = 0.01


def share_asked(prepared: ir.Model, plan: Plan, shapes: Mapping[str, Sequence[int]]) -> Mapping[Precision, float]:
    """Format -> share of the arithmetic that a plan wants in it; they add to 1.

    Args:
        prepared: the float model.
        plan: of it.
        shapes: graph input -> its shape in the audited call.
    """
    macs, kept = count_macs_at(prepared, shapes) if plan.overrides else {}, dict(plan.overrides)
    total = sum(macs.values())
    if not total:
        return {plan.precision: 1.0}
    shares = dict.fromkeys((plan.precision, *kept.values()), 0.0)
    for node, count in macs.items():
        shares[kept.get(node, plan.precision)] += count / total
    return shares


def find_flags(
    asked: Mapping[Precision, float], audit: ExecutionAudit, nonfinite: int, quality: Quality | None
) -> tuple[str, ...]:
    """Disagreements between what was asked of a runtime and what it executed, and outputs that are no numbers.

    Args:
        asked: of ``share_asked``.
        audit: what ran.
        nonfinite: output values that are NaN or infinite.
        quality: on the items of the certificate; None where there is none.
    """
    flags = [*_compare_formats(asked, audit)]
    if nonfinite:
        flags.append(f"{nonfinite} output values are NaN or infinite")
    if quality is not None and quality.n and quality.value == 0 and quality.reference > 0:
        flags.append(f"{quality.metric} is 0 where the reference has {quality.reference:.4f}")
    return tuple(flags)


def _compare_formats(asked: Mapping[Precision, float], audit: ExecutionAudit) -> Iterator[str]:
    """What was asked for and did not run so, nor is stored so; nothing where nothing multiplies."""
    shares, stored = audit.shares(), audit.stored_shares()
    if not any(shares.values()):
        return
    if set(asked) == {Precision.FP32}:
        if shares[Precision.FP32] < 1 - NOTICEABLE:
            yield f"asked for fp32, but {1 - shares[Precision.FP32]:.0%} of the arithmetic ran in less"
        return
    ran = max(shares, key=lambda precision: shares[precision])
    for precision, share in asked.items():
        held = shares.get(precision, 0.0) + stored.get(precision, 0.0)
        if share > NOTICEABLE and held < MOSTLY * share:
            part = "" if len(asked) == 1 else f" in {share:.0%} of the arithmetic"
            told = f"only {held:.0%} ran so: {shares[ran]:.0%} ran in {ran}"
            yield f"asked for {precision}{part}, but {told}"
