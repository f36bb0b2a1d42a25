from __future__ import annotations

import math

import pytest

from assay.decide.mixed import PRICE_ERROR, Exam, Toll
from assay.decide.prospects import SHARED, Prospect, estimate_chance, expect_saving, find_doubt

EXAM = Exam(items=1000, z=1.645)
TOLL = Toll(loss=0.5, variance=1.0)


def test_what_was_seen_and_what_movement_costs_are_known_better_together() -> None:
    assert find_doubt(0.01, None, TOLL) == find_doubt(0.01, 0.04, None) == 0.01
    both = find_doubt(0.01, 0.04, TOLL)
    assert both < min(0.01, PRICE_ERROR * 0.02)
    assert 1 / both**2 == pytest.approx(1 / 0.01**2 + 1 / (PRICE_ERROR * 0.02) ** 2)
    assert find_doubt(0.0, 0.0, TOLL) == 0.0


def test_a_bound_on_the_tolerance_holds_every_other_time() -> None:
    assert estimate_chance(0.01 - 1.645 * math.sqrt(0.02 / 1000), 0.02, 0.003, 0.01, EXAM) == pytest.approx(0.5)
    assert estimate_chance(0.0, 0.0, 0.0, 0.0, EXAM) == 1.0
    assert estimate_chance(0.011, 0.0, 0.0, 0.01, EXAM) == 0.0
    assert estimate_chance(math.inf, 0.0, 0.0, 0.01, EXAM) == 0.0


def test_less_loss_and_more_items_make_a_certificate_likelier() -> None:
    chances = [estimate_chance(loss, 0.02, 0.001, 0.01, EXAM) for loss in (0.012, 0.008, 0.004, -0.01)]
    assert chances == sorted(chances)
    few, many = (estimate_chance(0.004, 0.02, 0.0, 0.01, Exam(items, 1.645)) for items in (100, 10_000))
    assert few < 0.5 < many


def test_a_doubtful_loss_leaves_a_chance_to_a_plan_that_would_fail() -> None:
    sure, doubtful = (estimate_chance(0.02, 0.001, error, 0.01, EXAM) for error in (0.0, 0.01))
    assert sure < 1e-6
    assert doubtful > 0.1


def test_a_plan_saves_what_the_fastest_that_holds_takes_more() -> None:
    safe, risky = Prospect(10.0, 1.0), Prospect(6.0, 0.5)
    assert expect_saving(Prospect(4.0, 1.0), [safe]) == 6.0
    assert expect_saving(Prospect(4.0, 1.0), [risky, safe]) == pytest.approx(0.5 * 2 + 0.5 * 6)
    assert expect_saving(Prospect(10.0, 1.0), [safe]) == 0.0
    assert expect_saving(Prospect(4.0, 1.0), []) == 0.0


def test_luck_is_shared_to_a_part() -> None:
    safe, risky = Prospect(10.0, 1.0), Prospect(6.0, 0.5)
    # Where it is shared, this one holds only where the faster one does.
    assert expect_saving(Prospect(8.0, 0.5), [safe, risky]) == pytest.approx((1 - SHARED) * 0.5 * 0.5 * 2)
    likelier = Prospect(8.0, 0.8)
    assert expect_saving(likelier, [safe, risky]) == pytest.approx(SHARED * 0.3 * 2 + (1 - SHARED) * 0.8 * 0.5 * 2)
    # What is slower and less likely to hold changes nothing.
    assert expect_saving(Prospect(4.0, 0.5), [safe, Prospect(9.0, 0.0)]) == expect_saving(Prospect(4.0, 0.5), [safe])


def test_a_safe_plan_is_wanted_where_the_faster_one_is_in_doubt() -> None:
    floats, fast = Prospect(10.0, 1.0), Prospect(3.0, 0.2)
    faster, safer = Prospect(2.9, 0.2), Prospect(5.0, 0.95)
    assert expect_saving(safer, [floats, fast]) > expect_saving(faster, [floats, fast])
    sure = Prospect(3.0, 0.999)
    assert expect_saving(safer, [floats, sure]) < expect_saving(faster, [floats, sure])
