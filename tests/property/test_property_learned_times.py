"""Times that are learned from whole plans, and what a plan is expected to save."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from assay.core.mixing import Boundary, CostTable, Mix
from assay.core.precision import Precision
from assay.decide.learned_times import TimedPlan, learn_times
from assay.decide.mixed import Exam
from assay.decide.prospects import Prospect, estimate_chance, expect_saving

INT8, FP32 = Precision.INT8, Precision.FP32
MILLISECONDS = st.floats(0.01, 50)
PROSPECTS = st.builds(Prospect, MILLISECONDS, st.floats(0, 1))


@st.composite
def tables(draw: st.DrawFn) -> CostTable:
    count = draw(st.integers(2, 6))
    times = tuple({INT8: draw(MILLISECONDS), FP32: draw(MILLISECONDS)} for _ in range(count))
    boundaries = tuple(Boundary(index, (index + 1,), draw(st.integers(1, 10**6))) for index in range(count - 1))
    return CostTable(times, boundaries, draw(st.floats(0, 5)), draw(st.floats(0, 1e-5)))


@settings(deadline=None, max_examples=60)
@given(tables(), st.data())
def test_learning_brings_predictions_closer_to_what_was_timed(table: CostTable, data: st.DataObject) -> None:
    count = len(table.groups)
    mixes = st.tuples(*[st.sampled_from((INT8, FP32))] * count)
    seen: list[Mix] = data.draw(st.lists(mixes.filter(lambda mix: len(set(mix)) > 1), min_size=1, max_size=4))
    run = [TimedPlan(mix, table.predict_ms(mix) * data.draw(st.floats(0.5, 2))) for mix in seen]
    found = learn_times(table, [run])
    terms = [ms for own in found.groups for ms in own.values()] + [found.fixed_ms, found.crossing_ms]
    assert min(terms) >= 0
    # Where a term would be negative, keeping it at none may lead away from what was timed.
    if min(terms) > 0:
        before, after = (
            math.fsum((one.predict_ms(plan.mix) / plan.milliseconds - 1) ** 2 for plan in run) for one in (table, found)
        )
        assert after <= before * (1 + 1e-6) + 1e-12


@given(PROSPECTS, st.lists(PROSPECTS, max_size=6), PROSPECTS)
def test_more_to_choose_from_leaves_a_safe_choice_less_to_save(
    one: Prospect, others: list[Prospect], further: Prospect
) -> None:
    safe = [*others, Prospect(60.0, 1.0)]
    saving = expect_saving(one, safe)
    assert 0 <= saving <= 60.0
    assert expect_saving(one, [*safe, further]) <= saving + 1e-9


@given(st.floats(-0.1, 0.2), st.floats(0, 1), st.floats(0, 0.1), st.floats(0, 0.1), st.floats(0, 0.1))
def test_a_larger_tolerance_is_held_at_least_as_likely(
    loss: float, variance: float, error: float, margin: float, more: float
) -> None:
    exam = Exam(500, 1.645)
    tight, wide = (estimate_chance(loss, variance, error, one, exam) for one in (margin, margin + more))
    assert 0 <= tight <= wide <= 1
