from __future__ import annotations

import math
from dataclasses import replace

import pytest

from assay.core.mixing import MixedPlan, MixedSearch
from assay.core.plan import Candidate, IntegerDialect, Plan, Scheme
from assay.core.precision import IntegerFormat, Placement, Precision, RangeMethod, Repair
from assay.decide.mixed import (
    FARTHEST,
    PRICE_ERROR,
    Draft,
    Exam,
    Point,
    Seen,
    Toll,
    find_budget,
    find_factor,
    pick_bases,
    smooth_loss,
)

SCHEME = Scheme(IntegerDialect(IntegerFormat.U8, symmetric=False), Placement.CHAIN, RangeMethod.MSE)
INT8 = Plan(Precision.INT8, scheme=SCHEME)
REPAIRED = Plan(Precision.INT8, scheme=Scheme(SCHEME.dialect, SCHEME.placement, SCHEME.ranges, (Repair.ROUND,)))
FP32 = Plan(Precision.FP32)
EXAM = Exam(items=1000, z=1.645)
TOLERATED = 0.01


def saw(
    plan: Plan, latency_ms: float, loss: float, variance: float = 0.0, runtime: str = "openvino", items: int = 10**6
) -> Seen:
    return Seen(Candidate(runtime, plan), latency_ms, loss, variance, TOLERATED, items)


def test_the_form_that_loses_least_stands_for_those_as_fast() -> None:
    seen = [saw(FP32, 10, 0), saw(INT8, 3.0, 0.03), saw(REPAIRED, 3.1, 0.02)]
    (base,) = pick_bases(seen, EXAM)
    assert base.candidate.plan is REPAIRED


def test_of_few_items_a_loss_counts_beside_how_far_answers_moved() -> None:
    lucky = replace(saw(INT8, 3.0, 0.02, 0.02, items=200), moved=0.04)
    sound = replace(saw(REPAIRED, 3.1, 0.021, 0.02, items=200), moved=0.01)
    (base,) = pick_bases([saw(FP32, 10, 0), lucky, sound], EXAM)
    assert base.candidate.plan is REPAIRED


def test_a_loss_is_weighed_by_how_well_it_is_known() -> None:
    seen = [replace(saw(INT8, 3.0, 0.03), moved=0.04), replace(saw(REPAIRED, 3.1, 0.01), moved=0.04)]
    toll = Toll.of(seen)
    assert toll is not None
    assert toll.loss == pytest.approx(0.5)
    assert smooth_loss(0.03, 0.0, 0.04, toll) == pytest.approx(0.03)
    assert smooth_loss(0.03, 10.0, 0.04, toll) == pytest.approx(0.02)
    assert smooth_loss(0.03, PRICE_ERROR * 0.02, 0.04, toll) == pytest.approx(0.025)
    assert smooth_loss(0.03, 10.0, None, toll) == smooth_loss(0.03, 10.0, 0.04, None) == 0.03
    assert Toll.of([saw(INT8, 3.0, 0.03)]) is None


def test_a_slower_form_does_not_stand_for_the_fastest() -> None:
    seen = [saw(FP32, 10, 0), saw(INT8, 3.0, 0.03), saw(REPAIRED, 4.0, 0.02)]
    (base,) = pick_bases(seen, EXAM)
    assert base.candidate.plan is INT8


def test_nothing_is_mixed_where_the_fastest_form_strains_nothing() -> None:
    assert not pick_bases([saw(FP32, 10, 0), saw(INT8, 3.0, 0.001, 0.001)], EXAM)


def test_a_wide_bound_strains_the_tolerance_as_a_loss_does() -> None:
    assert pick_bases([saw(FP32, 10, 0), saw(INT8, 3.0, 0.001, 0.04)], EXAM)


def test_few_items_strain_the_tolerance_where_many_would_not() -> None:
    assert not pick_bases([saw(FP32, 10, 0), saw(INT8, 3.0, 0.002, 0.01, items=10_000)], EXAM)
    assert pick_bases([saw(FP32, 10, 0), saw(INT8, 3.0, 0.002, 0.01, items=100)], EXAM)


def test_a_runtime_slower_than_what_holds_has_nothing_to_win() -> None:
    fast = saw(INT8, 2.0, 0.0, runtime="onnxruntime")
    assert not pick_bases([saw(FP32, 10, 0), saw(INT8, 3.0, 0.03), fast], EXAM)


