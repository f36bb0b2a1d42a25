import re
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from measure_samples import ArrayDataset, FunctionSession, write_linear_model

from assay.backends.table import load_backend
from assay.core.errors import DataError, ModelError, RequestError, RunFailed
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.session import Batch, Metric
from assay.core.target import Target
from assay.core.tensor import Array, Outputs
from assay.measure.quality import check_task, score_dataset
from assay.measure.tasks.classification import TOP1, TOP5, Classification

TASK = Classification()


def ignore(_items: int) -> None:
    pass


def same(x: Array) -> Outputs:
    return {"y": x}


def make_items(count: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    return rng.standard_normal((count, 4)).astype(np.float32), rng.integers(0, 4, count)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("batch", [1, 4, 7, 100])
def test_scores_do_not_depend_on_the_batch(batch: int, width: int) -> None:
    items, targets = make_items(23)
    done: list[int] = []
    scored = score_dataset(FunctionSession(same, width=width), ArrayDataset(items, targets), TASK, batch, done.append)
    assert scored.scores.predictions.tolist() == items.argmax(axis=1).tolist()
    assert scored.scores.metrics["top1"].tolist() == (items.argmax(axis=1) == targets).astype(float).tolist()
    assert sum(done) == 23
    assert (scored.nonfinite, scored.nonfinite_items) == (0, 0)


class OddsFirst(ArrayDataset):
    """Gives its items in another order than their own, and says their places."""

    def batches(self, size: int) -> Iterator[Batch]:
        """Items at odd places first."""
        order = np.argsort(np.arange(len(self)) % 2 == 0, kind="stable").astype(np.int64)
        whole = next(super().batches(len(self)))
        assert whole.targets is not None
        for low in range(0, len(order), size):
            places = order[low : low + size]
            feeds = {name: array[places] for name, array in whole.feeds.items()}
            yield Batch(feeds, whole.targets[places], int(places[0]), items=places, places=places)


def test_scores_are_in_the_order_of_the_items_in_whatever_order_their_batches_come() -> None:
    items, targets = make_items(23)
    scored = score_dataset(FunctionSession(same), OddsFirst(items, targets), TASK, 4, ignore)
    assert scored.scores.predictions.tolist() == items.argmax(axis=1).tolist()
    assert scored.scores.metrics["top1"].tolist() == (items.argmax(axis=1) == targets).astype(float).tolist()


def test_a_fixed_batch_is_filled_up_and_the_filling_is_not_scored() -> None:
    items, targets = make_items(10)
    session = FunctionSession(same, batch=4)
    scored = score_dataset(session, ArrayDataset(items, targets), TASK, 32, ignore)
    assert session.sizes == [4, 4, 4]
    assert scored.scores.predictions.tolist() == items.argmax(axis=1).tolist()


def test_a_real_runtime_is_scored(tmp_path: Path) -> None:
    weight = write_linear_model(tmp_path / "model.onnx")
    items, targets = make_items(50)
    targets %= 3
    backend = load_backend("onnxruntime")
    target = Target("onnxruntime")
    (tmp_path / "built").mkdir()
    backend.build(tmp_path / "model.onnx", tmp_path / "built", Plan(Precision.FP32), target)
    with backend.open(tmp_path / "built", target) as session:
        check_task(session, ArrayDataset(items, targets), TASK, TOP1)
        scored = score_dataset(session, ArrayDataset(items, targets), TASK, 16, ignore)
    assert scored.scores.predictions.tolist() == (items @ weight).argmax(axis=1).tolist()


def test_outputs_that_are_no_numbers_are_counted() -> None:
    items = np.eye(6, 4, dtype=np.float32)
    items[1, :2] = np.nan
    items[4, 0] = np.inf
    scored = score_dataset(FunctionSession(same), ArrayDataset(items, np.zeros(6, np.int64)), TASK, 2, ignore)
    assert (scored.nonfinite, scored.nonfinite_items) == (3, 2)
    assert scored.scores.predictions.tolist() == [0, -1, 2, 3, -1, 0]


def test_a_bad_target_is_named_by_its_place_in_the_data() -> None:
    items, targets = make_items(10)
    targets[7] = 4
    with pytest.raises(DataError, match="target of item 7 is 4"):
        score_dataset(FunctionSession(same), ArrayDataset(items, targets), TASK, 3, ignore)


def test_no_items_is_an_error() -> None:
    empty = ArrayDataset(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    with pytest.raises(DataError, match="zero items"):
        score_dataset(FunctionSession(same), empty, TASK, 3, ignore)
    with pytest.raises(DataError, match="zero items"):
        check_task(FunctionSession(same), empty, TASK, TOP1)


def test_missing_outputs_are_an_error() -> None:
    class Forgetful(FunctionSession):
        def stream(self, batches: object) -> Iterator[Outputs]:
            everything = list(super().stream(batches))  # type: ignore[arg-type] # passed through
            yield from everything[:-1]

    with pytest.raises(RunFailed, match="no outputs for 1 batches from item 8 on"):
        score_dataset(Forgetful(same), ArrayDataset(*make_items(10)), TASK, 4, ignore)


def test_a_model_that_pools_its_batch_is_refused() -> None:
    session = FunctionSession(lambda x: {"y": x.mean(axis=0, keepdims=True)})
    with pytest.raises(ModelError, match=re.escape("[1, 4]")):
        score_dataset(session, ArrayDataset(*make_items(8)), TASK, 4, ignore)
    with pytest.raises(ModelError, match="1 predictions for 4 items"):
        score_dataset(session, ArrayDataset(make_items(8)[0], None), TASK, 4, ignore)


def test_a_metric_must_exist_for_model_and_data() -> None:
    items, targets = make_items(5)
    with pytest.raises(RequestError, match="'top5' does not exist for this model"):
        check_task(FunctionSession(same), ArrayDataset(items, targets), TASK, TOP5)
    with pytest.raises(DataError, match="no targets, and metric 'top1' needs them"):
        check_task(FunctionSession(same), ArrayDataset(items, None), TASK, TOP1)
    agreement = Metric("agreement", higher_is_better=True, labelled=False)
    check_task(FunctionSession(same), ArrayDataset(items, None), TASK, agreement)


def test_memory_does_not_grow_with_the_inputs_even_where_many_calls_are_under_way() -> None:
    class Endless(ArrayDataset):
        def batches(self, size: int) -> Iterator[Batch]:
            for start in range(0, 200 * size, size):
                yield Batch({"x": np.ones((size, 4, 5000), np.float32)}, np.zeros(size, np.int64), start)

    session = FunctionSession(lambda x: {"y": x[:, :, 0].copy()}, width=50)
    tracemalloc.start()
    try:
        score_dataset(session, Endless(*make_items(1)), TASK, 8, ignore)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * 8 * 4 * 5000 * 4  # ten batches of the two hundred
