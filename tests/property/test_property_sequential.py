import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.core.certificate import CertificateStatus
from assay.measure.statistics.ending import finish
from assay.measure.statistics.relative import relative_losses
from assay.measure.statistics.sequential import Moments, SequentialTest, plan_looks

LOSS = st.floats(-1, 1, width=32)
MARGIN = st.floats(0.002, 0.3)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(LOSS, st.sampled_from([-1.0, 0.0, 1.0])), min_size=1, max_size=300), MARGIN, st.data())
def test_cutting_into_chunks_changes_nothing(losses: list[float], margin: float, data: st.DataObject) -> None:
    values = np.array(losses)
    prior = data.draw(st.sampled_from([None, Moments(50, 0.01, 0.02), Moments(400, -0.3, 0.5)]))
    whole, cut = SequentialTest(margin, 0.9, prior), SequentialTest(margin, 0.9, prior)
    whole.add(values)
    start = 0
    while start < values.size:
        size = data.draw(st.integers(1, 100))
        cut.add(values[start : start + size])
        start += size
    assert cut.n == whole.n
    one, other = whole.looks[-1], cut.looks[-1]
    assert np.allclose((one.loss, one.low, one.high), (other.loss, other.low, other.high), atol=1e-12)
    assert cut.status is whole.status


@settings(max_examples=60, deadline=None)
@given(st.lists(LOSS, min_size=1, max_size=200), MARGIN, st.sampled_from([0.6, 0.9, 0.99]))
def test_bounds_hold_the_mean_and_tighten(losses: list[float], margin: float, confidence: float) -> None:
    test = SequentialTest(margin, confidence)
    values = np.array(losses)
    for start in range(0, values.size, 40):
        look = test.add(values[start : start + 40])
        assert -1 <= look.low <= look.loss <= look.high <= 1
    surer = SequentialTest(margin, 0.999)
    surer.add(values)
    assert surer.looks[-1].low <= test.looks[-1].low + 1e-12
    assert surer.looks[-1].high >= test.looks[-1].high - 1e-12
    status, last = finish(test, values, confidence)
    assert last.low <= last.loss <= last.high
    if test.status is not CertificateStatus.OPEN:
        assert status is test.status


@given(st.integers(1, 10**6), MARGIN, st.sampled_from([0.6, 0.95, 0.999]))
def test_looks_rise_to_all_items(n: int, margin: float, confidence: float) -> None:
    looks = plan_looks(n, margin, confidence)
    assert looks[-1] == n
    assert (np.diff((0, *looks)) > 0).all()
    assert len(looks) < 120


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1), st.floats(0.001, 0.9), st.booleans())
def test_relative_losses_have_the_sign_of_the_excess(
    pairs: list[tuple[float, float]],
    amount: float,
    higher: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    before, after = np.array(pairs).T
    relative = relative_losses(before, after, amount, higher_is_better=higher)
    loss = float(np.mean(before - after if higher else after - before))
    assert np.isclose(relative.values.mean() * relative.scale, loss - amount * before.mean(), atol=1e-12)
    assert np.abs(relative.values).max() <= 1
