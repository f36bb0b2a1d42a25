from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from trial_samples import make_plan, make_quality

from assay.core.plan import Candidate
from assay.core.precision import Precision
from assay.core.trial import WIDEST
from assay.decide import words
from assay.decide.assess import count_samples_needed
from assay.decide.front import find_front
from assay.decide.resolve import find_deviation, plan_items


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (words.format_points(0.005), "0.50 pp"),
        (words.format_points(0.00004), "0.004 pp"),
        (words.format_points(-0.012), "-1.20 pp"),
        (words.format_points(-0.0), "0.00 pp"),
        (words.format_ms(4.0217), "4.02 ms"),
        (words.format_ms(0.0417), "41.7 us"),
        (words.format_ms(12345.0), "12.3 s"),
        (words.format_ms(0.0), "0 ms"),
        (words.format_bytes(4_200_000), "4.20 MB"),
        (words.format_bytes(999), "999 B"),
        (words.format_ratio(9.126), "9.13x"),
        (words.format_ratio(14.04), "14.0x"),
        (words.format_significant(12345.6), "12,346"),
        (words.format_significant(1.5e-7), "1.50e-07"),
        (words.format_significant(math.nan), "not a number"),
        (words.format_about(16_045), "about 17,000"),
        (words.format_about(7), "about 7"),
        (words.format_confidence(0.975), "97.5%"),
    ],
)
def test_numbers_in_words(said: str, meant: str) -> None:
    assert said == meant


def test_what_a_plan_keeps_is_told_by_format() -> None:
    def describe(rest: Precision, *kept: Precision) -> str:
        overrides = tuple((f"n{index}", precision) for index, precision in enumerate(kept))
        return words.describe_form(replace(candidate, plan=replace(candidate.plan, rest=rest, overrides=overrides)))

    candidate = Candidate("openvino", make_plan(Precision.INT8))
    assert describe(Precision.FP32, Precision.FP32, Precision.FP32).endswith(", 2 nodes kept")
    assert describe(Precision.BF16, Precision.BF16).endswith("rest in BF16, 1 node kept")
    mixed = describe(Precision.FP32, Precision.FP32, Precision.BF16, Precision.BF16)
    assert mixed.endswith(", 1 node kept in FP32, 2 in BF16")


def test_a_mixed_plan_is_no_plain_int8() -> None:
    plain = Candidate("openvino", make_plan(Precision.INT8))
    kept = tuple((f"n{index}", Precision.BF16) for index in range(1200))
    mixed = replace(plain, plan=replace(plain.plan, overrides=kept))
    assert words.name_shortly(plain) == "INT8 on openvino"
    assert words.name_shortly(mixed) == "INT8 with 1,200 nodes in floats on openvino"
    assert words.name_candidate(mixed).startswith("INT8 on openvino (")


def test_a_metric_of_another_unit_is_not_in_points() -> None:
    quality = replace(make_quality(), higher_is_better=False, reference=12.4)
    assert words.format_metric(quality, 0.25) == "0.250"


@pytest.mark.parametrize(("quantile", "samples"), [(0.99, 299), (0.95, 59), (0.5, 5)])
def test_samples_that_bound_a_percentile(quantile: float, samples: int) -> None:
    assert count_samples_needed(quantile, 0.95) == samples
    assert quantile**samples <= 0.05 < quantile ** (samples - 1)


def test_front_drops_what_is_beaten_and_keeps_equals() -> None:
    points = {"a": (0.0, 10.0), "b": (0.1, 5.0), "c": (0.2, 5.0), "d": (0.1, 5.0), "e": (0.3, 1.0)}
    assert find_front(points) == ("e", "b", "d", "a")
    assert find_front({}) == ()


def test_items_grow_as_the_loss_nears_the_margin() -> None:
    needed = [plan_items(make_quality(loss, 1.0, n=250), 0.005, 0.95) for loss in (0.0, 0.4, 0.8)]
    assert all(n is not None and n > 250 for n in needed)
    assert needed[1] > needed[0]
    assert needed[1] > needed[2]


def test_so_many_items_settle_it_as_often_as_planned() -> None:
    rng = np.random.default_rng(3)
    lost, won, margin, pilot = 0.006, 0.004, 0.005, 1000
    quality = replace(
        make_quality(0.2, 1.0, n=pilot), flips_lost=6, flips_won=4, difference=-0.002, low=-0.012, high=0.008
    )
    n = plan_items(quality, margin, 0.95)
    assert n is not None
    flips = rng.multinomial(n, [lost, won, 1 - lost - won], size=4000)
    loss = (flips[:, 0] - flips[:, 1]) / n
    deviation = np.sqrt((flips[:, 0] + flips[:, 1]) / n - loss**2)
    settled = np.mean(loss + 1.6449 * deviation / math.sqrt(n) <= margin)
    assert 0.76 < settled < 0.90


def test_no_number_of_items_helps_on_the_margin_itself() -> None:
    assert plan_items(make_quality(0.5, 0.5, n=1000), 0.005, 0.95) is None


def test_a_metric_without_flips_is_planned_from_its_interval() -> None:
    quality = replace(
        make_quality(0.1, 0.4, n=1000), flips_lost=0, flips_won=0, difference=-0.00137, low=-0.00537, high=0.00263
    )
    n = plan_items(quality, 0.005, 0.95)
    sd = 0.004 / 1.6449 * math.sqrt(1000)
    assert n == pytest.approx(((1.6449 + 0.8416) * sd / (0.005 - 0.00137)) ** 2, rel=0.01)
    assert plan_items(replace(quality, low=-math.inf), 0.005, 0.95) is None
    allows_anything = replace(quality, difference=-0.0123, low=-1.0, high=1.0)
    assert plan_items(allows_anything, 0.04, 0.95) is None
    assert plan_items(replace(allows_anything, reference=3.0), 0.04, 0.95) is not None


@pytest.mark.parametrize(("reference", "higher_is_better", "bound"), [(0.93, True, 1.0), (0.0, False, WIDEST)])
def test_bounds_that_allow_anything_tell_no_spread(reference: float, bound: float, *, higher_is_better: bool) -> None:
    """They stand where there were too few items for the method; a spread from them would swallow every search."""
    quality = make_quality(0.123, 0.1, n=60, reference=reference, higher_is_better=higher_is_better)
    assert not quality.allows_anything
    assert find_deviation(quality) is not None
    open_wide = replace(quality, low=-bound, high=bound)
    assert open_wide.allows_anything
    assert find_deviation(open_wide) is None
