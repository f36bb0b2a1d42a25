"""What must hold of a verdict whatever the sets."""

import re
from dataclasses import replace

import numpy as np
from fitness_samples import LEAST_SQUARES, MIN_MAX, SYMMETRIC, Values, observe_items
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from assay.calibrate.fitness.judge import judge
from assay.calibrate.fitness.noise import describe_density
from assay.calibrate.fitness.shift import find_shift
from assay.calibrate.ranges.solve import solve_range
from assay.calibrate.statistics import observe_array
from assay.core.calibration import ItemSketch
from assay.core.fitness import Fitness, Verdict
from assay.core.plan import Scheme

QUICK = settings(max_examples=10, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
"""Each example takes a second or so: too long to shrink."""
SEEDS = st.integers(0, 2**32 - 1)
SCHEMES = st.sampled_from([LEAST_SQUARES, MIN_MAX, SYMMETRIC])


def draw(seed: int, items: int, kind: str) -> dict[str, Values]:
    """Items of one of several shapes of distribution."""
    rng = np.random.default_rng(seed)
    shape = (items, 64)
    values = {
        "normal": lambda: rng.normal(0, 1, shape),
        "heavy": lambda: rng.standard_t(2, shape),
        "one-sided": lambda: rng.exponential(3, shape) + 2,
        "constant": lambda: np.full(shape, 0.75) + 1e-3 * rng.integers(0, 2, (items, 1)),
        "huge": lambda: rng.normal(0, 1e30, shape),
        "tiny": lambda: rng.normal(0, 1e-30, shape),
        "sparse": lambda: np.maximum(rng.normal(-2, 1, shape), 0),
    }[kind]()
    return {"x": values.astype(np.float32), "relu": np.maximum(values, 0).astype(np.float32)}


KINDS = st.sampled_from(["normal", "heavy", "one-sided", "constant", "huge", "tiny", "sparse"])


def assess(one: dict[str, Values], other: dict[str, Values], scheme: Scheme = LEAST_SQUARES) -> Fitness:
    return judge(observe_items(one), observe_items(other), scheme, np.random.default_rng(0))


@QUICK
@given(SEEDS, KINDS, SCHEMES)
def test_every_set_fits_itself(seed: int, kind: str, scheme: Scheme) -> None:
    items = draw(seed, 120, kind)
    calibration = observe_items(items)
    fitness = judge(calibration, calibration, scheme, np.random.default_rng(0))
    assert fitness.score.value == 1.0
    assert all(tensor.excess_noise_db.value == 0.0 for tensor in fitness.tensors)
    assert fitness.shift_p == 1.0
    assert fitness.verdict is (Verdict.DOUBTFUL if fitness.distinct_items < 29 else Verdict.FIT)


def forget_positions(fitness: Fitness) -> Fitness:
    """The same verdict without the numbers of items."""
    reasons = tuple(re.sub(r"item \d+", "item", reason) for reason in fitness.reasons)
    return replace(fitness, items=(), reasons=reasons)


@QUICK
@given(SEEDS, SEEDS, KINDS, KINDS)
def test_the_order_of_items_does_not_matter(seed: int, order: int, kind: str, other: str) -> None:
    items, sample = draw(seed, 60, kind), draw(seed + 1, 80, other)
    mixed = np.random.default_rng(order).permutation(60)
    first, second = assess(items, sample), assess({name: values[mixed] for name, values in items.items()}, sample)
    assert forget_positions(second) == forget_positions(first)
    if first.distinct_items == first.calibration_items:
        assert [mixed[item.position] for item in second.items] == [item.position for item in first.items]


@QUICK
@given(SEEDS, KINDS, KINDS, SCHEMES)
def test_figures_stay_where_they_live(seed: int, kind: str, other: str, scheme: Scheme) -> None:
    fitness = assess(draw(seed, 40, kind), draw(seed + 1, 50, other), scheme)
    shares = [one for tensor in fitness.tensors for one in (tensor.clip_rate, tensor.unused, tensor.distance)]
    for one in (fitness.score, *shares):
        assert one.low is not None
        assert one.high is not None
        assert 0 <= one.low <= one.value <= one.high <= 1
    assert 0 < fitness.shift_p <= 1
    assert (fitness.verdict is Verdict.FIT) == (not fitness.reasons)


@settings(max_examples=20, deadline=None)
@given(SEEDS, KINDS, SCHEMES, st.floats(0.2, 3.0))
def test_noise_of_a_density_is_that_of_its_values(seed: int, kind: str, scheme: Scheme, factor: float) -> None:
    values = draw(seed, 2000, kind)["x"]
    statistics = observe_array(values)
    limits = solve_range(statistics, scheme.ranges, scheme.dialect.activation, symmetric=scheme.dialect.symmetric)
    limits = replace(limits, low=limits.low * factor, high=limits.high * factor)
    noise = describe_density(statistics.histogram[np.newaxis], statistics).measure_noise(limits, scheme.dialect)[0]
    if scheme.dialect.symmetric:
        scale, lowest = max(-limits.low, limits.high) / 127, -128
    else:
        scale = (limits.high - limits.low) / 255
        lowest = -round(-limits.low / scale)
    wide = values.astype(np.float64)
    highest = lowest + 255
    exact = np.square(wide - scale * np.clip(np.rint(wide / scale), lowest, highest)).sum()
    bound = np.square(wide).sum() * 1e-5 + 0.1 * exact + 0.6 * wide.size * scale**2 * (kind == "constant")
    assert abs(noise - exact) <= bound


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(10, 60), st.integers(10, 60))
def test_the_shift_test_finds_any_feature_that_separates_the_sets(seed: int, first: int, second: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=(first, 6)), rng.normal(size=(second, 6))
    one[:, 4] += 100
    shift = find_shift(sketch(one), sketch(other), np.random.default_rng(0))
    assert shift.features[0].name == "f4"
    assert shift.features[0].above == 1.0
    assert shift.p < 0.05


def test_honest_sets_are_told_apart_no_more_often_than_p_says() -> None:
    rng = np.random.default_rng(3)
    ps = []
    for _ in range(200):
        both = np.exp(rng.normal(size=(90, 8)) + rng.normal(size=(90, 1)))
        ps.append(find_shift(sketch(both[:30]), sketch(both[30:]), rng).p)
    assert np.mean(np.array(ps) <= 0.05) <= 0.1
    assert np.mean(np.array(ps) <= 0.5) <= 0.6


def test_float_rounding_tells_no_sets_apart() -> None:
    rng = np.random.default_rng(4)
    background = np.full((60, 1), 0.3)
    one, other = (np.hstack([background, rng.normal(size=(60, 2))]) for _ in range(2))
    one[:, 0] += 1e-7
    assert find_shift(sketch(one), sketch(other), np.random.default_rng(0)).p > 0.01


def sketch(features: np.ndarray) -> ItemSketch:
    """A sketch of items with these features ``f0``, ``f1``, ..."""
    items, count = features.shape
    return ItemSketch(
        hashes=np.arange(items, dtype=np.uint64),
        repeats=np.ones(items, np.int64),
        positions=np.arange(items),
        names=tuple(f"f{index}" for index in range(count)),
        features=features.astype(np.float32),
    )
