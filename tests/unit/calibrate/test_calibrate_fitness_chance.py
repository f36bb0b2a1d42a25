"""Sets drawn alike are not called unfit by chance, and sets that differ are found all the same."""

import numpy as np
import pytest
from fitness_samples import LEAST_SQUARES, Values, observe_items
from numpy.typing import NDArray

from assay.calibrate.fitness.chance import count_items, draw_split, find_chance
from assay.calibrate.fitness.harm import measure_harm
from assay.calibrate.fitness.judge import judge
from assay.calibrate.fitness.outlying import find_tail_chance
from assay.core.fitness import Fitness, Verdict

SCALES = np.array([1, 10, 100, 1000, 0.01])
"""Columns of a table, of which one alone makes the range of the tensor."""


def draw(rng: np.random.Generator, kind: str, items: int) -> NDArray[np.float64]:
    if kind == "columns":
        return rng.standard_normal((items, 5)) * SCALES
    if kind == "normal":
        return rng.standard_normal((items, 16))
    return rng.standard_t(1.5, (items, 16))


def run_network(values: NDArray[np.float64]) -> dict[str, Values]:
    """A table and what a layer with a ReLU makes of it."""
    weights = np.random.default_rng(3).normal(0, 1, (values.shape[1], 16))
    return {"x": values.astype(np.float32), "relu": np.maximum(values @ weights, 0).astype(np.float32)}


def assess(calibration: NDArray[np.float64], sample: NDArray[np.float64]) -> Fitness:
    first, second = (observe_items(run_network(values)) for values in (calibration, sample))
    return judge(first, second, LEAST_SQUARES, np.random.default_rng(0))


@pytest.mark.parametrize("kind", ["columns", "normal", "heavy"])
def test_thirty_items_drawn_alike_are_unfit_no_more_often_than_the_splits_allow(kind: str) -> None:
    verdicts = []
    for seed in range(12):
        values = draw(np.random.default_rng(seed), kind, 30 + 256)
        verdicts.append(assess(values[:30], values[30:]))
    # One in a hundred is allowed: two in twelve would come once in 160 times.
    assert sum(fitness.verdict is Verdict.UNFIT for fitness in verdicts) <= 1
    said = [reason for fitness in verdicts for reason in fitness.reasons]
    assert any("may be the chance of small sets" in reason for reason in said)


@pytest.mark.parametrize("kind", ["columns", "normal", "heavy"])
def test_a_set_of_another_scale_is_unfit_all_the_same(kind: str) -> None:
    values = draw(np.random.default_rng(1), kind, 100 + 256)
    assert assess(values[:100] * 255, values[100:]).verdict is Verdict.UNFIT
    assert assess(values[:100] / 255, values[100:]).verdict is Verdict.UNFIT


def test_harm_of_a_single_item_is_no_chance_however_often_it_is_there() -> None:
    values = draw(np.random.default_rng(2), "columns", 1 + 256)
    fitness = assess(np.repeat(values[:1], 100, axis=0), values[1:])
    assert fitness.distinct_items == 1
    assert fitness.verdict is Verdict.UNFIT
    assert not any("chance of small sets" in reason for reason in fitness.reasons)


def test_harm_that_no_split_reaches_is_no_chance() -> None:
    values = draw(np.random.default_rng(1), "normal", 40 + 60)
    alike, wide, sample = (
        observe_items({"x": one.astype(np.float32)}) for one in (values[:40], values[:40] * 20, values[40:])
    )
    for calibration, differs in ((alike, False), (wide, True)):
        harms = measure_harm(calibration, sample, LEAST_SQUARES)
        p = find_chance(calibration, sample, harms, LEAST_SQUARES, np.random.default_rng(0))
        assert (p == 0.01) is differs


def test_a_single_item_that_no_tail_explains_is_no_chance() -> None:
    values = draw(np.random.default_rng(2), "normal", 100 + 256)
    values[37] *= 30
    fitness = assess(values[:100], values[100:])
    assert fitness.verdict is Verdict.UNFIT
    assert [item.position for item in fitness.items] == [37]


def test_a_split_keeps_the_number_of_items_and_neither_side_empty() -> None:
    rng = np.random.default_rng(0)
    sizes = np.concatenate([np.full(16, 6.0), np.full(16, 16.0)])
    taken = np.array([draw_split(sizes, 96, rng) for _ in range(300)])
    assert np.all(np.abs(taken @ sizes - 96) <= 8)
    assert np.abs(taken.mean(axis=0) - 96 / sizes.sum()).max() < 0.1
    lone = np.array([draw_split(np.array([0.0, 5.0, 100.0]), 200, rng) for _ in range(20)])
    assert np.all(lone.sum(axis=1) == 1)


def test_groups_hold_every_item() -> None:
    calibration = observe_items({"x": np.random.default_rng(0).normal(size=(70, 3)).astype(np.float32)})
    assert count_items(calibration).sum() == pytest.approx(70)


def test_the_chance_of_a_wide_item_follows_the_tail() -> None:
    rng = np.random.default_rng(0)
    heavy, light = 1 + rng.pareto(1.0, 500), np.abs(rng.normal(size=500))
    assert find_tail_chance(heavy, 3 * heavy.max(), 100) > 0.01
    assert find_tail_chance(light, 30 * light.max(), 100) < 1e-4
    assert find_tail_chance(np.ones(500), 2.0, 100) == 0.0
    assert find_tail_chance(light[:5], 30 * light.max(), 100) == 1.0
    assert find_tail_chance(light, float(np.median(light)), 100) == 1.0
