import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from assay.graph.rounding import (
    PAIRED_SIZE,
    Choice,
    Metric,
    descend,
    feed_forward,
    fit_scales,
    flip_pairs,
    round_adaptively,
    solve_rounding,
)

Floats = NDArray[np.float64]


def draw(rows: int, size: int, groups: int = 1, seed: int = 0, vectors: int = 400) -> tuple[Floats, Floats, Metric]:
    """Weights, scales of four bits, and the metric of correlated inputs."""
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((groups, vectors, size)) @ rng.standard_normal((groups, size, size))
    weights = rng.laplace(size=(groups, rows, size))
    scales = np.abs(weights).max(axis=2, keepdims=True) / 7
    return weights, scales, Metric.of(inputs.swapaxes(1, 2) @ inputs / vectors)


def test_the_factor_is_that_of_the_damped_moments() -> None:
    _, _, metric = draw(1, 6, groups=3)
    for gram, order, factor in zip(metric.gram, metric.order, metric.factor, strict=True):
        np.testing.assert_allclose(factor @ factor.T, gram[order][:, order], rtol=1e-10, atol=1e-10)
        assert not np.tril(factor, -1).any()
        assert (np.diff(np.diagonal(gram)[order]) <= 0).all()


def test_inputs_that_never_occur_do_no_harm() -> None:
    metric = Metric.of(np.zeros((2, 3, 3)))
    np.testing.assert_array_equal(metric.gram, np.stack([np.eye(3)] * 2))
    weights = np.array([[[0.4, -1.6, 2.5]]] * 2)
    np.testing.assert_array_equal(round_adaptively(weights, np.ones((2, 1, 1)), metric, 127)[0, 0], [0, -2, 2])


@pytest.mark.parametrize("size", [3, 40, 300])
def test_rounding_is_never_worse_than_nearest_and_mostly_better(size: int) -> None:
    weights, scales, metric = draw(20, size, groups=2, vectors=4 * size)
    choice = Choice.of(weights, scales, 7)
    codes = round_adaptively(weights, scales, metric, 7)
    before, after = (metric.measure(choice.find_error(each)) for each in (choice.nearest, codes))
    assert (after <= before).all()
    assert after.sum() < 0.8 * before.sum()
    assert (np.abs(codes) <= 7).all()
    assert (np.abs(codes - weights / scales) < 1).all()


def test_small_layers_come_close_to_the_best_of_all_roundings() -> None:
    gaps = []
    for seed in range(60):
        weights, scales, metric = draw(1, 8, seed=seed)
        choice = Choice.of(weights, scales, 7)
        shares = np.array([*itertools.product([0, 1], repeat=8)])[None]
        every = metric.measure(choice.find_error(np.where(shares, choice.upper, choice.lower))).min()
        found = metric.measure(choice.find_error(round_adaptively(weights, scales, metric, 7))).item()
        assert found >= every * (1 - 1e-9)
        gaps.append(found / every - 1)
    assert np.mean(gaps) < 0.1
    assert np.median(gaps) < 1e-9


def test_without_correlation_nearest_is_best() -> None:
    weights, scales, _ = draw(10, 50)
    metric = Metric.of(np.diag(np.linspace(1, 3, 50))[None])
    nearest = Choice.of(weights, scales, 7).nearest
    np.testing.assert_array_equal(round_adaptively(weights, scales, metric, 7), nearest)


def test_each_step_of_the_search_pays() -> None:
    weights, scales, metric = draw(30, PAIRED_SIZE, seed=3)
    choice = Choice.of(weights, scales, 7)
    fed = feed_forward(choice, metric)
    descended = descend(choice, metric, fed)
    paired = flip_pairs(choice, metric, descended)
    losses = [metric.measure(choice.find_error(codes)) for codes in (choice.nearest, fed, descended, paired)]
    assert (losses[2] <= losses[1]).all()
    assert (losses[3] <= losses[2]).all()
    assert losses[0].sum() > losses[1].sum() > losses[2].sum() > losses[3].sum()


def test_blocks_of_the_feedback_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, scales, metric = draw(5, 40, seed=5)
    choice = Choice.of(weights, scales, 7)
    whole = feed_forward(choice, metric)
    monkeypatch.setattr("assay.graph.rounding.FEEDBACK_BLOCK", 7)
    np.testing.assert_array_equal(feed_forward(choice, metric), whole)


@pytest.mark.parametrize("shared", [False, True])
def test_a_fitted_scale_is_the_best_for_its_codes(shared: bool) -> None:  # noqa: FBT001 parametrised
    weights, scales, metric = draw(6, 20, seed=7)
    scales = scales.max(axis=1, keepdims=True) if shared else scales
    codes = Choice.of(weights, scales, 7).nearest
    best = fit_scales(weights, codes, metric, scales)
    assert best.shape == scales.shape
    least = metric.measure(weights - best * codes).sum()
    for factor in (0.99, 1.01):
        assert metric.measure(weights - factor * best * codes).sum() > least


def test_a_row_of_zeros_keeps_its_scale() -> None:
    _, _, metric = draw(1, 4)
    scales = np.array([[[0.5]]])
    codes, fitted = solve_rounding(np.zeros((1, 1, 4)), scales, metric, 7, np.zeros(1))
    assert fitted.item() == 0.5
    assert not codes.any()


def test_scales_stay_where_they_must() -> None:
    weights, scales, metric = draw(8, 30, seed=9)
    codes, kept = solve_rounding(weights, scales, metric, 7, None)
    np.testing.assert_array_equal(kept, scales)
    moved, fitted = solve_rounding(weights, scales, metric, 7, scales * 0.5)
    losses = [metric.measure(weights - scale * code) for scale, code in ((kept, codes), (fitted, moved))]
    assert (losses[1] <= losses[0]).all()
    assert losses[1].sum() < losses[0].sum()
    _, floored = solve_rounding(weights, scales, metric, 7, scales * 1.5)
    assert (floored >= scales * (1 - 1e-6)).all()
    np.testing.assert_array_equal(fitted.astype(np.float32)[fitted != scales], fitted[fitted != scales])
