import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

from assay.core.errors import MeasurementError, RequestError
from assay.core.session import Metric, Scores
from assay.measure.statistics.paired import BETTING, BINOMIAL, EXACT, compare
from assay.measure.statistics.power import items_to_resolve
from assay.measure.tasks.agreement import AGREEMENT

TOP1 = Metric("top1", higher_is_better=True, labelled=True)
ERROR = Metric("error", higher_is_better=False, labelled=True)


def score(
    values: NDArray[np.float64] | list[float], predictions: list[int] | None = None, name: str = "top1"
) -> Scores:
    array = np.asarray(values, np.float64)
    said = np.zeros(len(array), np.int64) if predictions is None else np.array(predictions, np.int64)
    return Scores({name: array}, said)


def flip(n: int, lost: int, won: int) -> tuple[Scores, Scores]:
    before = np.ones(n)
    before[:won] = 0
    after = np.ones(n)
    after[won : won + lost] = 0
    return score(before), score(after)


def test_a_comparison_has_all_its_numbers() -> None:
    quality = compare(TOP1, score([1, 1, 1, 0, 0], [1, 2, 3, 4, 5]), score([1, 0, 0, 1, 0], [1, 9, 9, 9, 5]), 0.95)
    assert (quality.reference, quality.value) == (0.6, 0.4)
    assert quality.difference == pytest.approx(-0.2)
    assert (quality.flips_lost, quality.flips_won, quality.n) == (2, 1, 5)
    assert quality.agreement == 0.4
    assert quality.low < -0.2 < quality.high
    assert (quality.metric, quality.method, quality.confidence) == ("top1", EXACT, 0.95)


def test_flips_follow_the_direction_of_the_metric() -> None:
    before, after = score([0, 0, 1], name="error"), score([1, 1, 0], name="error")
    quality = compare(ERROR, before, after, 0.95)
    assert (quality.flips_lost, quality.flips_won) == (2, 1)
    assert quality.difference == pytest.approx(1 / 3)


def test_equal_artifacts_have_a_symmetric_interval_that_shrinks() -> None:
    widths = []
    for n in (10, 100, 10_000):
        quality = compare(TOP1, *flip(n, 0, 0), 0.95)
        assert quality.low == -quality.high
        assert quality.difference == 0
        widths.append(quality.high)
    # No paired bound without flips can be below 1 - 0.05^(1/n); this one stays within a fiftieth of it.
    least = [1 - 0.05 ** (1 / n) for n in (10, 100, 10_000)]
    assert all(low < width < 1.02 * low for low, width in zip(least, widths, strict=True))


def test_swapping_the_two_mirrors_the_interval() -> None:
    one, two = flip(500, 20, 7)
    there, back = compare(TOP1, one, two, 0.9), compare(TOP1, two, one, 0.9)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-12)


def test_many_items_meet_the_normal_interval() -> None:
    n, lost, won = 50_000, 800, 700
    quality = compare(TOP1, *flip(n, lost, won), 0.95)
    deviation = math.sqrt((lost + won) / n - (100 / n) ** 2)
    half = stats.norm.ppf(0.95) * deviation / math.sqrt(n)
    assert quality.high - quality.difference == pytest.approx(half, rel=0.02)
    assert quality.difference - quality.low == pytest.approx(half, rel=0.02)


def test_total_loss_and_total_gain_are_bounded() -> None:
    lost = compare(TOP1, *flip(10, 10, 0), 0.95)
    assert lost.low == -1
    assert -1 < lost.high < 0
    won = compare(TOP1, *flip(10, 0, 10), 0.95)
    assert won.high == 1
    assert 0 < won.low < 1


