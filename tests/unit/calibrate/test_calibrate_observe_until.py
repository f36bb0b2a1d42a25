from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from assay.backends.table import load_backend
from assay.calibrate.observe import observe
from assay.calibrate.ranges.solve import solve_range
from assay.calibrate.selection.convergence import ConvergenceRule
from assay.calibrate.selection.observe_until import observe_until, place_items
from assay.core.calibration import Calibration, TensorRange
from assay.core.errors import DataError
from assay.core.precision import IntegerFormat, RangeMethod
from assay.core.session import Dataset, Session
from assay.data.open import open_dataset
from assay.data.shuffle import shuffle
from assay.data.source import DataSource, Preprocess
from assay.data.subset import first
from assay.graph.expose import observable_tensors
from assay.graph.ingest import load_model
from assay.graph.prepare import prepare
from assay.graph.signature import describe_signature
from assay.studies.exposing import open_exposed

FASHION = Path(__file__).parents[3] / "examples" / "fashion"
FIXED = 300
BATCH = 16


@pytest.fixture(scope="module")
def model() -> ir.Model:
    return prepare(load_model(FASHION / "residual.onnx"))


@pytest.fixture(scope="module")
def items(model: ir.Model) -> Dataset:
    preprocess = Preprocess(scale=255, mean=(0.2860,), std=(0.3530,))
    return open_dataset(DataSource(str(FASHION / "calibration.npz"), preprocess), describe_signature(model))


@pytest.fixture(scope="module")
def session(model: ir.Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("exposed")
    with open_exposed(model, observable_tensors(model), load_backend("onnxruntime"), folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def tensors(model: ir.Model) -> tuple[str, ...]:
    return observable_tensors(model)


def solve_all(calibration: Calibration) -> dict[str, TensorRange]:
    return {
        name: solve_range(one, RangeMethod.MSE, IntegerFormat.U8, symmetric=False)
        for name, one in calibration.tensors.items()
    }


def test_fewer_than_half_of_300_images_are_enough(session: Session, items: Dataset, tensors: tuple[str, ...]) -> None:
    seen: list[int] = []
    with shuffle(items, FIXED, np.random.default_rng(0)) as mixed:
        calibration, convergence = observe_until(session, mixed, tensors, BATCH, ConvergenceRule(), seen.append)
        every = observe(session, mixed, tensors, BATCH)
    assert convergence.converged
    assert calibration.items == convergence.items == seen[-1] <= FIXED // 2
    assert [point.items for point in convergence.points][-1] == convergence.items
    assert {point.worst_tensor for point in convergence.points} <= set(tensors)
    few, all_ = solve_all(calibration), solve_all(every)
    changes = [
        max(abs(few[name].low - all_[name].low), abs(few[name].high - all_[name].high))
        / (all_[name].high - all_[name].low)
        for name in tensors
    ]
    assert np.mean(changes) < 0.06


def test_the_statistics_are_those_of_the_chosen_items_in_their_own_order(
    session: Session, items: Dataset, tensors: tuple[str, ...]
) -> None:
    with shuffle(items, 80, np.random.default_rng(3)) as mixed:
        found, convergence = observe_until(session, mixed, tensors[:1], 8, ConvergenceRule(minimum=64, maximum=72))
        chosen = mixed.choose_first(convergence.items)
        placed = place_items(found, mixed.order, chosen.fingerprint)
    expected = observe(session, chosen, tensors[:1], 8)
    assert (placed.data, placed.items) == (expected.data, expected.items)
    image = placed.tensors["image"], expected.tensors["image"]
    np.testing.assert_array_equal(image[0].histogram, image[1].histogram)
    assert (image[0].total, image[0].total_squares) == (image[1].total, image[1].total_squares)
    assert placed.sketch is not None
    assert expected.sketch is not None
    np.testing.assert_array_equal(placed.sketch.hashes, expected.sketch.hashes)
    np.testing.assert_array_equal(placed.sketch.positions, expected.sketch.positions)


def test_too_few_items_are_all_observed_and_not_called_enough(session: Session, items: Dataset) -> None:
    calibration, convergence = observe_until(session, first(items, 10), ["image"], BATCH, ConvergenceRule())
    assert calibration.items == convergence.items == 10
    assert not convergence.converged
    assert convergence.points == ()
    assert calibration.data == first(items, 10).fingerprint


def test_the_maximum_is_kept(session: Session, items: Dataset) -> None:
    rule = ConvergenceRule(maximum=48, most_excess_db=0.0, most_range_change=0.0)
    calibration, convergence = observe_until(session, items, ["image"], BATCH, rule)
    assert calibration.items == 48
    assert not convergence.converged


def test_an_empty_set_is_refused(session: Session, items: Dataset) -> None:
    class Empty:
        fingerprint = "empty"
        labelled = False
        batches: Callable[[int], Iterator[object]] = staticmethod(lambda size: iter(range(0, 0, size)))

        def __len__(self) -> int:
            return 0

    del items
    with pytest.raises(DataError, match="no items"):
        observe_until(session, Empty(), ["image"], BATCH, ConvergenceRule())  # type: ignore[arg-type] # gives no batch
