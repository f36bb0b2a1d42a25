"""Queues and dependent samples, whatever the times are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from assay.measure.scenarios.queue import simulate_waits
from assay.measure.stability import judge_stability
from assay.measure.statistics.dependence import count_worth, find_cycles
from assay.measure.statistics.quantile import estimate_quantile

TIMES = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(1e-3, 10))


@st.composite
def queues(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    gaps = draw(TIMES)
    return gaps, draw(hnp.arrays(np.float64, gaps.size, elements=st.floats(1e-3, 10)))


@given(queues(), st.integers(1, 4))
def test_waits_grow_with_the_rate_and_shrink_with_workers(queue: tuple[np.ndarray, np.ndarray], workers: int) -> None:
    gaps, services = queue
    waits = simulate_waits(gaps, services, workers)
    assert (waits >= services - 1e-9).all()
    assert (simulate_waits(gaps / 2, services, workers) >= waits - 1e-9).all()
    assert (simulate_waits(gaps, services, workers + 1) <= waits + 1e-9).all()


@given(queues())
def test_a_busy_period_is_one_without_a_pause(queue: tuple[np.ndarray, np.ndarray]) -> None:
    gaps, services = queue
    arrived = np.cumsum(gaps)
    finished = arrived + simulate_waits(gaps, services)
    cycles = find_cycles((arrived * 1e9).astype(np.int64), (finished * 1e9).astype(np.int64))
    assert cycles[0] == 0
    assert set(np.diff(cycles).tolist()) <= {0, 1}
    assert 1 <= count_worth(finished - arrived, 0.9, cycles) <= gaps.size


@given(hnp.arrays(np.float64, st.integers(1, 200), elements=st.floats(0, 1e6)), st.integers(1, 200))
def test_fewer_independent_samples_never_narrow_a_bound(samples: np.ndarray, worth: int) -> None:
    full, fewer = (estimate_quantile(samples, 0.9, 0.9, "ms", count) for count in (None, worth))
    assert fewer.value == full.value
    for bound in (fewer.low, fewer.high):
        assert bound is None or bound in samples or bound == full.value
    if full.high is None:
        assert fewer.high is None
    if full.low is None:
        assert fewer.low is None


@given(hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(1e-3, 1e6)))
def test_any_samples_can_be_judged(samples: np.ndarray) -> None:
    judged = judge_stability(samples)
    assert 1 <= judged.effective <= judged.n == samples.size
    assert np.isfinite(judged.drift)
