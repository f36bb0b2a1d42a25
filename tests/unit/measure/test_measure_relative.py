import numpy as np
import pytest
from scipy import stats

from assay.core.certificate import CertificateStatus
from assay.core.errors import MeasurementError
from assay.core.requirements import Tolerance
from assay.measure.statistics.ending import finish_relative
from assay.measure.statistics.relative import bound_reference, confine_reference, relative_losses
from assay.measure.statistics.sequential import Moments, SequentialTest, find_crossings
from assay.measure.statistics.trinomial import bound_loss
from assay.measure.statistics.wealth import Tally

RNG_SEED = 9


def test_the_reference_is_bounded_exactly() -> None:
    scores = np.repeat([1.0, 0.0], [80, 20])
    low, high = confine_reference(scores, 0.001)
    assert low == bound_reference(scores, 0.001)
    # P(80 or more | low) and P(80 or fewer | high) are the error each.
    assert stats.binom.sf(79, 100, low) == pytest.approx(0.001, rel=1e-6)
    assert stats.binom.cdf(80, 100, high) == pytest.approx(0.001, rel=1e-6)
    assert confine_reference(np.zeros(30), 0.001)[0] == 0.0
    assert confine_reference(np.ones(30), 0.001)[1] == 1.0


def test_the_bound_of_the_reference_holds() -> None:
    rng = np.random.default_rng(RNG_SEED)
    gamma = 0.05
    bounds = np.array([bound_reference(rng.beta(4, 1, 60), gamma) for _ in range(400)])
    assert (bounds > 0.8).mean() <= 0.09
    assert bounds.mean() > 0.7


def test_a_negated_metric_may_drop_and_need_not_improve() -> None:
    rng = np.random.default_rng(RNG_SEED)
    # Higher is better, and the best is 0: as the negative of a loss.
    before = -rng.uniform(0.3, 0.5, 4000)
    tolerance = Tolerance.parse("quality: 5%")
    margin = tolerance.margin(bound_reference(before, 0.001))
    assert 0.018 < margin < 0.05 * 0.4
    for change, status in ((0.0, CertificateStatus.CERTIFIED), (-0.03, CertificateStatus.WORSE)):
        after = np.clip(before + change, -1, 0)
        relative = relative_losses(before, after, 0.05, higher_is_better=True)
        test = SequentialTest(0.0, 0.975, Moments.of(relative.values[:200]))
        test.add(relative.values[200:])
        assert test.status is status


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_relative_losses_turn_by_the_direction(higher_is_better: bool) -> None:  # noqa: FBT001 - parametrised
    before, after = np.array([0.0, 1.0, 0.5]), np.array([1.0, 0.0, 0.5])
    relative = relative_losses(before, after, 0.1, higher_is_better=higher_is_better)
    sign = 1 if higher_is_better else -1
    assert (relative.values * relative.scale).tolist() == pytest.approx([-sign, sign - 0.1, -0.05])
    assert np.abs(relative.values).max() <= 1


def test_relative_losses_refuse_both_signs() -> None:
    with pytest.raises(MeasurementError, match="relative tolerance"):
        relative_losses(np.array([0.5, -0.5]), np.zeros(2), 0.1, higher_is_better=True)
    with pytest.raises(MeasurementError, match="compared"):
        relative_losses(np.zeros(2), np.zeros(3), 0.1, higher_is_better=True)
    with pytest.raises(MeasurementError, match="bounded"):
        bound_reference(np.zeros(0), 0.01)


def test_a_reference_of_either_sign_is_bounded_by_its_size() -> None:
    low, high = confine_reference(np.tile([-0.5, -0.7, 0.1], 500), 0.01)
    assert 0.25 < low < 0.367 < high < 0.48
    assert confine_reference(np.tile([-0.5, 0.5], 50), 0.01)[0] == 0.0


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_a_relative_tolerance_is_concluded_exactly(higher_is_better: bool) -> None:  # noqa: FBT001 - parametrised
    before = np.zeros(4000)
    before[: 3200 if higher_is_better else 800] = 1.0
    before = np.random.default_rng(1).permutation(before)
    after = before.copy()
    flipped = np.flatnonzero(before == (1.0 if higher_is_better else 0.0))[:40]
    after[flipped] = 1 - after[flipped]
    relative = relative_losses(before, after, 0.03, higher_is_better=higher_is_better)
    test = SequentialTest(0.0, 0.975, Moments.of(relative.values))
    test.add(relative.values)
    status, look, margin = finish_relative(test, before, after, 0.03, 0.975, higher_is_better=higher_is_better)
    assert look.loss == 0.01
    assert 0.01 < look.high < 0.0145
    share = 0.8 if higher_is_better else 0.2
    assert 0.03 * (share - 0.03) < margin < 0.03 * share
    # 3% of 80% allow a loss of 2.4 points, 3% of 20% do not allow one of 1.
    assert status is (CertificateStatus.CERTIFIED if higher_is_better else CertificateStatus.WORSE)


def test_a_margin_that_is_hardly_known_decides_nothing() -> None:
    before = np.tile([1.0, 0.0], 150)
    after = before.copy()
    after[::5] = 0.0  # half of these were 0 before
    after[2::10] = 0.0
    relative = relative_losses(before, after, 0.5, higher_is_better=True)
    test = SequentialTest(0.0, 0.999, gap=0.25)
    test.add(relative.values)
    status, look, margin = finish_relative(test, before, after, 0.5, 0.975, higher_is_better=True)
    assert margin < look.high < 0.5 * confine_reference(before, 0.0005)[1]
    assert status is CertificateStatus.OPEN


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_a_loss_of_the_share_is_seldom_certified(higher_is_better: bool) -> None:  # noqa: FBT001 - parametrised
    rng = np.random.default_rng(RNG_SEED)
    amount, share, streams, n = 0.02, 0.7, 8000, 800
    before = (rng.random((streams, n)) < share).astype(np.float64)
    uniform = rng.random((streams, n))
    # Of the items, 6% and what is lost on balance change.
    worse, better = (0.0, 1.0) if higher_is_better else (1.0, 0.0)
    among_worse = share if better == 1 else 1 - share
    spoilt = (before == better) & (uniform < (0.03 + amount * share) / among_worse)
    mended = (before == worse) & (uniform < 0.03 / (1 - among_worse))
    after = np.where(spoilt, worse, np.where(mended, better, before))
    relative = relative_losses(before, after, amount, higher_is_better=higher_is_better).values
    assert relative.mean() == pytest.approx(0, abs=0.0005)
    crossings = find_crossings(relative, 0.0, 0.95, Tally.of(relative[:, :0]), amount * share)
    assert (crossings > 0).mean() <= stats.binom.ppf(0.99, streams, 0.05) / streams
    losses = (before - after if higher_is_better else after - before).astype(np.int64)
    certified = 0
    for stream in range(300):
        lowest = bound_reference(before[stream], 0.001)
        lost, won = int((losses[stream] > 0).sum()), int((losses[stream] < 0).sum())
        certified += bound_loss(lost, won, n, 0.951) <= amount * lowest
    assert certified <= stats.binom.ppf(0.99, 300, 0.05)
