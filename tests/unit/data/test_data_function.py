from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assay.core.errors import DataError, RequestError
from assay.core.session import Dataset
from assay.core.tensor import Signature, TensorSpec
from assay.data.open import open_dataset
from assay.data.source import DataSource, Preprocess

MODEL = Signature((TensorSpec("x", "float32", ("n", 2)),), ())
MODULE = """
import itertools
import numpy as np

calls = itertools.count()

def item(i):
    return {"x": np.array([i, i], np.float32), "target": i % 2}

def good(): return (item(i) for i in range(5))
def a_list(): return [item(i) for i in range(5)]
def endless(): return (item(i) for i in itertools.count())
def unlabelled(): return ({"x": np.zeros(2, np.float32)} for _ in range(3))
def nothing(): return iter(())
def raises():
    yield item(0)
    yield item(1)
    raise KeyError("lost")
def not_a_mapping(): return [(1, 2)]
def partly_labelled():
    yield item(0)
    yield {"x": np.zeros(2, np.float32)}
def misspelt(): return ({"y": np.zeros(2, np.float32)} for _ in range(3))
def double(): return ({"x": np.array([i, i], float), "target": 0} for i in range(3))
def words(): return [{"x": ["a", None]}]
def not_finite(): return ({"x": np.array([i, np.inf if i == 2 else 0], np.float32)} for i in range(5))
def shuffled():
    yield from (item(i + next(calls)) for i in range(3))
def uneven():
    yield item(0)
    yield {"x": np.zeros(3, np.float32), "target": 1}
def not_iterable(): return 3
number = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    name = f"items_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return name


def open_items(module: str, function: str, **options: object) -> Dataset:
    return open_dataset(DataSource(f"{module}:{function}", **options), MODEL)  # type: ignore[arg-type] # keywords of the case


@pytest.mark.parametrize("function", ["good", "a_list"])
def test_items_are_batched_counted_and_hashed(folder: str, function: str) -> None:
    dataset = open_items(folder, function)
    batches = list(dataset.batches(2))
    np.testing.assert_array_equal(np.concatenate([batch.feeds["x"] for batch in batches])[:, 0], np.arange(5))
    np.testing.assert_array_equal(np.concatenate([batch.targets for batch in batches]), [0, 1, 0, 1, 0])
    assert len(dataset) == 5
    assert dataset.labelled
    assert dataset.fingerprint == open_items(folder, "good").fingerprint


def test_endless_functions_need_a_limit_only(folder: str) -> None:
    dataset = open_items(folder, "endless", limit=7)
    assert len(dataset) == 7
    assert sum(batch.size for batch in dataset.batches(3)) == 7
    assert dataset.fingerprint != open_items(folder, "good").fingerprint


def test_preprocessing_applies(folder: str) -> None:
    dataset = open_items(folder, "double", preprocess=Preprocess(scale=2))
    np.testing.assert_array_equal(next(dataset.batches(3)).feeds["x"][:, 0], np.float32([0, 0.5, 1]))


def test_items_without_labels(folder: str) -> None:
    dataset = open_items(folder, "unlabelled")
    assert not dataset.labelled
    assert next(dataset.batches(3)).targets is None


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", "there are no items"),
        ("raises", "item 2: KeyError: 'lost'"),
        ("not_iterable", "item 0: TypeError"),
        ("not_a_mapping", "item 0 is tuple, not a mapping"),
        ("partly_labelled", "one has a label, the other none"),
        ("misspelt", "item 0 has nothing for the model's input 'x'"),
        ("double", "item 0: input 'x' has the type float64"),
        ("words", "'x' is list, no array of numbers"),
        ("not_finite", "item 2: input 'x' holds inf"),
        ("uneven", r"'x' is float32 \[3\] in .* item 1 and float32 \[2\] in .* item 0"),
    ],
)
def test_items_that_do_not_fit(folder: str, function: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        list(open_items(folder, function).batches(2))
    assert f"{folder}:{function}" in str(caught.value)


@pytest.mark.parametrize("size", [2, 3])
def test_other_items_on_the_second_call_are_found(folder: str, size: int) -> None:
    dataset = open_items(folder, "shuffled")
    assert len(dataset) == 3
    with pytest.raises(DataError, match="gave other items than the first time"):
        list(dataset.batches(size))


def test_unknown_module() -> None:
    with pytest.raises(RequestError, match="module 'no_such_module' cannot be imported: ModuleNotFoundError"):
        open_items("no_such_module", "items")


def test_module_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_items.py").write_text("raise ValueError('on import')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match="ValueError: on import"):
        open_items("failing_items", "items")


@pytest.mark.parametrize("name", ["missing", "number"])
def test_no_such_function(folder: str, name: str) -> None:
    with pytest.raises(RequestError, match=f"has no function '{name}'"):
        open_items(folder, name)
