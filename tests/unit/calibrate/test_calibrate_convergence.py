from collections.abc import Callable

import numpy as np
import pytest

from assay.calibrate.ranges.solve import solve_range
from assay.calibrate.selection.convergence import (
    MOST_EXCESS_DB,
    MOST_RANGE_CHANGE,
    ConvergenceRule,
    Look,
    compare_looks,
    find_next_look,
)
from assay.calibrate.selection.settled_range import STEPS, Outline, measure_noise, settle_range
from assay.calibrate.statistics import StatisticsBuilder, observe_array
from assay.core.calibration import Calibration, TensorRange
from assay.core.convergence import Convergence
from assay.core.precision import IntegerFormat, RangeMethod
from assay.core.tensor import Array

Draw = Callable[[np.random.Generator], Array]
VALUES = 2000


def observe_items(items: list[Array], rule: ConvergenceRule) -> Convergence:
    """Feed the rule one item after the other, one tensor wide."""
    builder = StatisticsBuilder()
    for index, item in enumerate(items, start=1):
        builder.add(item)
        if rule.wants(index) and rule.take(Calibration({"x": builder.build()}, "", index)):
            return rule.conclude(index)
        if index >= rule.maximum:
            break
    return rule.conclude(index)


def draw_items(draw: Draw, seed: int, n: int = 300) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [draw(rng).astype(np.float32) for _ in range(n)]


def draw_gaussian(rng: np.random.Generator) -> Array:
    return rng.normal(size=VALUES)


def draw_heavy_tailed(rng: np.random.Generator) -> Array:
    return rng.lognormal(0, 1.5) * rng.standard_t(2, size=VALUES)


def test_gaussian_activations_are_enough_at_the_minimum() -> None:
    found = [observe_items(draw_items(draw_gaussian, seed), ConvergenceRule()) for seed in range(5)]
    assert all(one.converged for one in found)
    assert max(one.items for one in found) <= 100
    for one in found:
        assert all(point.excess_noise_db <= MOST_EXCESS_DB for point in one.points[-2:])


def test_heavy_tails_take_more_items() -> None:
    light = [observe_items(draw_items(draw_gaussian, seed), ConvergenceRule()).items for seed in range(10)]
    heavy = [observe_items(draw_items(draw_heavy_tailed, seed), ConvergenceRule()).items for seed in range(10)]
    assert np.mean(heavy) > 1.5 * np.mean(light)


def test_a_jump_is_seen_where_the_items_are_shuffled() -> None:
    """The first 100 items are ten times smaller than the other 900: in their own order the rule would stop early."""
    scales = [0.1] * 100 + [1.0] * 900
    rng = np.random.default_rng(0)
    items = [(scale * rng.normal(size=VALUES)).astype(np.float32) for scale in scales]
    misled = observe_items(items, ConvergenceRule())
    assert misled.items <= 100
    whole = observe_array(np.stack(items))
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(len(items))
        found = observe_items([items[i] for i in order], ConvergenceRule())
        assert found.converged
        seen = observe_array(np.stack([items[i] for i in order[: found.items]]))
        assert settle_range(Outline.of(seen)).high == pytest.approx(settle_range(Outline.of(whole)).high, rel=0.15)


def test_a_late_jump_starts_the_rule_anew() -> None:
    rng = np.random.default_rng(0)
    scales = [1.0] * 40 + [4.0] * 260
    found = observe_items([(s * rng.normal(size=VALUES)).astype(np.float32) for s in scales], ConvergenceRule())
    loud = [point for point in found.points if point.excess_noise_db > MOST_EXCESS_DB]
    assert {point.items for point in loud} >= {46, 64}
    assert found.converged
    assert [point in loud for point in found.points[-3:]] == [True, False, False]


@pytest.mark.parametrize("limits", [{"most_excess_db": -1.0}, {"most_range_change": -1.0}])
def test_both_quantities_must_keep_their_limit(limits: dict[str, float]) -> None:
    found = observe_items(draw_items(draw_gaussian, 0), ConvergenceRule(**limits))  # type: ignore[arg-type] # floats only
    assert (found.converged, found.items) == (False, 300)


def test_the_maximum_ends_it_and_is_said_not_to_be_convergence() -> None:
    rng = np.random.default_rng(0)
    growing = [(1.3**index * rng.normal(size=VALUES)).astype(np.float32) for index in range(100)]
    found = observe_items(growing, ConvergenceRule(maximum=90))
    assert (found.converged, found.items) == (False, 90)
    assert found.points[-1].worst_tensor == "x"
    assert found.points[-1].range_change > MOST_RANGE_CHANGE


