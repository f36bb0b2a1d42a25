"""Batch sizes never change items; streaming a file equals loading it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from assay.core.tensor import Array, Signature, TensorSpec
from assay.data.batching import rebatch
from assay.data.cache import remember
from assay.data.open import open_dataset
from assay.data.source import DataSource
from assay.data.subset import every

DTYPES = ("float16", "float32", "float64", "int8", "uint8", "int32", "int64", "uint16", "bool")


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    order = draw(st.sampled_from(["=", "<", ">"]))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=6))
    finite = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else {}
    elements = hnp.from_dtype(dtype, **finite)
    drawn: Array = draw(hnp.arrays(dtype.newbyteorder(order), shape, elements=elements))
    return drawn


@settings(max_examples=60, deadline=None)
@given(array=arrays(), size=st.integers(1, 9), compress=st.booleans())
def test_streaming_equals_loading(array: Array, size: int, *, compress: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        target = np.arange(len(array))
        (np.savez_compressed if compress else np.savez)(path, x=array, target=target)
        native = array.dtype.newbyteorder("=")
        signature = Signature((TensorSpec("x", native.name, ("n", *array.shape[1:])),), ())
        batches = list(open_dataset(DataSource(str(path)), signature).batches(size))
        with np.load(path) as loaded:
            streamed = np.concatenate([batch.feeds["x"] for batch in batches])
            assert streamed.dtype == native
            np.testing.assert_array_equal(streamed, loaded["x"])
            np.testing.assert_array_equal(np.concatenate([batch.targets for batch in batches]), loaded["target"])
        assert [batch.start for batch in batches] == list(range(0, len(array), size))


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40),
    sizes=st.lists(st.integers(1, 50), min_size=2, max_size=4),
    chosen=st.sets(st.integers(0, 39), min_size=1),
    limit_bytes=st.integers(0, 400),
)
def test_any_batch_size_gives_the_same_items(n: int, sizes: list[int], chosen: set[int], limit_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        np.savez(path, x=np.arange(n, dtype=np.int64), target=np.arange(n))
        source = open_dataset(DataSource(str(path)), Signature((TensorSpec("x", "int64", ("n",)),), ()))
        indices = sorted(index for index in chosen if index < n) or [0]
        for dataset, expected in (
            (source, list(range(n))),
            (remember(source, limit_bytes), list(range(n))),
            (every(remember(source, limit_bytes), indices), indices),
        ):
            for size in sizes:
                batches = list(dataset.batches(size))
                assert [int(x) for batch in batches for x in batch.feeds["x"]] == expected
                assert all(batch.size == size for batch in batches[:-1])
                assert [batch.start for batch in batches] == list(range(0, len(expected), size))
                assert [int(x) for batch in rebatch(batches, sizes[0]) for x in batch.feeds["x"]] == expected
