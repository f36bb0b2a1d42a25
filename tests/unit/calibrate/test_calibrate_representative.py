import numpy as np
import pytest

from assay.calibrate.selection.representative import choose_spread, standardise
from assay.core.errors import RequestError


def draw_pool(seed: int, n: int = 600) -> np.ndarray:
    """Items of three kinds in the proportions 70, 25 and 5, with heavy tails in one feature."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(3, n, p=[0.70, 0.25, 0.05])
    centres = np.array([[0, 0, 0, 0], [6, 0, 0, 0], [0, 6, 3, 0]])
    spread = rng.normal(size=(n, 4)) * [1, 1, 1, 0] + np.outer(rng.lognormal(0, 1, n), [0, 0, 0, 1])
    return (centres[kinds] + spread).astype(np.float32)


def measure_distance(features: np.ndarray, chosen: np.ndarray) -> float:
    """Mean over features of the largest distance of the distribution functions (Kolmogorov-Smirnov)."""
    distances = []
    for column in features.T:
        grid = np.sort(column)
        ranks = [
            np.searchsorted(np.sort(values), grid, side="right") / len(values) for values in (column[chosen], column)
        ]
        distances.append(np.abs(ranks[0] - ranks[1]).max())
    return float(np.mean(distances))


@pytest.mark.parametrize("n", [16, 32, 64])
def test_the_subset_is_spread_like_the_pool_and_more_so_than_a_random_one(n: int) -> None:
    spread, random = [], []
    for seed in range(8):
        pool = draw_pool(seed)
        rng = np.random.default_rng(seed)
        spread.append(measure_distance(pool, choose_spread(pool, n, rng)))
        random.append(measure_distance(pool, rng.permutation(len(pool))[:n]))
    assert np.mean(spread) < 0.8 * np.mean(random)


def test_rare_kinds_keep_their_share() -> None:
    for seed in range(5):
        pool = draw_pool(seed)
        chosen = pool[choose_spread(pool, 60, np.random.default_rng(seed))]
        assert 1 <= (chosen[:, 1] > 4).sum() <= 6
        assert 11 <= (chosen[:, 0] > 3).sum() <= 19


def test_units_of_features_do_not_matter() -> None:
    pool = draw_pool(0)
    scaled = pool * np.array([1e-6, 1, 1e9, 1], np.float32)
    first, second = (choose_spread(one, 20, np.random.default_rng(0)) for one in (pool, scaled))
    assert len(np.intersect1d(first, second)) >= 18


def test_one_wild_item_does_not_take_the_others_resolution() -> None:
    values = np.random.default_rng(0).normal(size=(200, 1)).astype(np.float32)
    values[7] = 1e30
    bent = standardise(values)
    assert bent[7, 0] < 100
    assert np.std(np.delete(bent, 7)) == pytest.approx(0.9, abs=0.15)


def test_features_that_are_not_finite_or_constant_are_left_out() -> None:
    pool = draw_pool(1)
    odd = np.concatenate([pool, np.full((len(pool), 1), 3, np.float32), pool[:, :1]], axis=1)
    odd[5, 5] = np.inf
    expected = choose_spread(pool, 20, np.random.default_rng(0))
    np.testing.assert_array_equal(choose_spread(odd, 20, np.random.default_rng(0)), expected)


@pytest.mark.parametrize("features", [np.zeros((9, 3), np.float32), np.zeros((9, 0), np.float32)])
def test_equal_items_are_chosen_at_random(features: np.ndarray) -> None:
    chosen = choose_spread(features, 4, np.random.default_rng(0))
    assert len(chosen) == 4
    assert chosen[0] == 0


def test_no_items_are_refused() -> None:
    with pytest.raises(RequestError, match="0 items"):
        choose_spread(draw_pool(0), 0, np.random.default_rng(0))
