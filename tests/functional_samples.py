"""Records of every form that functionals take, for tests of them."""

from __future__ import annotations

import numpy as np

from assay.core.session import Metric, Scores
from assay.measure.functionals.functional import Records

BINARY = ("f1", "precision", "recall", "auc", "average-precision")
LABELS = ("f1-micro", "f1-macro")
PAIRS = ("pearson", "spearman", "rmse", "mae")
NAMES = (*BINARY, *LABELS, "f1-macro-classes", *PAIRS, "perplexity", "normalized-entropy")
LOWER_IS_BETTER = ("rmse", "mae", "perplexity", "normalized-entropy")


def make_records(name: str, n: int, rng: np.random.Generator, ties: int = 1) -> Records:
    """Records of a middling model; scores and numbers are rounded to ``ties`` digits."""
    if name in BINARY:
        truth = rng.random(n) < 0.4
        truth[:2] = (False, True)
        score = np.round(rng.standard_normal(n) + truth, ties)
        score[:2] = (0, 1)
        return np.column_stack([score, score > 0.4, truth]).astype(np.float64)
    if name in LABELS:
        truth = rng.random((n, 3)) < (0.5, 0.3, 0.2)
        truth[0] = True
        return np.stack([truth ^ (rng.random((n, 3)) < 0.2), truth], axis=2).astype(np.float64)
    if name == "f1-macro-classes":
        truth = np.arange(n) % 3
        return np.column_stack([np.where(rng.random(n) < 0.7, truth, rng.integers(-1, 5, n)), truth]).astype(np.float64)
    if name in PAIRS:
        truth = rng.standard_normal(n)
        return np.round(np.column_stack([truth + rng.standard_normal(n), truth]), ties)
    if name == "normalized-entropy":
        chance = rng.beta(2, 4, n)
        clicked = rng.random(n) < chance
        clicked[:2] = (False, True)
        return np.column_stack([np.clip(np.round(chance, ties + 1), 0.01, 0.99), clicked]).astype(np.float64)
    tokens = rng.integers(5, 60, n)
    return np.column_stack([tokens * rng.gamma(9, 0.3, n), tokens]).astype(np.float64)


def make_metric(name: str) -> Metric:
    return Metric(name, higher_is_better=name not in LOWER_IS_BETTER, labelled=True, functional=name, record="it")


def make_scores(records: Records) -> Scores:
    return Scores({}, np.zeros(len(records), np.int64), {"it": records})