def test_the_fastest_runtime_comes_first() -> None:
    seen = [saw(FP32, 10, 0), saw(INT8, 3.0, 0.03), saw(INT8, 2.0, 0.03, runtime="onnxruntime")]
    assert [one.candidate.runtime for one in pick_bases(seen, EXAM)] == ["onnxruntime", "openvino"]


def mixed(base: Plan, *plans: Plan) -> MixedSearch:
    built = tuple(MixedPlan(Candidate("openvino", plan).id, 1, 1.0, 0.1, 1.0) for plan in plans)
    return MixedSearch(Candidate("openvino", base).id, 9, 32, 11, 0.1, 5, 1.0, built, "")


def test_a_runtime_is_mixed_again_only_for_a_much_better_form() -> None:
    first = [saw(FP32, 10, 0), saw(INT8, 3.0, 0.03)]
    kept = replace(INT8, overrides=(("conv", Precision.FP32),))
    done = (mixed(INT8, kept),)
    assert not pick_bases(first, EXAM, done)
    assert not pick_bases([*first, saw(REPAIRED, 3.1, 0.025)], EXAM, done)
    assert not pick_bases([*first, saw(kept, 2.9, 0.01)], EXAM, done), "its own plans are no forms to mix"
    for better in (saw(REPAIRED, 3.1, 0.02), saw(REPAIRED, 2.5, 0.03)):
        (base,) = pick_bases([*first, better], EXAM, done)
        assert base is better


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_plan_on_its_budget_takes_that_share_of_the_tolerance(share: float) -> None:
    slope, spread = 0.4, 0.9
    points = [Point(noise, saw(INT8, 1, slope * noise**0.5, spread * noise**0.5)) for noise in (1e-3, 4e-4, 1e-5)]
    budget = find_budget(points, [], EXAM, share * TOLERATED)
    there = saw(INT8, 1, slope * budget**0.5, spread * budget**0.5)
    assert there.bound(EXAM.items, EXAM.z) == pytest.approx(share * TOLERATED, rel=1e-6)


def test_what_a_movement_costs_is_learned_from_all_candidates() -> None:
    def moved(plan: Plan, loss: float, far: float) -> Seen:
        return replace(saw(plan, 1, loss), moved=far)

    # The plan's own loss is luck: all together lose 0.5 for each unit of movement, and noise moves 2 for its root.
    lucky = moved(INT8, 0.0, 0.02)
    others = [moved(REPAIRED, 0.03, 0.04), moved(FP32, 0.0, 0.0)]
    budget = find_budget([Point(1e-4, lucky)], [lucky, *others], Exam(1000, 0.0), 0.01)
    assert 0.5 * 2 * math.sqrt(budget) == pytest.approx(0.01)


def test_a_gain_counts_as_no_loss_but_its_spread_counts() -> None:
    gained = find_budget([Point(1e-3, saw(INT8, 1, -0.02, 0.01))], [], EXAM, TOLERATED)
    assert gained == pytest.approx(find_budget([Point(1e-3, saw(INT8, 1, 0.0, 0.01))], [], EXAM, TOLERATED))
    assert math.isfinite(gained)


def test_what_lost_nothing_leaves_the_budget_open() -> None:
    assert math.isinf(find_budget([], [], EXAM, TOLERATED))
    assert math.isinf(find_budget([Point(1e-3, saw(INT8, 1, 0.0))], [], EXAM, TOLERATED))


def draft(loss: float, variance: float = 0.0) -> Draft:
    return Draft((Precision.INT8,), Candidate("openvino", INT8), 1.0, 1e-3, loss, variance)


def test_drafts_are_corrected_by_what_was_built() -> None:
    assert find_factor([], EXAM) == 1.0
    assert find_factor([(saw(INT8, 1, 0.012), draft(0.01))], EXAM) == pytest.approx(1.2)
    pair = (saw(INT8, 1, 0.0, 0.04), draft(0.0, 0.01))
    assert find_factor([pair], EXAM) == pytest.approx(2.0)
    # All plans count together: what one of few flips says alone is luck.
    assert find_factor([(saw(INT8, 1, 0.03), draft(0.02)), (saw(INT8, 1, 0.0), draft(0.01))], EXAM) == pytest.approx(1)


def test_a_draft_and_what_is_built_of_it_differ_within_reason() -> None:
    assert find_factor([(saw(INT8, 1, 0.9), draft(0.01))], EXAM) == FARTHEST
    assert find_factor([(saw(INT8, 1, 0.001), draft(0.5))], EXAM) == 1 / FARTHEST
    assert find_factor([(saw(INT8, 1, -0.01), draft(0.01))], EXAM) == 1.0
