import math
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

from assay.core.certificate import CertificateStatus
from assay.core.errors import MeasurementError
from assay.measure.statistics.ending import confine_loss, finish, is_hopeless
from assay.measure.statistics.sequential import Moments, SequentialTest, find_crossings, lay_grid, plan_looks
from assay.measure.statistics.trinomial import bound_loss
from assay.measure.statistics.wealth import Tally, size_bets

HALF = 0.975


def draw(rng: np.random.Generator, shape: tuple[int, ...], rate: float, loss: float) -> NDArray[np.float64]:
    uniform = rng.random(shape)
    return (uniform < (rate + loss) / 2).astype(np.float64) - (uniform > 1 - (rate - loss) / 2)


def count_until_decided(test: SequentialTest, losses: NDArray[np.float64]) -> int:
    for index in range(losses.size):
        test.add(losses[index : index + 1])
        if test.status is not CertificateStatus.OPEN:
            return index + 1
    return 0


@pytest.mark.parametrize("margin", [0.005, 0.01, 0.05])
@pytest.mark.parametrize("prior", [None, Moments(200, 0.0, 0.0), Moments(1000, 0.0, 0.0)])
def test_without_a_flip_it_certifies_when_it_can(margin: float, prior: Moments | None) -> None:
    least = math.log(1 - HALF) / math.log1p(-margin)
    taken = count_until_decided(SequentialTest(margin, HALF, prior), np.zeros(2000))
    assert least <= taken <= math.ceil(1.045 * least) + 1


def test_ten_items_never_certify_half_a_point() -> None:
    test = SequentialTest(0.005, HALF)
    losses = np.zeros(10)
    look = test.add(losses)
    assert test.status is CertificateStatus.OPEN
    assert look.high > 0.005
    status, last = finish(test, losses, HALF)
    assert status is CertificateStatus.OPEN
    assert last.high == bound_loss(0, 0, 10, HALF)
    assert last.high > 0.3


@pytest.mark.parametrize(("rate", "margin"), [(0.01, 0.01), (0.05, 0.02), (0.2, 0.05)])
@pytest.mark.parametrize("hopeful", [True, False])
def test_a_loss_of_the_margin_is_seldom_certified(rate: float, margin: float, hopeful: bool) -> None:  # noqa: FBT001 - parametrised
    rng = np.random.default_rng(5)
    streams, n = 20_000, 800
    # Bets that expect no loss at all are the most daring, and must err no more often.
    search = np.zeros((streams, 200)) if hopeful else draw(rng, (streams, 200), rate, margin)
    crossings = find_crossings(draw(rng, (streams, n), rate, margin), margin, 0.95, Tally.of(search), margin)
    count = int((crossings > 0).sum())
    assert special.betaincinv(count + 1, streams - count, 0.99) <= 0.055
    # and a loss of nothing often is
    fine = find_crossings(draw(rng, (200, 6000), rate, 0.0), margin, 0.95, Tally.of(np.zeros((200, 1))), margin)
    assert (fine > 0).mean() > 0.5


def test_the_test_and_the_simulation_bet_alike() -> None:
    rng = np.random.default_rng(3)
    search, losses = draw(rng, (4, 200), 0.02, 0.0), draw(rng, (4, 5000), 0.02, 0.0)
    crossings = find_crossings(losses, 0.01, HALF, Tally.of(search), 0.01)
    assert (crossings > 0).all()
    for stream, crossing in enumerate(crossings):
        taken = count_until_decided(SequentialTest(0.01, HALF, Moments.of(search[stream])), losses[stream])
        # The test asks for the rejection of all larger losses besides.
        assert crossing <= taken <= 1.1 * crossing


@pytest.mark.parametrize(("rate", "loss"), [(0.02, 0.012), (0.3, -0.04)])
def test_bounds_hold_at_all_looks_together(rate: float, loss: float) -> None:
    rng = np.random.default_rng(17)
    missed_high = missed_low = 0
    for _ in range(100):
        test = SequentialTest(0.01, 0.8, gap=0.02)
        for chunk in np.split(draw(rng, (1200,), rate, loss), 4):
            test.add(chunk)
        missed_high += min(look.high for look in test.looks) < loss
        missed_low += max(look.low for look in test.looks) > loss
        assert test.looks[-1].high - test.looks[-1].low < 0.2
    assert max(missed_high, missed_low) <= stats.binom.ppf(0.999, 100, 0.2)


