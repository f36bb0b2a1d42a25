import numpy as np
import pytest
from range_samples import SHAPES, cost, draw, encode, measure_divergence, measure_tail_loss

from assay.calibrate.ranges.distribution import Distribution
from assay.calibrate.ranges.entropy import Divergences
from assay.calibrate.ranges.problem import RangeProblem
from assay.calibrate.statistics import observe_array
from assay.core.calibration import TensorRange


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_errors_of_the_histogram_are_those_of_the_samples(name: str, symmetric: bool) -> None:  # noqa: FBT001 parametrised
    x = draw(name, 200_000)
    problem = RangeProblem(observe_array(x), symmetric=symmetric)
    for share in (1.0, 0.9, 0.6, 0.3, 0.15):
        limits = TensorRange(share * problem.widest.low, (0.95 if not symmetric else 1) * share * problem.widest.high)
        scale, lowest = encode(limits, symmetric=symmetric)
        scales, codes = np.array([scale]), np.array([[float(lowest)]])
        assert problem.encode(limits) == (scale, lowest)
        assert problem.errors.measure_error(scales, codes) == pytest.approx(
            cost(x, limits, symmetric=symmetric), rel=0.02
        )
        assert problem.weighted_errors.measure_error(scales, codes) == pytest.approx(
            cost(x, limits, symmetric=symmetric, power=1) / np.abs(x).max(), rel=0.03
        )
        assert problem.errors.measure_tail_loss(scales, codes) == pytest.approx(
            measure_tail_loss(x, limits, symmetric=symmetric), abs=0.01
        )


def test_encodings_of_a_share_cover_what_the_range_can_be() -> None:
    problem = RangeProblem(observe_array(np.linspace(-1, 3, 1001)), symmetric=False)
    shares = np.array([1.0, 0.5])
    scales, lowest = problem.list_encodings(shares)
    assert scales * 255 == pytest.approx([4, 2])
    assert set(lowest[0]) == {-64}
    assert (lowest[1].max(), lowest[1].min()) == (0, -128)
    for share, row in zip(shares, lowest, strict=True):
        for code in row:
            limits = problem.decode(share, code)
            assert problem.encode(limits)[1] == code
            assert limits.high - limits.low == pytest.approx(4 * share)
            assert -1 <= limits.low <= 0 <= limits.high <= 3
    near = problem.list_encodings(np.array([0.45, 0.5]), (0.5, -100.0))[1]
    assert set(range(-105, -95)) <= set(near[1])
    assert near[0].max() - near[0].min() == near[1].max() - near[1].min() == 16


def test_a_distribution_has_the_counts_of_its_values() -> None:
    x = draw("swish")
    distribution = Distribution.of(observe_array(x))
    assert distribution.count == np.count_nonzero(x)
    edges = np.array([-0.25, -0.0625, 0.5, 2.0])  # edges of bins
    assert distribution.count_up_to(edges).tolist() == [np.count_nonzero(x[x != 0] <= edge) for edge in edges]
    magnitudes = Distribution.of_magnitudes(observe_array(x))
    assert magnitudes.count_up_to(np.array([0.125])) == np.count_nonzero((np.abs(x) < 0.125) & (x != 0))
    assert magnitudes.points[-1] == np.abs(x).max()
    assert not Distribution.of(observe_array(np.zeros(5))).points.size


@pytest.mark.parametrize("value", [5.01, -3.3, 2.0**10, -(2.0**-20)])
def test_a_single_value_is_nearly_a_point(value: float) -> None:
    value = float(np.float32(value))
    points = Distribution.of(observe_array(np.full(7, value))).points
    assert value in points
    assert np.ptp(points) == pytest.approx(abs(value) * 1e-6)


@pytest.mark.parametrize("codes", [128, 256])
def test_divergences_of_many_windows_are_those_of_one_at_a_time(codes: int) -> None:
    rng = np.random.default_rng(3)
    counts = rng.poisson(40 * np.exp(-np.linspace(0, 5, 2048))).astype(np.float64)
    first = rng.integers(0, 1000, 30)
    last = rng.integers(first + codes, 2049)
    first[0], last[0] = 0, 2048
    expected = [measure_divergence(counts, *window, codes) for window in zip(first, last, strict=True)]
    found = Divergences(counts, codes).measure(first, last)
    assert found == pytest.approx(expected, rel=1e-9)
    assert np.ptp(expected) > 0.1
