import dataclasses
import math

import numpy as np
import pytest
from functional_samples import NAMES, make_metric, make_records, make_scores
from scipy import optimize
from trial_samples import make_requirements, make_trial

from assay.core.errors import MeasurementError, RequestError
from assay.core.precision import Precision
from assay.core.session import Scores
from assay.decide.assess import assess
from assay.decide.finding import Verdict
from assay.measure.functionals.table import load_functional
from assay.measure.statistics.influence import (
    INFLUENCE,
    bound_above,
    bound_excess,
    bound_mean_above,
    describe_functional,
)
from assay.measure.statistics.paired import compare


def test_the_likelihood_ratio_at_the_bound_is_that_of_the_confidence() -> None:
    values = np.random.default_rng(0).exponential(size=30)
    apart = values - bound_mean_above(values, np.ones(30), 0.95)
    assert apart.mean() < 0
    # As Owen (1988) has it, the weights are 1 / (n (1 + t apart)), and their mean is the bound.
    limits = (-1 / apart.max() + 1e-9, -1 / apart.min() - 1e-9)
    tilt = optimize.brentq(lambda t: np.sum(apart / (1 + t * apart)), *limits, xtol=1e-14)
    assert 2 * np.log1p(tilt * apart).sum() == pytest.approx(1.6448536**2, rel=1e-4)


def test_repeated_values_may_be_counted() -> None:
    values, counts = np.array([0.0, 1.0, 3.0, 99.0]), np.array([40.0, 7, 2, 0])
    repeated = np.repeat(values, counts.astype(int))
    assert bound_mean_above(values, counts, 0.9) == pytest.approx(
        float(bound_mean_above(repeated, np.ones(49), 0.9)), rel=1e-9
    )


def test_the_bound_of_many_items_is_the_normal_one() -> None:
    changes = np.random.default_rng(1).standard_normal(40_000)
    bound = bound_above(np.array(0.3), changes, np.array(4.0), 0.95)
    assert bound == pytest.approx(0.3 + 1.645 * changes.std() / 200, rel=0.01)