def test_a_great_loss_is_proven_worse() -> None:
    test = SequentialTest(0.01, HALF)
    losses = draw(np.random.default_rng(1), (3000,), 0.1, 0.06)
    for start in range(0, 3000, 300):
        look = test.add(losses[start : start + 300])
    assert test.status is CertificateStatus.WORSE
    assert 0.01 <= look.low <= look.loss <= look.high < 0.1
    assert look.loss == pytest.approx(losses.mean())
    assert finish(test, losses, HALF)[0] is CertificateStatus.WORSE


def test_what_is_decided_stays_decided() -> None:
    test = SequentialTest(0.01, HALF)
    test.add(np.zeros(500))
    assert test.status is CertificateStatus.CERTIFIED
    look = test.add(np.ones(500))
    assert test.status is CertificateStatus.CERTIFIED
    assert look.high >= look.loss == 0.5
    assert [one.n for one in test.looks] == [500, 1000]
    assert test.n == 1000


def test_search_items_spare_items_where_much_flips() -> None:
    rng = np.random.default_rng(11)
    losses = draw(rng, (200, 8000), 0.1, 0.0)
    known = find_crossings(losses, 0.01, HALF, Tally.of(draw(rng, (200, 1000), 0.1, 0.0)), 0.01)
    unknown = find_crossings(losses, 0.01, HALF, Tally.of(np.zeros((200, 1))), 0.01)
    assert (known > 0).sum() > 1.3 * (unknown > 0).sum()


def test_a_million_items_take_no_memory() -> None:
    rng = np.random.default_rng(0)
    test = SequentialTest(0.005, HALF, Moments(1000, 0.0, 0.03))
    losses = draw(rng, (10_000,), 0.03, 0.003)
    test.add(losses)
    tracemalloc.start()
    for _ in range(99):
        test.add(losses)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert test.n == 1_000_000
    assert peak < 4 * 2**20


def test_items_at_the_end_decide_where_betting_has_not() -> None:
    losses = np.zeros(1000)
    losses[::200] = 1.0
    test = SequentialTest(0.0125, HALF, Moments(500, 0.006, 0.006))
    test.add(losses)
    assert test.status is CertificateStatus.OPEN
    status, look = finish(test, losses, HALF)
    assert status is CertificateStatus.CERTIFIED
    assert look.high == bound_loss(5, 0, 1000, HALF)
    assert look.low <= look.loss == 0.005
    with pytest.raises(MeasurementError, match="999"):
        finish(test, losses[1:], HALF)


def test_other_losses_are_bounded_by_betting() -> None:
    losses = np.random.default_rng(2).uniform(-0.2, 0.2, 3000)
    low, high = confine_loss(losses, HALF)
    assert -0.02 < low < losses.mean() < high < 0.02
    test = SequentialTest(0.02, HALF, Moments(500, 0.0, 0.013))
    test.add(losses)
    assert test.status is CertificateStatus.CERTIFIED


@pytest.mark.parametrize(
    ("loss", "remaining", "hopeless"),
    [(0.0, 1000, False), (0.005, 1000, False), (0.05, 1000, False), (0.03, 20, True)],
)
def test_hopeless_is_what_the_other_items_can_settle_neither_way(
    loss: float, remaining: int, *, hopeless: bool
) -> None:
    """A loss far beyond the margin can still be proven."""
    losses = draw(np.random.default_rng(8), (800,), 0.06, loss)
    test = SequentialTest(0.01, HALF)
    assert not is_hopeless(test, 5000, HALF)
    test.add(losses[:400])
    assert test.status is CertificateStatus.OPEN
    assert is_hopeless(test, remaining, HALF) == hopeless
    if hopeless:
        few = SequentialTest(0.01, HALF)
        few.add(losses[:20])
        assert not is_hopeless(few, 10_000, HALF)


