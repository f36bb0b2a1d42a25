import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from assay.calibrate.floats import is_float, to_float32, to_observed
from assay.calibrate.observe import Observation
from assay.calibrate.packing import pack
from assay.calibrate.statistics import StatisticsBuilder
from assay.core.errors import DataError
from assay.core.session import Batch
from assay.core.tensor import Array

PATTERNS = np.arange(1 << 16, dtype=np.uint16)
HALVES = PATTERNS.view(ml_dtypes.bfloat16)


def observe(values: Array) -> dict[str, NDArray[np.generic]]:
    part = Batch({"x": np.arange(8, dtype=np.float32).reshape(4, 2)}, None, 0)
    observation = Observation(["x", "h"], ["x"], channels={"h": 1}, threads=2)
    observation.add(part, {"h": values})
    return dict(pack(observation.build("data")))


def test_bfloat16_is_widened_by_its_bits() -> None:
    wide = to_float32(HALVES)
    np.testing.assert_array_equal(wide.view(np.uint32), np.arange(1 << 16, dtype=np.uint32) << 16)


def test_bfloat16_goes_to_the_kernels_without_a_copy() -> None:
    assert np.shares_memory(to_observed(HALVES), HALVES)


def test_what_the_kernels_take_lies_in_one_piece_and_may_be_written() -> None:
    halves = HALVES[:0x7F00].reshape(127, 256)
    locked = halves[:].T
    locked.setflags(write=False)
    for values in (locked, locked.astype(np.float32), locked.astype(np.float64)):
        observed = to_observed(values)
        assert observed.flags.carray
        np.testing.assert_array_equal(to_float32(values), values.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_floats_of_every_width_are_floats(dtype: type[np.generic]) -> None:
    assert is_float(np.zeros(1, dtype))


@pytest.mark.parametrize("dtype", [np.uint16, np.int64, np.bool_])
def test_patterns_and_integers_are_no_floats(dtype: type[np.generic]) -> None:
    assert not is_float(np.zeros(1, dtype))


def test_a_bfloat16_tensor_has_the_statistics_of_its_numbers() -> None:
    values = np.random.default_rng(0).normal(size=(4, 3, 40, 40)).astype(ml_dtypes.bfloat16)
    values[1, 2, 3] = np.nan
    halved, wide = (observe(one) for one in (values, values.astype(np.float32)))
    assert {name: part.tobytes() for name, part in halved.items()} == {n: part.tobytes() for n, part in wide.items()}


def test_a_bfloat16_array_without_values_counts_nothing() -> None:
    builder = StatisticsBuilder()
    assert builder.add(np.zeros((2, 0), ml_dtypes.bfloat16), np.zeros(2, np.int64)) == 0
    assert builder.build().count == 0


def test_bfloat16_inputs_must_be_finite_too() -> None:
    values = np.ones((3, 2), ml_dtypes.bfloat16)
    values[1] = np.inf
    observation = Observation(["x"], ["x"])
    with pytest.raises(DataError, match="item 5 "):
        observation.add(Batch({"x": values}, None, 4), {})
