from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.core.certificate import CertificateStatus
from assay.core.requirements import SliceRule
from assay.core.session import Scores
from assay.measure.statistics.slices import certify_slices, find_dead_classes, judge_slices
from assay.measure.tasks.classification import TOP1

TEN = SliceRule.parse("class: 10pp")
RELATIVE = SliceRule.parse("class: 20%")
RUNS = 200
MOST = 0.05 + 3 * np.sqrt(0.05 * 0.95 / RUNS)
"""Above it, an error rate of 5% is refuted by so many runs."""


def draw_pair(rng: np.random.Generator, classes: int, n: int, lost: list[float], won: float) -> tuple[Scores, Scores]:
    """Items whose reference is right half of the time; ``lost`` and ``won`` are shares of all items."""
    column = np.repeat(np.arange(classes), n)
    chance = rng.random(classes * n)
    threshold = np.asarray(lost)[column]
    right = np.tile(np.arange(n) % 2 == 0, classes)
    after = np.where(right, chance >= 2 * threshold, chance < 2 * won)
    return tuple(  # type: ignore[return-value] # two of them
        Scores({"top1": hits.astype(np.float64)}, hits.astype(np.int64), columns={"class": column})
        for hits in (right, after)
    )


@pytest.mark.parametrize("rule", [TEN, RELATIVE])
def test_slices_at_the_margin_are_rarely_called_worse(rule: SliceRule) -> None:
    """Twelve classes lose exactly what is tolerated: without a correction, a third of the runs would accuse one."""
    rng = np.random.default_rng(101)
    accused = 0
    for _ in range(RUNS):
        reference, variant = draw_pair(rng, 12, 80, [0.15] * 12, 0.05)
        found = certify_slices(TOP1, reference, variant, rule, 0.95)
        accused += judge_slices(found) is CertificateStatus.WORSE
    assert accused / RUNS <= MOST
    assert accused > 0 or rule is RELATIVE


def test_classes_that_are_worse_leave_the_others_their_error_rate() -> None:
    """Six of the twelve are far worse: of the six others, whose loss is at the margin, none may be accused."""
    rng = np.random.default_rng(102)
    accused = 0
    for _ in range(RUNS):
        reference, variant = draw_pair(rng, 12, 80, [0.15] * 6 + [0.45] * 6, 0.05)
        worse = {int(part.value) for part in find_dead_classes(TOP1, reference, variant, 0.95)}
        assert len(worse & set(range(6, 12))) >= 5
        accused += bool(worse & set(range(6)))
    assert accused / RUNS <= MOST


def test_a_slice_at_the_margin_is_rarely_certified_with_all_others() -> None:
    """The claim that all slices hold has the error rate of one: that of the only slice that does not."""
    rng = np.random.default_rng(103)
    passed = 0
    for _ in range(RUNS):
        reference, variant = draw_pair(rng, 4, 200, [0.12, 0.0, 0.0, 0.0], 0.02)
        found = certify_slices(TOP1, reference, variant, TEN, 0.95)
        passed += all(part.status is CertificateStatus.CERTIFIED for part in found)
    assert passed / RUNS <= MOST
    assert passed > 0


def test_scores_between_0_and_1_are_rarely_called_worse() -> None:
    rng = np.random.default_rng(104)
    accused = 0
    column = np.repeat(np.arange(6), 100)
    for _ in range(60):
        before = rng.uniform(0.5, 1, 600)
        after = before - rng.choice([0.0, 0.2], 600)
        reference, variant = (
            Scores({"top1": one}, one.astype(np.int64), columns={"class": column}) for one in (before, after)
        )
        found = certify_slices(TOP1, reference, variant, TEN, 0.95)
        accused += judge_slices(found) is CertificateStatus.WORSE
    assert accused <= 8


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), min_size=1, max_size=60),
    st.sampled_from([TEN, RELATIVE]),
    st.randoms(use_true_random=False),
)
def test_certificates_are_consistent_and_blind_to_the_order(
    items: list[tuple[int, bool, bool]], rule: SliceRule, random: object
) -> None:
    def certify(rows: list[tuple[int, bool, bool]]) -> list[object]:
        column, before, after = (np.array(values) for values in zip(*rows, strict=True))
        pair = [
            Scores({"top1": one.astype(np.float64)}, one.astype(np.int64), columns={"class": column})
            for one in (before, after)
        ]
        return list(certify_slices(TOP1, pair[0], pair[1], rule, 0.9))

    found = certify(items)
    mixed = list(items)
    random.shuffle(mixed)  # type: ignore[attr-defined] # a Random of Hypothesis
    assert sorted(map(repr, certify(mixed))) == sorted(map(repr, found))
    assert sum(part.n for part in found) == len(items)  # type: ignore[attr-defined] # a certificate
    for part in found:
        assert part.low <= part.loss <= part.high  # type: ignore[attr-defined] # a certificate
        certified = part.status is CertificateStatus.CERTIFIED  # type: ignore[attr-defined] # a certificate
        assert not certified or part.high <= part.margin  # type: ignore[attr-defined] # a certificate