def test_hopeless_where_too_few_items_are_left() -> None:
    losses = draw(np.random.default_rng(4), (400,), 0.06, 0.02)
    test = SequentialTest(0.01, HALF)
    test.add(losses)
    assert is_hopeless(test, 10, HALF)
    assert not is_hopeless(test, 1_000_000, HALF) or test.loss > 0.03


def test_looks_are_planned_from_the_fewest_items_on() -> None:
    looks = plan_looks(5000, 0.005, HALF)
    least = math.log(1 - HALF) / math.log1p(-0.005)
    assert least <= looks[0] <= 1.06 * least
    assert looks[-1] == 5000
    growth = np.divide(looks[1:], looks[:-1])
    assert (growth > 1.05).all()
    assert (growth < 1.35).all()
    assert plan_looks(50, 0.005, HALF) == (50,)
    with pytest.raises(MeasurementError, match="0 items"):
        plan_looks(0, 0.005, HALF)
    with pytest.raises(MeasurementError, match="margin"):
        plan_looks(10, 0.0, HALF)


@pytest.mark.parametrize("margin", [-0.3, 0.0, 0.005, 0.5])
def test_the_grid_holds_the_margin(margin: float) -> None:
    grid = lay_grid(margin, 0.01)
    assert margin in grid
    assert (np.diff(grid) > 0).all()
    assert grid[0] > -1
    assert grid[-1] < 1


def test_what_is_no_loss_is_refused() -> None:
    test = SequentialTest(0.01, HALF)
    test.add(np.zeros(5))
    with pytest.raises(MeasurementError, match=r"item 6 is 1\.5"):
        test.add(np.array([0.0, 1.5]))
    with pytest.raises(MeasurementError, match="nan"):
        test.add(np.array([math.nan]))
    with pytest.raises(MeasurementError, match="no chunk"):
        test.add(np.zeros(0))
    with pytest.raises(MeasurementError, match="no losses"):
        Moments.of(np.zeros(0))
    with pytest.raises(MeasurementError, match="no item"):
        _ = SequentialTest(0.01, HALF).loss
    assert test.n == 5


@pytest.mark.parametrize(("margin", "confidence", "gap"), [(1.0, 0.9, None), (0.1, 1.0, None), (0.1, 0.9, 0.0)])
def test_what_cannot_be_tested_is_refused(margin: float, confidence: float, gap: float | None) -> None:
    with pytest.raises(MeasurementError):
        SequentialTest(margin, confidence, gap=gap)


def test_an_unlucky_search_does_not_end_the_betting() -> None:
    unlucky = Tally.suppose(0.0, 0.01) + Moments(400, 0.03, 0.05).tally()
    bets = size_bets(np.array([0.01, 0.02, 0.05]), unlucky)
    assert (bets > 0).all()
    assert (np.diff(bets) > 0).all()
    assert bets[0] < 0.1


def test_a_crossing_is_the_first_item_that_certifies() -> None:
    losses = draw(np.random.default_rng(6), (5, 5000), 0.02, 0.0)
    prior = Tally.of(np.zeros((5, 100)))
    crossings = find_crossings(losses, 0.01, HALF, prior, 0.01)
    for stream, crossing in enumerate(crossings):
        assert find_crossings(losses[:, :crossing], 0.01, HALF, prior, 0.01)[stream] == crossing
        assert find_crossings(losses[:, : crossing - 1], 0.01, HALF, prior, 0.01)[stream] == 0


def test_the_last_interval_is_what_both_leave() -> None:
    losses = np.zeros(600)
    losses[500:520:5] = 1.0
    test = SequentialTest(0.01, HALF)
    test.add(losses[:500])
    test.add(losses[500:])
    low, high = confine_loss(losses, HALF)
    status, look = finish(test, losses, HALF)
    assert status is CertificateStatus.CERTIFIED
    assert look.high == test.looks[-1].high < high
    assert look.low == low > test.looks[-1].low
