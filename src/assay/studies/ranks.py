"""What to tell of a ranking beside its metric: scores that became equal, and queries that no model can answer."""

from __future__ import annotations

from collections.abc import Mapping

from assay.core.session import Scores
from assay.measure.tasks.ranking import MRR, TIED

NOTICEABLE = 0.01


def describe_ranks(reference: Scores | None, variants: Mapping[str, Scores]) -> list[str]:
    """Warnings in words; none where the task is another one.

    Args:
        reference: item scores of the FP32 model, in the evaluation order as far as it was scored.
        variants: name -> item scores of a variant, in the same order.
    """
    if reference is None or TIED.name not in reference.metrics or not len(reference):
        return []
    told = []
    # The reciprocal rank is above 0 wherever a document is relevant and the model gives an order.
    unanswerable = int((reference.metrics[MRR.name] == 0).sum())
    if unanswerable:
        told.append(
            f"{unanswerable:,} of {len(reference):,} queries have no relevant document, or no order: they score 0 "
            "under every model and dilute an absolute loss; leave them out"
        )
    for name, scores in variants.items():
        n = min(len(reference), len(scores))
        if TIED.name not in scores.metrics or not n:
            continue
        before, after = (float(one.metrics[TIED.name][:n].mean()) for one in (reference, scores))
        if after - before >= NOTICEABLE:
            told.append(
                f"{name}: {after:.1%} of the documents share their score with another one, {before:.1%} under FP32; "
                "they count by the mean over their orders"
            )
    return told
