from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from assay.calibrate.selection.representative import choose_spread

FEATURES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 40), st.integers(0, 5)),
    elements=st.one_of(st.floats(width=32), st.integers(-2, 2)),
)


@given(FEATURES, st.integers(1, 50), st.integers(0, 2**32))
def test_the_right_number_of_rising_distinct_indices(features: np.ndarray, n: int, seed: int) -> None:
    chosen = choose_spread(features, n, np.random.default_rng(seed))
    assert chosen.dtype == np.int64
    assert len(chosen) == min(n, len(features))
    assert (np.diff(chosen) > 0).all()
    assert chosen[0] >= 0
    assert chosen[-1] < len(features)


@given(FEATURES, st.integers(1, 50), st.integers(0, 2**32))
def test_the_generator_alone_decides(features: np.ndarray, n: int, seed: int) -> None:
    first, second = (choose_spread(features, n, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 12), st.just(2)), elements=st.integers(-3, 3)),
    st.integers(1, 12),
    st.integers(0, 2**32),
)
def test_duplicates_are_chosen_last(features: np.ndarray, n: int, seed: int) -> None:
    chosen = choose_spread(np.tile(features, (3, 1)), n, np.random.default_rng(seed))
    distinct = len(np.unique(features, axis=0))
    assert len(np.unique(np.tile(features, (3, 1))[chosen], axis=0)) == min(n, distinct)
    if n <= distinct:
        assert chosen.max() < len(features)
