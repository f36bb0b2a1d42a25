import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from assay.calibrate.statistics import StatisticsBuilder, merge, observe_array
from assay.core.calibration import TensorStatistics

ANY = arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32))
Floats = NDArray[np.float32]


def key(statistics: TensorStatistics) -> tuple[object, ...]:
    return (
        statistics.histogram.tobytes(),
        statistics.low,
        statistics.high,
        statistics.count,
        statistics.total,
        statistics.total_squares,
        statistics.zeros,
        statistics.nonfinite,
    )


@given(st.lists(ANY, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_observing_and_merging_do_not_depend_on_the_order(parts: list[Floats], random: object) -> None:
    shuffled = parts.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis' own Random
    builders = StatisticsBuilder(), StatisticsBuilder()
    for one, other in zip(parts, shuffled, strict=True):
        builders[0].add(one)
        builders[1].add(other)
    assert key(builders[0].build()) == key(builders[1].build())
    merged = merge([observe_array(part) for part in parts])
    assert key(merged) == key(merge([observe_array(part) for part in shuffled]))
    assert key(merged) == key(builders[0].build())


@given(ANY, ANY, ANY)
def test_merging_in_two_steps_changes_nothing_but_rounding(a: Floats, b: Floats, c: Floats) -> None:
    parts = [observe_array(part) for part in (a, b, c)]
    once, twice = merge(parts), merge([merge(parts[:2]), parts[2]])
    assert key(once)[:4] == key(twice)[:4]
    size = float(
        np.abs(np.r_[a, b, c], where=np.isfinite(np.r_[a, b, c]), out=np.zeros(a.size + b.size + c.size)).sum()
    )
    assert abs(once.total - twice.total) <= 1e-15 * size
    assert abs(once.total_squares - twice.total_squares) <= 1e-15 * once.total_squares
