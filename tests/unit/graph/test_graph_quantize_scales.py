import numpy as np
import pytest
from numpy.typing import NDArray

from assay.core.calibration import TensorRange
from assay.core.precision import IntegerFormat, RangeMethod
from assay.graph.scales import (
    LARGEST_BIAS_CODE,
    SMALLEST_SCALE,
    encode_activation,
    encode_bias,
    encode_weight,
    find_bias_floor,
)

NONE = np.zeros(1)


def weights(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).laplace(size=(6, 50)).astype(np.float32)


@pytest.mark.parametrize(
    ("limits", "activation", "symmetric", "scale", "zero_point"),
    [
        (TensorRange(0, 255), IntegerFormat.U8, False, 1.0, 0),
        (TensorRange(-255, 0), IntegerFormat.U8, False, 1.0, 255),
        (TensorRange(-85, 170), IntegerFormat.U8, False, 1.0, 85),
        (TensorRange(-85, 170), IntegerFormat.S8, False, 1.0, -43),
        (TensorRange(-127, 50), IntegerFormat.S8, True, 1.0, 0),
        (TensorRange(-50, 127), IntegerFormat.U8, True, 1.0, 128),
        (TensorRange(0, 0), IntegerFormat.U8, False, 1.0, 0),
        (TensorRange(0, 0), IntegerFormat.S8, True, 1.0, 0),
        (TensorRange(0, 1e-44), IntegerFormat.U8, False, SMALLEST_SCALE, 0),
        (TensorRange(-3e38, 3e38), IntegerFormat.U8, False, 6e38 / 255, 128),
        (TensorRange(2, 10.2), IntegerFormat.U8, False, 0.04, 0),
    ],
)
def test_activations(
    limits: TensorRange,
    activation: IntegerFormat,
    symmetric: bool,  # noqa: FBT001 parametrised
    scale: float,
    zero_point: int,
) -> None:
    encoding = encode_activation(limits, activation, symmetric)
    assert encoding.scale.dtype == np.float32
    assert encoding.scale == pytest.approx(scale, rel=1e-6)
    assert encoding.zero_point == zero_point


@pytest.mark.parametrize("axis", [0, 1, None])
def test_weights_use_the_largest_magnitude_of_each_channel(axis: int | None) -> None:
    weight = weights()
    encoded = encode_weight(weight, axis, RangeMethod.MIN_MAX, 127, NONE)
    other = None if axis is None else 1 - axis
    np.testing.assert_allclose(encoded.scale, np.abs(weight).max(axis=other) / 127, rtol=1e-6)
    scale = encoded.scale if axis != 0 else encoded.scale[:, None]
    assert np.abs(encoded.codes * scale - weight).max() <= encoded.scale.max() / 2 * (1 + 1e-5)
    assert np.abs(encoded.codes).max() == 127


def test_least_squares_weights_are_never_worse_and_often_better() -> None:
    weight = np.random.default_rng(0).standard_normal((2, 300_000)).astype(np.float32)
    costs = {}
    for method in RangeMethod:
        encoded = encode_weight(weight, 0, method, 127, NONE)
        costs[method] = np.square(encoded.codes * encoded.scale[:, None] - weight).sum(axis=1)
    assert (costs[RangeMethod.MSE] <= costs[RangeMethod.MIN_MAX]).all()
    assert costs[RangeMethod.MSE].sum() < 0.9 * costs[RangeMethod.MIN_MAX].sum()


def test_a_search_in_blocks_treats_every_row_alike() -> None:
    weight = np.random.default_rng(1).normal(size=(40, 5000)).astype(np.float32)
    whole = encode_weight(weight, 0, RangeMethod.MSE, 127, NONE)
    for row in (0, 17, 39):
        alone = encode_weight(weight[row : row + 1], 0, RangeMethod.MSE, 127, NONE)
        assert alone.scale[0] == whole.scale[row]


@pytest.mark.parametrize("method", RangeMethod)
def test_channels_of_zeros_and_denormals_stay_finite(method: RangeMethod) -> None:
    weight = np.float32([[0, 0], [1e-42, -1e-43], [1e30, -1e29]])
    encoded = encode_weight(weight, 0, method, 127, NONE)
    assert (encoded.scale >= SMALLEST_SCALE).all()
    assert np.isfinite(encoded.scale).all()
    assert not encoded.codes[0].any()
    assert encoded.codes[2, 0] == 127


def test_a_bias_that_overflows_widens_its_channel() -> None:
    bias, step = np.float32([0.5, 0.5]), np.float32(0.01)
    weight = np.float32([[1e-15, -1e-15], [1.0, -0.5]])
    floor = find_bias_floor(bias, step)
    encoded = encode_weight(weight, 0, RangeMethod.MIN_MAX, 127, floor)
    codes = encode_bias(bias, encoded.scale * step)
    assert abs(int(codes[0])) == pytest.approx(LARGEST_BIAS_CODE, rel=1e-4)
    np.testing.assert_allclose(codes * (encoded.scale * step).astype(np.float64), bias, rtol=1e-4)
    assert encoded.scale[1] == pytest.approx(1 / 127)