def test_samples_are_bounded_at_once_as_one_by_one() -> None:
    rng = np.random.default_rng(2)
    changes, difference, worst = rng.standard_normal((5, 60)), rng.standard_normal(5), rng.uniform(1, 9, 5)
    together = bound_above(difference, changes, worst, 0.95)
    for index in range(5):
        alone = bound_above(difference[index], changes[index], worst[index], 0.95)
        assert together[index] == pytest.approx(float(alone), rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_change_the_interval_is_3_65_of_the_worst_item(name: str) -> None:
    records = make_records(name, 500, np.random.default_rng(0))
    quality = compare(make_metric(name), make_scores(records), make_scores(records.copy()), 0.95)
    width = 3.65 * load_functional(name).worst(records) / 500
    assert quality.difference == 0
    assert quality.high == pytest.approx(width, rel=0.02)
    assert quality.low == -quality.high
    assert (quality.flips_lost, quality.flips_won, quality.n) == (0, 0, 500)
    assert (quality.asymptotic, quality.method) == (True, INFLUENCE)


def test_flips_of_classes_are_right_and_wrong_ones() -> None:
    before = make_records("auc", 400, np.random.default_rng(0))
    before[:, 1] = before[:, 2]
    before[0, 1] = 1 - before[0, 1]
    after = before.copy()
    after[0, 1], after[1:4, 1] = before[0, 2], 1 - before[1:4, 1]
    quality = compare(make_metric("f1"), make_scores(before), make_scores(after), 0.95)
    assert (quality.flips_lost, quality.flips_won) == (3, 1)


def test_flips_of_documents_follow_the_direction_of_the_metric() -> None:
    before = make_records("perplexity", 400, np.random.default_rng(0))
    before[:, 1] = 10
    after = before.copy()
    after[:3, 0] += 5
    quality = compare(make_metric("perplexity"), make_scores(before), make_scores(after), 0.95)
    assert quality.difference > 0
    assert quality.flips_lost >= 3
    assert quality.low < quality.difference < quality.high


def test_a_collapsed_variant_is_proven_worse() -> None:
    before = make_records("f1", 2000, np.random.default_rng(0))
    after = before.copy()
    after[:, 1] = 0
    quality = compare(make_metric("f1"), make_scores(before), make_scores(after), 0.95)
    assert quality.value == 0
    assert quality.high < -0.3
    assert quality.low >= -1


@pytest.mark.parametrize(
    ("rise", "n", "verdict"),
    [
        (0.0, 400, Verdict.UNDECIDED),
        (0.002, 6000, Verdict.MEETS),
        (0.0095, 2000, Verdict.UNDECIDED),
        (0.03, 6000, Verdict.FAILS),
    ],
)
def test_perplexity_may_rise_by_a_share_of_the_reference(rise: float, n: int, verdict: Verdict) -> None:
    rng = np.random.default_rng(4)
    tokens = rng.integers(50, 200, n)
    before = np.column_stack([tokens * rng.normal(3.0, 0.3, n), tokens])
    after = before + np.column_stack([tokens * (rise + 0.01 * rng.standard_normal(n)), np.zeros(n)])
    quality = compare(make_metric("perplexity"), make_scores(before), make_scores(after), 0.95)
    assert quality.value / quality.reference == pytest.approx(math.exp(rise), rel=1e-3)
    assessment = assess(make_requirements("perplexity: 1%"), make_trial(Precision.BF16, quality=quality))
    assert assessment is not None
    assert assessment.quality.verdict is verdict


def test_records_that_were_not_kept_are_refused() -> None:
    records = make_records("f1", 300, np.random.default_rng(0))
    without = Scores({}, np.zeros(300, np.int64), {"other": records})
    with pytest.raises(RequestError, match="needs the record 'it', which was not kept; kept are other"):
        compare(make_metric("f1"), without, without, 0.95)
    longer = dataclasses.replace(make_scores(records), records={"it": records[:200]})
    with pytest.raises(MeasurementError, match="200 records of 300 items"):
        compare(make_metric("f1"), make_scores(records), longer, 0.95)


@pytest.mark.parametrize("name", NAMES)
def test_an_excess_of_no_share_is_the_loss_itself(name: str) -> None:
    rng = np.random.default_rng(3)
    before, after = (make_records(name, 400, rng) for _ in range(2))
    after[..., -1] = before[..., -1]
    quality = compare(make_metric(name), make_scores(before), make_scores(after), 0.95)
    low, high = bound_excess(make_metric(name), make_scores(before), make_scores(after), 0.0, 0.95)
    lost = (-quality.high, -quality.low) if quality.higher_is_better else (quality.low, quality.high)
    span = load_functional(name).span
    assert (max(low, -span), min(high, span)) == pytest.approx(lost)


def test_an_excess_is_certified_no_oftener_than_the_confidence_allows() -> None:
    rng = np.random.default_rng(4)
    metric, functional = make_metric("f1"), load_functional("f1")
    everyone = make_records("f1", 100_000, rng)
    worse = everyone.copy()
    broken = rng.random(len(worse)) < 0.06
    worse[broken, 1] = 1 - worse[broken, 1]
    old, new = functional.value(everyone), functional.value(worse)
    accepted = 0
    for _ in range(150):
        rows = rng.integers(0, len(everyone), 600)
        pair = (make_scores(everyone[rows]), make_scores(worse[rows]))
        accepted += bound_excess(metric, *pair, (old - new) / old, 0.95)[1] <= 0
    # 150 draws at 5% give 17 or more with a chance of 0.2%; none would be a bound that certifies nothing.
    assert 1 <= accepted <= 16


@pytest.mark.parametrize("name", NAMES)
def test_few_items_have_bounds_that_allow_anything(name: str) -> None:
    rng = np.random.default_rng(5)
    scores = make_scores(make_records(name, 4, rng))
    assert describe_functional(make_metric(name), scores, scores, 0.95).allows_anything