@pytest.mark.parametrize(("n", "most"), [(10, 50_000), (10_000, 250_000), (1_000_000, 2_500_000)])
def test_the_exact_interval_is_cheap(n: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in binomial terms, a third of a microsecond each, since clocks depend on what else runs."""
    terms = 0
    plain = special.bdtr

    def count(k: NDArray[np.float64], total: NDArray[np.int64], p: NDArray[np.float64]) -> NDArray[np.float64]:
        nonlocal terms
        terms += k.size
        values: NDArray[np.float64] = plain(k, total, p)
        return values

    monkeypatch.setattr(special, "bdtr", count)
    compare(TOP1, *flip(n, n * 15 // 1000, n * 15 // 1000), 0.95)
    assert 0 < terms < most


def test_agreement_is_a_binomial_proportion() -> None:
    before = Scores({}, np.arange(100))
    after = Scores({}, np.where(np.arange(100) < 4, 999, np.arange(100)))
    quality = compare(AGREEMENT, before, after, 0.95)
    assert (quality.reference, quality.value, quality.agreement) == (1.0, 0.96, 0.96)
    assert quality.difference == -0.04
    assert (quality.flips_lost, quality.flips_won, quality.method) == (4, 0, BINOMIAL)
    exact = stats.binomtest(4, 100)
    assert -quality.low == pytest.approx(exact.proportion_ci(0.90, "exact").high)
    assert -quality.high == pytest.approx(exact.proportion_ci(0.90, "exact").low)


def test_perfect_agreement_keeps_its_doubt() -> None:
    quality = compare(AGREEMENT, Scores({}, np.arange(60)), Scores({}, np.arange(60)), 0.95)
    assert (quality.difference, quality.high) == (0, 0)
    assert quality.low == pytest.approx(-(1 - 0.05 ** (1 / 60)))


def test_no_prediction_agrees_with_nothing() -> None:
    quality = compare(AGREEMENT, Scores({}, np.array([-1, 2])), Scores({}, np.array([-1, 2])), 0.95)
    assert quality.agreement == 0.5


def test_graded_scores_are_bounded_by_betting() -> None:
    rng = np.random.default_rng(1)
    before = rng.random(2000)
    after = np.clip(before + rng.normal(-0.02, 0.05, 2000), 0, 1)
    quality = compare(TOP1, score(before), score(after), 0.95)
    assert quality.method == BETTING
    assert quality.low < quality.difference < quality.high < 0
    assert quality == compare(TOP1, score(before), score(after), 0.95)
    half = stats.norm.ppf(0.95) * float(np.std(after - before)) / math.sqrt(2000)
    assert half < quality.difference - quality.low < 4 * half


def test_the_betting_bounds_hold() -> None:
    rng = np.random.default_rng(11)
    misses = [0, 0]
    for _ in range(400):
        # Rare large losses are what a normal interval gets wrong at this size.
        difference = np.where(rng.random(60) < 0.04, -rng.uniform(0.5, 1, 60), 0)
        before = np.full(60, 1.0)
        quality = compare(TOP1, score(before), score(np.append(before[:59] + difference[:59], 0.999)), 0.9)
        truth = (59 * -0.04 * 0.75 - 0.001) / 60
        misses[0] += quality.low > truth
        misses[1] += quality.high < truth
    assert max(misses) <= stats.binom.ppf(0.999, 400, 0.1)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(MeasurementError, match="3 items of the reference cannot be paired with 2"):
        compare(TOP1, score([1, 1, 1]), score([1, 1]), 0.95)
    with pytest.raises(MeasurementError, match="no items"):
        compare(TOP1, score([]), score([]), 0.95)
    with pytest.raises(RequestError, match="'error' was not scored; scored are top1"):
        compare(ERROR, score([1]), score([1]), 0.95)
    with pytest.raises(MeasurementError, match=r"item 1 is nan"):
        compare(TOP1, score([1, 1]), score([1, math.nan]), 0.95)
    with pytest.raises(MeasurementError, match=r"item 0 is 1.5, outside"):
        compare(TOP1, score([1.5, 1]), score([1, 1]), 0.95)
    with pytest.raises(MeasurementError, match="confidence 1 "):
        compare(TOP1, score([1]), score([1]), 1)
    with pytest.raises(MeasurementError, match=r"shape \[2\] for 1 items"):
        compare(TOP1, Scores({"top1": np.ones(2)}, np.zeros(1, np.int64)), score([1]), 0.95)


def test_items_to_resolve_three_percent_of_flips_at_half_a_point() -> None:
    needed = items_to_resolve(0.015, 0.015, 0.005, 0.95)
    assert needed is not None
    assert 7_400 <= needed <= 7_800


def test_items_to_resolve_decides_as_often_as_promised() -> None:
    rng = np.random.default_rng(2)
    for lost, won, margin in [(0.06, 0.05, 0.06), (0.20, 0.03, 0.08)]:
        n = items_to_resolve(lost, won, margin, 0.95)
        assert n is not None
        drawn = rng.multinomial(n, [lost, won, 1 - lost - won], 20)
        decided = 0
        for down, up, _ in drawn:
            quality = compare(TOP1, *flip(n, down, up), 0.95)
            decided += quality.low >= -margin or quality.high < -margin
        assert decided / 20 >= 0.55


def test_items_to_resolve_are_enough_even_with_bad_luck() -> None:
    needed = items_to_resolve(0.015, 0.015, 0.005, 0.95)
    assert needed is not None
    unlucky = stats.norm.ppf(0.78) * math.sqrt(needed * 0.03) / 2
    lost, won = round(needed * 0.015 + unlucky), round(needed * 0.015 - unlucky)
    assert compare(TOP1, *flip(needed, lost, won), 0.95).low >= -0.005 - 1e-6


def test_items_to_resolve_without_flips_follows_the_rule_of_three() -> None:
    needed = items_to_resolve(0.0, 0.0, 0.005, 0.95)
    assert needed is not None
    assert 598 <= needed <= 610
    assert compare(TOP1, *flip(needed, 0, 0), 0.95).low >= -0.005


def test_no_number_of_items_resolves_a_loss_on_the_margin() -> None:
    assert items_to_resolve(0.010, 0.005, 0.005, 0.95) is None
    assert items_to_resolve(0.0101, 0.005, 0.005, 0.95) is None
    assert items_to_resolve(0.0, 0.0, 0.0, 0.95) is None


@pytest.mark.parametrize("arguments", [(-0.1, 0, 0.01, 0.95), (0.6, 0.6, 0.01, 0.95), (0, 0, 0.01, 1.0)])
def test_impossible_rates_are_refused(arguments: tuple[float, float, float, float]) -> None:
    with pytest.raises(MeasurementError):
        items_to_resolve(*arguments)
