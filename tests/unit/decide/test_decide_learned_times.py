from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from assay.core.mixing import Boundary, CostTable, Mix
from assay.core.precision import Precision
from assay.decide.learned_times import TimedPlan, learn_times

INT8, FP32, BF16 = Precision.INT8, Precision.FP32, Precision.BF16
GROUPS = 6
MIXES: list[Mix] = list(itertools.product((INT8, FP32), repeat=GROUPS))
PLAIN: tuple[Mix, Mix] = ((INT8,) * GROUPS, (FP32,) * GROUPS)


def draw_table(rng: np.random.Generator) -> CostTable:
    boundaries = tuple(Boundary(index, (index + 1,), 1000) for index in range(GROUPS - 1))
    times = tuple({INT8: float(rng.uniform(0.5, 1)), FP32: float(rng.uniform(1, 3))} for _ in range(GROUPS))
    return CostTable(times, boundaries, 0.3, 2e-4)


def profile(truth: CostTable, rng: np.random.Generator) -> CostTable:
    """What a profile tells of it: groups and conversions 20% wrong."""
    times = tuple({p: ms * math.exp(rng.normal(0, 0.2)) for p, ms in own.items()} for own in truth.groups)
    return replace(truth, groups=times, crossing_ms=truth.crossing_ms * 0.5)


def time_run(truth: CostTable, mixes: list[Mix], level: float = 1.0) -> list[TimedPlan]:
    return [TimedPlan(mix, level * truth.predict_ms(mix)) for mix in mixes]


def find_error(table: CostTable, truth: CostTable, mixes: list[Mix]) -> float:
    """Of the ratios to the time in integers, root mean square."""
    ratios = [
        (table.predict_ms(mix) / table.predict_ms(PLAIN[0])) / (truth.predict_ms(mix) / truth.predict_ms(PLAIN[0]))
        for mix in mixes
    ]
    return float(np.sqrt(np.mean(np.square(np.log(ratios)))))


def test_nothing_that_was_timed_changes_nothing() -> None:
    table = draw_table(np.random.default_rng(0))
    assert learn_times(table, []) is table
    assert learn_times(table, [()]) is table
    broken = [TimedPlan(MIXES[3], 0.0), TimedPlan(MIXES[4], math.nan), TimedPlan(MIXES[5], math.inf)]
    assert learn_times(table, [broken]) is table


def test_what_is_predicted_rightly_stays() -> None:
    table = draw_table(np.random.default_rng(1))
    found = learn_times(table, [time_run(table, [*PLAIN, MIXES[21]], level=1.7)])
    for mix in MIXES:
        assert found.predict_ms(mix) == pytest.approx(table.predict_ms(mix))


def test_plans_that_were_timed_correct_the_others() -> None:
    befores, afters, manys = [], [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        truth = draw_table(rng)
        table = profile(truth, rng)
        order = [MIXES[index] for index in rng.permutation(len(MIXES)) if MIXES[index] not in PLAIN]
        # Every run at a level of its own: the machine was busy by turns.
        runs = [time_run(truth, [*PLAIN, mix], level=float(rng.uniform(0.8, 2))) for mix in order[:24]]
        rest = order[24:]
        befores.append(find_error(table, truth, rest))
        afters.append(find_error(learn_times(table, runs[:5]), truth, rest))
        manys.append(find_error(learn_times(table, runs), truth, rest))
    assert np.mean(afters) < 0.7 * np.mean(befores)
    assert np.mean(manys) < 0.25 * np.mean(befores)


def test_a_plan_that_was_timed_is_predicted_about_as_it_was() -> None:
    rng = np.random.default_rng(5)
    truth = draw_table(rng)
    table = profile(truth, rng)
    mix = MIXES[42]
    found = learn_times(table, [time_run(truth, [*PLAIN, mix])])
    assert find_error(found, truth, [mix]) < 0.3 * find_error(table, truth, [mix])


def test_a_run_without_plain_forms_is_taken_as_it_is() -> None:
    table = draw_table(np.random.default_rng(2))
    slow = TimedPlan(MIXES[10], 1.3 * table.predict_ms(MIXES[10]))
    assert learn_times(table, [[slow]]).predict_ms(MIXES[10]) > 1.15 * table.predict_ms(MIXES[10])


def test_no_time_becomes_negative() -> None:
    table = draw_table(np.random.default_rng(3))
    runs = [[*time_run(table, [*PLAIN]), TimedPlan(mix, 1e-3)] for mix in MIXES[5:20]]
    found = learn_times(table, runs)
    assert min(ms for own in found.groups for ms in own.values()) >= 0
    assert found.fixed_ms >= 0
    assert found.crossing_ms >= 0


def test_plans_in_two_float_formats_are_learned_from_as_they_are_predicted() -> None:
    two = draw_table(np.random.default_rng(4))
    table = replace(two, groups=tuple({**own, BF16: own[FP32] / 2} for own in two.groups))
    mix = (INT8, FP32, BF16, INT8, BF16, FP32)
    assert learn_times(table, [time_run(table, [mix])]).predict_ms(mix) == pytest.approx(table.predict_ms(mix))
    longer = TimedPlan(mix, 1.2 * table.predict_ms(mix))
    assert learn_times(table, [[longer]]).predict_ms(mix) == pytest.approx(longer.milliseconds, rel=0.03)
