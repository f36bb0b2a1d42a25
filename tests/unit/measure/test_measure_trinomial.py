import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import gammaln, xlogy

from assay.measure.statistics.trinomial import bound_loss, compute_p_value, confine_rate


def list_outcomes(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every ``lost`` and ``won`` that n items can show."""
    pairs = np.array([(lost, won) for lost in range(n + 1) for won in range(n + 1 - lost)])
    return pairs[:, 0], pairs[:, 1]


def weigh_outcomes(n: int, p_lost: float, p_won: float) -> NDArray[np.float64]:
    """Probability of every outcome."""
    lost, won = list_outcomes(n)
    rest = n - lost - won
    choices = gammaln(n + 1) - gammaln(lost + 1) - gammaln(won + 1) - gammaln(rest + 1)
    kept = max(0.0, 1 - p_lost - p_won)
    return np.exp(choices + xlogy(lost, p_lost) + xlogy(won, p_won) + xlogy(rest, kept))


@pytest.mark.parametrize("confidence", [0.95, 0.8])
@pytest.mark.parametrize("n", [1, 2, 6, 12])
def test_every_bound_of_few_items_holds_at_its_confidence(n: int, confidence: float) -> None:
    """Not a simulation: all outcomes are weighed exactly, over a grid of truths."""
    bounds = np.array([bound_loss(lost, won, n, confidence) for lost, won in zip(*list_outcomes(n), strict=True)])
    grid = np.concatenate([np.linspace(0, 0.1, 11), np.linspace(0.13, 1, 30)])
    for p_lost in grid:
        for p_won in grid[grid <= 1 - p_lost]:
            missed = bounds < p_lost - p_won - 1e-12
            assert weigh_outcomes(n, p_lost, p_won)[missed].sum() <= 1 - confidence + 1e-9


def test_a_bound_holds_where_the_p_value_rises_again() -> None:
    # Here a loss beyond the first one that the test rejects is not rejected: stopping early would miss too often.
    n, p_lost, p_won = 15, 0.14, 0.0875
    weights = weigh_outcomes(n, p_lost, p_won)
    near = weights > 1e-7
    lost, won = (x[near] for x in list_outcomes(n))
    bounds = np.array([bound_loss(a, b, n, 0.95) for a, b in zip(lost.tolist(), won.tolist(), strict=True)])
    assert weights[near][bounds < p_lost - p_won].sum() <= 0.05


@pytest.mark.parametrize("n", [2, 9])
def test_the_bound_is_monotone(n: int) -> None:
    bounds = {(a, b): bound_loss(a, b, n, 0.95) for a, b in zip(*(x.tolist() for x in list_outcomes(n)), strict=True)}
    for (lost, won), bound in bounds.items():
        assert bounds.get((lost + 1, won), 1.0) >= bound
        assert bounds.get((lost, won + 1), -1.0) <= bound
        assert bound_loss(lost, won, n, 0.99) >= bound


@pytest.mark.parametrize(
    ("n", "p_lost", "p_won"), [(250, 0.02, 0.01), (250, 0.004, 0.0), (2_000, 0.02, 0.02), (2_000, 0.1, 0.3)]
)
def test_the_bound_holds_for_more_items(n: int, p_lost: float, p_won: float) -> None:
    rng = np.random.default_rng(n)
    drawn, counts = np.unique(
        rng.multinomial(n, [p_lost, p_won, 1 - p_lost - p_won], 300)[:, :2], axis=0, return_counts=True
    )
    # The least certain outcomes are those with the smallest loss: only they can miss.
    risky = (drawn[:, 0] - drawn[:, 1]) / n < p_lost - p_won
    misses = sum(
        count
        for (lost, won), count in zip(drawn[risky].tolist(), counts[risky].tolist(), strict=True)
        if compute_p_value(lost, won, n, p_lost - p_won, confine_rate(lost + won, n, 0.001), 0.001) <= 0.05
    )
    assert misses <= stats.binom.ppf(0.999, 300, 0.05)


@pytest.mark.parametrize(
    ("lost", "won", "loss", "rate"), [(3, 4, 0.1, 0.25), (0, 2, 0.0, 0.02), (0, 0, 0.0, 0.02), (1, 9, -0.2, 0.3)]
)
def test_the_p_value_is_the_probability_it_says(lost: int, won: int, loss: float, rate: float) -> None:
    """Against the plain double sum over all outcomes, at one flip rate."""
    n = 30
    downs, ups = list_outcomes(n)

    def studentise(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
        variance = n * (np.maximum((a + b) / n, abs(loss)) + (a + b) / n / 2 - loss**2)
        return np.where(variance > 0, (a - b - n * loss) / np.sqrt(np.where(variance > 0, variance, 1)), 0)

    clear = studentise(downs, ups) <= studentise(np.array([lost]), np.array([won])) + 1e-12
    expected = weigh_outcomes(n, (rate + loss) / 2, (rate - loss) / 2)[clear].sum()
    assert compute_p_value(lost, won, n, loss, (rate, rate), 0.0) == pytest.approx(expected, abs=1e-8)


def test_a_loss_beyond_every_possible_flip_rate_is_rejected() -> None:
    assert compute_p_value(0, 0, 100, 0.5, confine_rate(0, 100, 0.001), 0.001) == 0.001


def test_one_lost_item_of_one_says_nothing() -> None:
    assert bound_loss(1, 0, 1, 0.95) == 1.0


def test_the_flip_rate_is_confined_as_clopper_and_pearson_have_it() -> None:
    interval = stats.binomtest(7, 90).proportion_ci(0.99, "exact")
    assert confine_rate(7, 90, 0.01) == pytest.approx((interval.low, interval.high))
    assert confine_rate(0, 90, 0.01)[0] == 0.0
    assert confine_rate(90, 90, 0.01)[1] == 1.0


def test_a_million_items_without_a_flip() -> None:
    assert 2.99e-6 < bound_loss(0, 0, 1_000_000, 0.95) < 3.05e-6


def test_the_bound_stays_near_the_normal_one_where_flips_are_many() -> None:
    n, lost, won = 10_000, 150, 150
    half = stats.norm.ppf(0.95) * math.sqrt(300 / n / n)
    assert half < bound_loss(lost, won, n, 0.95) < 1.02 * half
