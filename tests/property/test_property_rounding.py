import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from assay.calibrate.moments import spread
from assay.core.moments import AutoPad, Window
from assay.graph.rounding import Choice, Metric, round_adaptively, solve_rounding

Floats = NDArray[np.float64]
SIZE = 5
ENTRY = st.floats(-8, 8).filter(lambda value: value == 0 or abs(value) > 1e-6)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Floats, Floats, Metric]:
    """Weights, scales and the moments of a few input vectors, which may leave inputs unseen or be all alike."""
    weights = draw(arrays(np.float64, (2, 3, SIZE), elements=ENTRY))
    inputs = draw(arrays(np.float64, (2, 4, SIZE), elements=ENTRY))
    scales = draw(arrays(np.float64, (2, 3, 1), elements=st.floats(0.05, 4)))
    return weights, scales, Metric.of(inputs.swapaxes(1, 2) @ inputs)


@settings(deadline=None)
@given(problems(), st.sampled_from([3, 64, 127]))
def test_adaptive_rounding_is_never_worse_than_nearest(problem: tuple[Floats, Floats, Metric], largest: int) -> None:
    weights, scales, metric = problem
    choice = Choice.of(weights, scales, largest)
    codes = round_adaptively(weights, scales, metric, largest)
    assert ((codes == choice.lower) | (codes == choice.upper)).all()
    nearest, found = (metric.measure(choice.find_error(each)) for each in (choice.nearest, codes))
    assert (found <= nearest * (1 + 1e-9) + 1e-9).all()


@settings(deadline=None, max_examples=50)
@given(problems())
def test_no_flip_of_one_or_two_codes_helps(problem: tuple[Floats, Floats, Metric]) -> None:
    weights, scales, metric = problem
    choice = Choice.of(weights, scales, 127)
    codes = round_adaptively(weights, scales, metric, 127)
    found = metric.measure(choice.find_error(codes))
    for flips in itertools.combinations_with_replacement(range(SIZE), 2):
        moved = codes.copy()
        for index in set(flips):
            moved[..., index] = (choice.lower + choice.upper - codes)[..., index]
        assert (metric.measure(choice.find_error(moved)) >= found * (1 - 1e-6) - 1e-6).all()


@settings(deadline=None)
@given(problems(), st.floats(0.01, 8))
def test_fitted_scales_never_cost_and_respect_their_floor(problem: tuple[Floats, Floats, Metric], floor: float) -> None:
    weights, scales, metric = problem
    fixed, _ = solve_rounding(weights, scales, metric, 127, None)
    codes, fitted = solve_rounding(weights, scales, metric, 127, np.full(scales.shape, floor))
    before, after = (metric.measure(weights - scale * code) for scale, code in ((scales, fixed), (fitted, codes)))
    assert (after <= before * (1 + 1e-9) + 1e-9).all()
    assert ((fitted == scales) | (fitted >= floor * (1 - 1e-6))).all()
    assert (fitted > 0).all()


@given(st.integers(0, 10**6), st.integers(1, 300), st.integers(0, 500))
def test_a_spread_lies_inside(start: int, count: int, total: int) -> None:
    taken = spread(start, count, total)
    assert len(taken) == min(count, total)
    assert not taken.size or (taken.min() >= 0 and taken.max() < total)


@given(
    st.integers(1, 20),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(1, 3),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.sampled_from(AutoPad),
)
def test_a_window_reads_where_the_standard_says(
    length: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int], auto_pad: AutoPad
) -> None:
    reads = Window((kernel,), (stride,), (dilation,), pads, auto_pad).locate(0, length)
    reach = (kernel - 1) * dilation + 1
    if auto_pad in {AutoPad.SAME_UPPER, AutoPad.SAME_LOWER}:
        assert len(reads) == -(-length // stride)
        spare = max(0, int(reads[-1, -1]) - (length - 1)) + max(0, -int(reads[0, 0]))
        assert spare < reach
    else:
        before, behind = pads if auto_pad is AutoPad.EXPLICIT else (0, 0)
        assert len(reads) == max(0, (length + before + behind - reach) // stride + 1)
        if len(reads):
            assert reads[0, 0] == -before
            assert reads[-1, -1] <= length - 1 + behind
    if len(reads) > 1:
        assert (np.diff(reads[:, 0]) == stride).all()
    assert (np.diff(reads, axis=1) == dilation).all()
