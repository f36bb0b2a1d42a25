from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

import numpy as np
import pytest

from assay.calibrate.observe import observe
from assay.calibrate.statistics import observe_array
from assay.core.audit import ExecutionAudit
from assay.core.errors import DataError
from assay.core.session import Batch
from assay.core.tensor import Array, Feeds, Outputs, Signature


class Doubling:
    """A session that gives twice its input, the input without what is not positive, its integers, and a scalar."""

    signature = Signature((), ())

    def run(self, feeds: Feeds) -> Outputs:
        x = np.asarray(feeds["x"], np.float32)
        return {
            "twice": 2 * x,
            "masked": np.where(x > 0, x, -np.inf),
            "rounded": np.nan_to_num(x, posinf=0).astype(np.int64),
            "sum": np.asarray(x.sum()),
        }

    def stream(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        return (self.run(feeds) for feeds in batches)

    def executed(self, feeds: Feeds) -> ExecutionAudit:
        del feeds
        return ExecutionAudit(())

    def close(self) -> None:
        """Nothing to give back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Rows:
    """Items in memory."""

    fingerprint = "rows"
    labelled = False

    def __init__(self, values: Array) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def batches(self, size: int) -> Iterator[Batch]:
        for start in range(0, len(self), size):
            yield Batch({"x": self._values[start : start + size]}, None, start)


VALUES = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)


def test_inputs_and_outputs_are_observed_over_all_items() -> None:
    calibration = observe(Doubling(), Rows(VALUES), ["x", "twice"], batch=3)
    assert (calibration.data, calibration.items) == ("rows", 7)
    np.testing.assert_array_equal(calibration.tensors["x"].histogram, observe_array(VALUES).histogram)
    assert calibration.tensors["twice"].high == float(2 * VALUES.max())


def test_progress_counts_items() -> None:
    seen: list[int] = []
    observe(Doubling(), Rows(VALUES), ["x"], 3, seen.append)
    assert seen == [3, 6, 7]


@pytest.mark.parametrize(
    ("rows", "words"), [([4], "on item 4 of"), ([1, 5], "on item 1 of"), ([3, 4], "on items 3, 4")]
)
def test_a_value_that_is_not_finite_is_named_with_its_items(rows: list[int], words: str) -> None:
    values = VALUES.copy()
    values[rows, 2] = np.nan
    with pytest.raises(DataError, match=f"tensor 'twice' holds NaN or Inf {words}"):
        observe(Doubling(), Rows(values), ["twice"], batch=3, finite={"twice"})


def test_inputs_must_be_finite() -> None:
    with pytest.raises(DataError, match="tensor 'x' holds NaN or Inf on item 2 of"):
        observe(Doubling(), Rows(np.where(np.arange(7)[:, None] == 2, np.inf, VALUES)), ["x"], batch=3)


def test_inner_tensors_may_hold_infinities_and_they_are_counted() -> None:
    statistics = observe(Doubling(), Rows(VALUES), ["masked"], batch=3).tensors["masked"]
    assert statistics.nonfinite == (VALUES <= 0).sum()
    assert statistics.low > 0


def test_many_faulty_items_are_counted() -> None:
    with pytest.raises(DataError, match=r"items 0, 1, 2, 3, 4 and 2 more"):
        observe(Doubling(), Rows(np.full_like(VALUES, np.inf)), ["x"], batch=7)


def test_a_tensor_without_an_item_axis_names_the_batch() -> None:
    with pytest.raises(DataError, match="items 0 to 6"):
        observe(Doubling(), Rows(np.full_like(VALUES, np.inf)), ["sum"], batch=7, finite={"sum"})


@pytest.mark.parametrize(("name", "words"), [("gone", "neither an input nor an output"), ("rounded", "int64")])
def test_a_tensor_that_cannot_be_observed_is_named(name: str, words: str) -> None:
    with pytest.raises(DataError, match=f"{name}.*{words}"):
        observe(Doubling(), Rows(VALUES), [name], batch=3)


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(DataError, match="no items"):
        observe(Doubling(), Rows(VALUES[:0]), ["x"], batch=3)


class Lending(Doubling):
    """Doubling that writes over what it gave when it is called again."""

    def __init__(self) -> None:
        self._memory: dict[str, Array] = {}

    def run(self, feeds: Feeds) -> Outputs:
        raise AssertionError(f"copies of {sorted(feeds)} were not wanted")

    def lend(self, feeds: Feeds) -> Outputs:
        for array in self._memory.values():
            array.fill(0)
        self._memory = dict(super().run(feeds))
        return self._memory


def test_lent_outputs_are_observed_before_the_next_call() -> None:
    lent = observe(Lending(), Rows(VALUES), ["x", "twice"], 3)
    copied = observe(Doubling(), Rows(VALUES), ["x", "twice"], 3)
    assert lent.tensors["twice"].sums == copied.tensors["twice"].sums
    assert lent.sketch is not None
    assert copied.sketch is not None
    np.testing.assert_array_equal(lent.sketch.features, copied.sketch.features)


def test_threads_change_nothing() -> None:
    one, two = (
        observe(Doubling(), Rows(VALUES), ["x", "twice", "masked", "sum"], 3, channels={"twice": 1}, threads=threads)
        for threads in (1, 3)
    )
    for name, tensor in one.tensors.items():
        np.testing.assert_array_equal(tensor.histogram, two.tensors[name].histogram)
        assert tensor.sums == two.tensors[name].sums


def test_a_tensor_without_an_item_axis_has_no_items() -> None:
    tensors = observe(Doubling(), Rows(VALUES), ["sum", "twice"], 3).tensors
    assert (tensors["sum"].items, tensors["sum"].groups) == (0, None)
    assert tensors["twice"].items == 7


def test_channels_that_are_not_there_name_the_tensor() -> None:
    with pytest.raises(DataError, match=r"'twice' cannot be observed.*axis 5"):
        observe(Doubling(), Rows(VALUES), ["twice"], 3, channels={"twice": 5}, threads=2)
