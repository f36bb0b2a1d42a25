"""The metric that every task with predictions has: how often a variant says what the reference says."""

from __future__ import annotations

from assay.core.session import Metric

AGREEMENT = Metric("agreement", higher_is_better=True, labelled=False)
"""Share of items predicted as the reference predicts them; it has no item scores of its own and needs no targets."""
