import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_samples import ArrayDataset, FunctionSession

from assay.core.session import Metric, Scores
from assay.measure.quality import score_dataset
from assay.measure.statistics.paired import compare
from assay.measure.statistics.quantile import estimate_quantile
from assay.measure.statistics.trinomial import bound_loss
from assay.measure.tasks.classification import Classification

METRIC = Metric("top1", higher_is_better=True, labelled=True)
FLOATS = st.floats(0, 1, width=32)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.data())
def test_more_lost_items_never_lower_the_bound(n: int, data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, n - 1))
    won = data.draw(st.integers(0, n - 1 - lost))
    bound = bound_loss(lost, won, n, 0.95)
    assert (lost - won) / n <= bound <= 1
    # Bounds are found to a thousandth of a standard error.
    slack = 0.002 * np.sqrt((lost + won + 2) / n / n)
    assert bound_loss(lost + 1, won, n, 0.95) >= bound - slack
    assert bound_loss(lost, won + 1, n, 0.95) <= bound + slack


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=60), st.booleans())
def test_intervals_hold_their_estimate_and_mirror(pairs: list[tuple[float, float]], binary: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
    values = np.array(pairs, np.float64)
    values = np.round(values) if binary else values
    one, two = (Scores({"top1": values[:, i]}, np.zeros(len(values), np.int64)) for i in (0, 1))
    there, back = compare(METRIC, one, two, 0.9), compare(METRIC, two, one, 0.9)
    assert -1 <= there.low <= there.difference <= there.high <= 1
    assert np.allclose((there.low, there.high), (-back.high, -back.low), atol=1e-6)
    assert there.flips_lost == back.flips_won
    wider = compare(METRIC, one, two, 0.99)
    assert wider.low <= there.low + 1e-9
    assert wider.high >= there.high - 1e-9


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=400), st.sampled_from([0.5, 0.95, 0.99]))
def test_quantile_bounds_are_samples_around_the_value(samples: list[float], probability: float) -> None:
    estimate = estimate_quantile(samples, probability, 0.95, "ms")
    doubled = estimate_quantile([sample * 2 for sample in samples], probability, 0.95, "ms")
    if estimate.low is not None:
        assert min(samples) <= estimate.low <= estimate.value
        assert doubled.low == 2 * estimate.low
    if estimate.high is not None:
        assert estimate.value <= estimate.high <= max(samples)
        assert doubled.high == 2 * estimate.high


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 4), st.one_of(st.none(), st.integers(1, 9)))
def test_batching_never_changes_scores(items: int, batch: int, width: int, fixed: int | None) -> None:
    rng = np.random.default_rng(items)
    values, targets = rng.standard_normal((items, 4)).astype(np.float32), rng.integers(0, 4, items)
    session = FunctionSession(lambda x: {"y": x}, batch=fixed, width=width)
    scored = score_dataset(session, ArrayDataset(values, targets), Classification(), batch, lambda _: None)
    whole = Classification().score({"y": values}, targets)
    assert scored.scores.predictions.tolist() == whole.predictions.tolist()
    assert scored.scores.metrics["top1"].tolist() == whole.metrics["top1"].tolist()