@pytest.mark.parametrize("batch", [1, 8, 16, 32])
def test_every_look_is_compared_with_about_half_as_many_items(batch: int) -> None:
    looks: list[int] = []
    due = find_next_look(0)
    for items in range(batch, 1000, batch):
        if items >= due:
            looks.append(items)
            due = find_next_look(items)
    assert looks[0] == max(16, batch)
    for items in looks:
        if items >= max(64, 4 * batch):
            assert any(1.75 <= items / other <= 2.3 for other in looks)


def test_the_minimum_is_kept() -> None:
    found = observe_items(draw_items(draw_gaussian, 0), ConvergenceRule(minimum=150))
    assert found.converged
    assert found.items == 182


def test_a_maximum_below_the_minimum_can_converge() -> None:
    found = observe_items(draw_items(draw_gaussian, 0), ConvergenceRule(minimum=500, maximum=46))
    assert (found.converged, found.items) == (True, 46)


def test_a_range_twice_as_wide_as_needed_costs_six_decibels() -> None:
    outline = Outline.of(observe_array(np.linspace(-1, 1, 100_000, dtype=np.float32)))
    earlier, present = (Look(items, {"x": TensorRange(-end, end)}) for items, end in ((16, 2.0), (32, 1.0)))
    point = compare_looks(earlier, present, {"x": outline})
    assert point.excess_noise_db == pytest.approx(20 * np.log10(2), abs=0.1)
    assert point.range_change == pytest.approx(0.5)


def test_constant_and_empty_tensors_do_not_matter() -> None:
    rule = ConvergenceRule()
    for items in (16, 32, 46, 64):
        rng = np.random.default_rng(0)
        tensors = {
            "zero": observe_array(np.zeros(items, np.float32)),
            "five": observe_array(np.full(items, 5, np.float32)),
            "none": observe_array(np.full(items, np.nan, np.float32)),
            "x": observe_array(rng.normal(size=(items, 5000)).astype(np.float32)),
        }
        assert rule.wants(items)
        stop = rule.take(Calibration(tensors, "", items))
    assert stop
    assert {point.worst_tensor for point in rule.conclude(64).points} == {"x"}


def test_a_tensor_that_wakes_up_is_noticed() -> None:
    rule = ConvergenceRule()
    silent = observe_array(np.zeros(10, np.float32))
    loud = observe_array(np.linspace(-1, 1, 500, dtype=np.float32))
    for items, statistics in ((16, silent), (32, loud)):
        rule.take(Calibration({"x": statistics}, "", items))
    (point,) = rule.conclude(32).points
    assert point.range_change == 0.5
    assert point.excess_noise_db > 20


def test_without_a_finite_value_nothing_moves() -> None:
    rule = ConvergenceRule()
    for items in (16, 32):
        rule.take(Calibration({"x": observe_array(np.full(4, np.inf, np.float32))}, "", items))
    (point,) = rule.conclude(32).points
    assert (point.range_change, point.excess_noise_db, point.worst_tensor) == (0.0, 0.0, "")


@pytest.mark.parametrize("low", [0.0, -0.7])
def test_noise_equals_that_of_rounding_the_values(low: float) -> None:
    values = np.random.default_rng(0).uniform(low, 1.0, 200_000).astype(np.float32)
    for high in (0.5, 0.9, 1.3):
        scale = (high - low) / STEPS
        zero = round(-low / scale)
        codes = np.clip(np.rint(values / scale), -zero, STEPS - zero)
        expected = np.square(values - scale * codes.astype(np.float64)).sum()
        found = measure_noise(Outline.of(observe_array(values)), np.array([low]), np.array([high]))[0]
        assert found == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("draw", [draw_gaussian, lambda rng: np.maximum(rng.normal(size=VALUES), 0)])
def test_the_range_is_about_as_good_as_the_solvers(draw: Draw) -> None:
    statistics = observe_array(np.stack(draw_items(draw, 3, 50)))
    solved = solve_range(statistics, RangeMethod.MSE, IntegerFormat.U8, symmetric=False)
    outline = Outline.of(statistics)
    fast = settle_range(outline)
    noise = measure_noise(outline, np.array([solved.low, fast.low]), np.array([solved.high, fast.high]))
    assert noise[1] <= noise[0] * 1.02


def test_isolated_large_values_hold_the_range() -> None:
    values = np.concatenate([np.full(1_000_000, 0.001, np.float32), np.array([0.9], np.float32)])
    found = settle_range(Outline.of(observe_array(values)))
    assert found.high > 0.6


@pytest.mark.parametrize("values", [[1e-42, 3e-42], [3.4e38, -3.4e38], [-5.0], [0.0]])
def test_extreme_tensors_give_finite_ranges(values: list[float]) -> None:
    outline = Outline.of(observe_array(np.array(values, np.float32)))
    found = settle_range(outline)
    assert isinstance(found, TensorRange)
    assert found.low <= 0 <= found.high
    assert np.isfinite([found.low, found.high]).all()
