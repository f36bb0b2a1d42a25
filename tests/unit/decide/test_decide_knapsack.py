from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from assay.core.mixing import TYPED, TYPED_WORK, Boundary, CostTable, Mix
from assay.core.precision import Precision
from assay.decide.knapsack import Knapsack, solve
from assay.decide.risks import NoiseModel, list_touching

INT8, BF16, FP32 = Precision.INT8, Precision.BF16, Precision.FP32


def make_sack(rng: np.random.Generator, groups: int, crossing_ms: float) -> Knapsack:
    """A chain with one branch, with costs and noises of no pattern."""
    boundaries = [Boundary(None, (0,), 40)]
    boundaries += [
        Boundary(index, (index + 1,), 10 + index, read_in_floats=bool(rng.random() < 0.3))
        for index in range(groups - 1)
    ]
    boundaries.append(Boundary(0, (groups - 1,), 25))
    times = tuple(
        {INT8: float(rng.uniform(0.5, 1.5)), BF16: float(rng.uniform(1, 2)), FP32: float(rng.uniform(1.5, 4))}
        for _ in range(groups)
    )
    shared = rng.uniform(0, 1, len(boundaries))
    touching = list_touching(boundaries, groups)
    shared[touching.sum(axis=1) < 2] = 0
    noises = NoiseModel(rng.uniform(0.1, 1, groups), shared, touching)
    return Knapsack(
        CostTable(times, tuple(boundaries), 0.7, crossing_ms), noises, {BF16: rng.uniform(0, 0.3, groups).tolist()}
    )


def count_ms(sack: Knapsack, mix: Mix, formats: tuple[Precision, ...]) -> float:
    """What a mix takes in a graph that is written for these formats, whether it uses all or not."""
    table = sack.costs
    own = sum(times[precision] for times, precision in zip(table.groups, mix, strict=True))
    return table.fixed_ms + own + table.price_crossing(formats) * table.count_crossed(mix)


def search_all(sack: Knapsack, budget: float, formats: tuple[Precision, ...]) -> float:
    mixes = itertools.product(formats, repeat=len(sack.costs.groups))
    return min(count_ms(sack, mix, formats) for mix in mixes if sack.predict_noise(mix) <= budget)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("crossing_ms", [0.0, 0.02])
def test_the_fastest_plan_within_the_budget_is_found(seed: int, crossing_ms: float) -> None:
    rng = np.random.default_rng(seed)
    sack = make_sack(rng, 7, crossing_ms)
    whole = sack.predict_noise((INT8,) * 7)
    for share, formats in itertools.product((0.1, 0.4, 0.8), ((INT8, FP32), (INT8, BF16, FP32))):
        budget = share * whole
        found = solve(sack, budget, formats)
        assert found is not None
        assert sack.predict_noise(found) <= budget * (1 + 1e-6)
        assert count_ms(sack, found, formats) <= search_all(sack, budget, formats) * (1 + 2e-3)


def test_the_whole_budget_leaves_nothing_in_floats_where_integers_are_faster() -> None:
    sack = make_sack(np.random.default_rng(1), 5, 0.0)
    times = tuple({INT8: 1.0, FP32: 2.0} for _ in range(5))
    sack = Knapsack(CostTable(times, sack.costs.boundaries, 0.0, 0.0), sack.noises, {})
    assert solve(sack, math.nextafter(sack.predict_noise((INT8,) * 5), math.inf), (INT8, FP32)) == (INT8,) * 5


def test_a_group_that_breaks_the_model_is_never_quantized() -> None:
    sack = make_sack(np.random.default_rng(2), 5, 0.0)
    groups = sack.noises.groups.copy()
    groups[3] = math.inf
    broken = Knapsack(sack.costs, NoiseModel(groups, sack.noises.shared, sack.noises.touching), sack.float_noise)
    found = solve(broken, 1e9, (INT8, FP32))
    assert found is not None
    assert found[3] is FP32


def test_a_budget_that_no_format_keeps_has_no_plan() -> None:
    sack = make_sack(np.random.default_rng(3), 4, 0.0)
    assert solve(sack, 0.001, (INT8, BF16)) is None
    assert solve(sack, 0.0, (INT8, FP32)) == (FP32,) * 4


def test_of_equally_fast_plans_the_quietest_is_taken() -> None:
    times = ({INT8: 1.0, FP32: 2.0}, {INT8: 1.0, FP32: 2.0})
    noises = NoiseModel(np.array([0.6, 0.5]), np.zeros(0), np.zeros((0, 2), np.bool_))
    sack = Knapsack(CostTable(times, (), 0.0, 0.0), noises, {})
    assert solve(sack, 0.7, (INT8, FP32)) == (FP32, INT8)


def test_two_floats_side_by_side_cost_more_to_convert() -> None:
    boundaries = (Boundary(0, (1,), 100), Boundary(1, (2,), 100))
    table = CostTable(({INT8: 1.0, BF16: 1.0, FP32: 1.0},) * 3, boundaries, 0.0, 0.01)
    assert table.predict_ms((INT8, BF16, BF16)) == pytest.approx(4.0)
    assert table.predict_ms((BF16, BF16, BF16)) == pytest.approx(3.0)
    assert table.predict_ms((FP32, BF16, BF16)) == pytest.approx(3.0 * TYPED_WORK + TYPED)
    assert table.predict_ms((INT8, BF16, FP32)) == pytest.approx(3.0 * TYPED_WORK + 2 * TYPED)


def test_converting_back_and_forth_is_paid_for() -> None:
    boundaries = (Boundary(0, (1,), 100), Boundary(1, (2,), 100))
    times = ({INT8: 1.0, FP32: 2.0},) * 3
    noises = NoiseModel(np.array([1.0, 3.0, 1.0]), np.zeros(2), list_touching(boundaries, 3))
    cheap = Knapsack(CostTable(times, boundaries, 0.0, 0.0), noises, {})
    dear = Knapsack(CostTable(times, boundaries, 0.0, 0.02), noises, {})
    assert solve(cheap, 2.5, (INT8, FP32)) == (INT8, FP32, INT8)
    assert dear.predict_ms((INT8, FP32, INT8)) == pytest.approx(8.0)
    assert solve(dear, 2.5, (INT8, FP32)) != (INT8, FP32, INT8)


def test_noise_in_16_bits_is_each_group_s_own() -> None:
    sack = make_sack(np.random.default_rng(3), 3, 0.0)
    times = tuple({INT8: 1.0, BF16: 2.0, FP32: 4.0} for _ in range(3))
    noises = NoiseModel(np.ones(3), np.zeros(0), np.zeros((0, 3), np.bool_))
    told = Knapsack(CostTable(times, (), 0.0, 0.0), noises, {BF16: (0.1, 2.0, 0.3)})
    assert told.sum_float_noise((BF16, BF16, FP32)) == pytest.approx(2.1)
    assert told.predict_noise((BF16, INT8, BF16)) == pytest.approx(1.4)
    assert solve(told, 1.6, (INT8, BF16)) == (BF16, INT8, BF16)
    assert sack.sum_float_noise((INT8, FP32, INT8)) == 0
