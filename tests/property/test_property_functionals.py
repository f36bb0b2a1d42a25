import numpy as np
import pytest
from functional_samples import BINARY, NAMES, make_metric, make_records, make_scores
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.measure.functionals.functional import Records
from assay.measure.functionals.table import load_functional
from assay.measure.statistics.influence import bound_above
from assay.measure.statistics.paired import compare

SEEDS = st.integers(0, 2**32 - 1)


def draw_pair(name: str, seed: int, flips: float, ties: int = 1) -> tuple[Records, Records]:
    """Records of a reference and of a variant that answers a share of the items as other items are answered."""
    rng = np.random.default_rng(seed)
    before = make_records(name, int(rng.integers(250, 500)), rng, ties)
    after = before.copy()
    flipped, others = rng.random(len(before)) < flips, rng.permutation(len(before))
    if name in BINARY:
        after[flipped, :2] = before[others][flipped, :2]
    elif name.startswith("f1-m") and name != "f1-macro-classes":
        after[flipped, :, 0] = before[others][flipped, :, 0]
    else:
        scale = before[flipped, 1] / before[others][flipped, 1] if name == "perplexity" else 1
        after[flipped, 0] = before[others][flipped, 0] * scale
    return before, after


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=6, deadline=None)
@given(SEEDS, st.floats(0, 1))
def test_intervals_hold_their_estimate_mirror_and_never_vanish(name: str, seed: int, flips: float) -> None:
    before, after = (make_scores(part) for part in draw_pair(name, seed, flips))
    metric = make_metric(name)
    there, back = compare(metric, before, after, 0.9), compare(metric, after, before, 0.9)
    assert there.low <= there.difference <= there.high
    assert there.low < there.high
    assert np.allclose((there.low, there.high), (-back.high, -back.low), rtol=1e-6, atol=1e-12)
    wider = compare(metric, before, after, 0.99)
    assert wider.low <= there.low
    assert wider.high >= there.high


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=4, deadline=None)
@given(SEEDS, st.floats(0, 0.5))
def test_the_order_of_the_items_says_nothing(name: str, seed: int, flips: float) -> None:
    before, after = draw_pair(name, seed, flips)
    order = np.random.default_rng(seed).permutation(len(before))
    functional = load_functional(name)
    assert np.allclose(functional.influence(before)[order], functional.influence(before[order]), atol=1e-10)
    metric = make_metric(name)
    one = compare(metric, make_scores(before), make_scores(after), 0.95)
    two = compare(metric, make_scores(before[order]), make_scores(after[order]), 0.95)
    assert np.allclose((one.value, one.low, one.high), (two.value, two.low, two.high), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=4, deadline=None)
@given(SEEDS, st.integers(2, 5))
def test_items_drawn_several_times_weigh_as_one(name: str, seed: int, times: int) -> None:
    records, _ = draw_pair(name, seed, 0)
    functional, many = load_functional(name), np.repeat(records, times, axis=0)
    assert functional.value(many) == pytest.approx(functional.value(records), rel=1e-9)
    assert np.allclose(functional.influence(many)[::times], functional.influence(records), atol=1e-9)
    assert functional.worst(many) == pytest.approx(functional.worst(records), rel=1e-9)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3), st.floats(-50, 50))
def test_scale_and_place_of_what_is_said_do_not_change_correlations(seed: int, scale: float, shift: float) -> None:
    before, after = draw_pair("pearson", seed, 0.1)
    moved = [np.column_stack([scale * part[:, 0] + shift, part[:, 1]]) for part in (before, after)]
    for name in ("pearson", "spearman"):
        one = compare(make_metric(name), make_scores(before), make_scores(after), 0.95)
        two = compare(make_metric(name), make_scores(moved[0]), make_scores(moved[1]), 0.95)
        assert np.allclose((one.value, one.low, one.high), (two.value, two.low, two.high), atol=1e-7)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3))
def test_errors_scale_with_their_unit(seed: int, scale: float) -> None:
    before, after = draw_pair("rmse", seed, 0.1)
    for name in ("rmse", "mae"):
        one = compare(make_metric(name), make_scores(before), make_scores(after), 0.95)
        two = compare(make_metric(name), make_scores(scale * before), make_scores(scale * after), 0.95)
        assert np.allclose((scale * one.low, scale * one.high), (two.low, two.high), rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 200), st.floats(1e-6, 1e6), st.floats(-5, 5), st.sampled_from([0.8, 0.95, 0.999]))
def test_bounds_move_and_scale_with_the_changes(
    seed: int, n: int, scale: float, shift: float, confidence: float
) -> None:
    changes = np.random.default_rng(seed).standard_normal(n)
    bound = bound_above(np.array(shift), changes, np.array(9.0), confidence)
    scaled = bound_above(np.array(scale * shift), scale * changes, np.array(scale * 9.0), confidence)
    assert bound > shift
    assert scaled == pytest.approx(scale * bound, rel=1e-6, abs=1e-6 * scale)
    harmed = bound_above(np.array(shift), changes, np.array(18.0), confidence)
    assert harmed >= bound - 1e-9
