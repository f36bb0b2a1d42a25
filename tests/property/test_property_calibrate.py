import numpy as np
from hypothesis import given, settings
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
        statistics.sums,
    )


@settings(deadline=None)
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


@settings(deadline=None)
@given(ANY, ANY, ANY)
def test_merging_is_associative_to_the_last_bit(a: Floats, b: Floats, c: Floats) -> None:
    parts = [observe_array(part) for part in (a, b, c)]
    once = merge(parts)
    assert key(once) == key(merge([merge(parts[:2]), parts[2]])) == key(merge([parts[0], merge(parts[1:])]))
