"""Targets and outputs that no task can take: a clear error, which names the item or the shapes, and what to do."""

from __future__ import annotations

import numpy as np
import pytest

from assay.core.errors import DataError, ModelError
from assay.core.session import Batch, Metric, Scores, Task
from assay.core.tensor import Array, Outputs, Signature, TensorSpec
from assay.measure.functionals.table import load_functional
from assay.measure.tasks.table import TASKS, load_task

N = 12
START = 40
"""Index of the first item of the batch that is checked."""
RNG = np.random.default_rng(8)
BOXES = np.array([[10, 10, 30, 30, 1], [5, 5, 9, 9, 0]], np.float32)


def make_outputs(task: str) -> Outputs:
    """What a model of the task gives."""
    made = {
        "classification": RNG.standard_normal((N, 5)),
        "binary-probability": RNG.random((N, 1)),
        "multi-label": RNG.standard_normal((N, 4)),
        "multi-label-probability": RNG.random((N, 4)),
        "regression": RNG.standard_normal((N, 1)),
        "ranking": RNG.standard_normal((N, 6)),
        "language-model": RNG.standard_normal((N, 7, 20)),
        "detection": np.tile(np.array([12, 12, 28, 31, 0.8, 1]), (N, 3, 1)),
        "embedding": RNG.standard_normal((N, 8)),
    }
    return {"y": made[task].astype(np.float32)}


def make_targets(task: str) -> Array:
    """Targets that fit."""
    made: dict[str, Array] = {
        "classification": RNG.integers(0, 5, N),
        "binary-probability": RNG.integers(0, 2, N),
        "multi-label": RNG.integers(0, 2, (N, 4)),
        "multi-label-probability": RNG.integers(0, 2, (N, 4)),
        "regression": RNG.standard_normal(N).astype(np.float32),
        "ranking": RNG.integers(0, 3, (N, 6)).astype(np.float32),
        "language-model": RNG.integers(0, 20, (N, 7)),
        "detection": np.tile(BOXES, (N, 1, 1)),
        "embedding": RNG.integers(0, 2, N),
    }
    return made[task]


def check(task: str, targets: Array | None, outputs: Outputs | None = None) -> None:
    """Hold a batch in the middle of the data against the task."""
    given = make_outputs(task) if outputs is None else outputs
    inputs = (TensorSpec("x", "float32", (None, 3, 64, 64)),) if task == "detection" else ()
    specs = tuple(TensorSpec(name, value.dtype.name, value.shape) for name, value in given.items())
    batch = Batch({"x": np.zeros((N, 2), np.float32)}, targets, START)
    load_task(task).check(Signature(inputs, specs), batch, given)


def put(targets: Array, item: int, value: float) -> Array:
    """The targets with a value in one item, in floating point where it needs that."""
    changed = targets.astype(np.float64) if not float(value).is_integer() else targets.copy()
    changed[item] = value
    return changed


@pytest.mark.parametrize("task", TASKS)
def test_what_fits_is_let_through(task: str) -> None:
    """So that the refusals below are of what was changed."""
    check(task, make_targets(task))


CASES = [
    ("classification", put(make_targets("classification"), 7, 5), "item 47 is 5.*5 classes"),
    ("classification", put(make_targets("classification"), 7, -1), "item 47 is -1"),
    ("classification", put(make_targets("classification"), 7, np.nan), "not integers"),
    ("classification", make_targets("classification").astype(np.float32), "float32.*not integers"),
    ("classification", np.eye(5, dtype=np.int64)[make_targets("classification")], "one class index per item"),
    ("classification", make_targets("classification")[:-1], "11 targets for 12 items"),
    ("classification", np.array(["cat"] * N), "not integers"),
    ("binary-probability", put(make_targets("binary-probability"), 3, 2), "item 43 is 2.*2 classes"),
    ("binary-probability", put(make_targets("binary-probability"), 3, -1), "item 43 is -1"),
    ("multi-label", make_targets("classification"), r"shape \[12\].*4 labels"),
    ("multi-label", make_targets("multi-label")[:, :3], r"\[12, 3\].*4 labels"),
    ("multi-label", put(make_targets("multi-label"), 9, 2), "item 49, label 0 is 2"),
    ("multi-label", put(make_targets("multi-label"), 9, np.nan), "item 49, label 0 is nan"),
    ("multi-label-probability", make_targets("multi-label")[:-1], "11 targets for 12 items"),
    ("regression", put(make_targets("regression"), 5, np.nan), "item 45 is nan"),
    ("regression", put(make_targets("regression"), 5, np.inf), "item 45 is inf"),
    ("regression", np.zeros((N, 2), np.float32), "one number per item"),
    ("regression", np.array(["3.5"] * N), "not numbers"),
    ("regression", make_targets("regression")[:-1], "11 targets for 12 items"),
    ("ranking", make_targets("classification"), r"shape \[12\].*\[12, 6\]"),
    ("ranking", put(make_targets("ranking"), 2, np.inf), "item 42 has an infinite relevance"),
    ("ranking", np.zeros((N, 6), np.float32), "queries 40..51 have no relevant document"),
    ("language-model", put(make_targets("language-model"), 4, 20), "44"),
    ("language-model", np.full((N, 7), -1), "40"),
    ("language-model", make_targets("language-model")[:, :5], r"5"),
    ("language-model", make_targets("language-model").astype(np.float32), "float32"),
    ("detection", make_targets("detection") + np.float32([0, 0, 0, 0, 0.5]), "item 40.*class that is no integer"),
    ("detection", make_targets("detection") * np.float32([0, 0, 0, 0, 1]), "item 40.*no area"),
    ("detection", make_targets("detection") + np.float32([50, 0, 50, 0, 0]), "item 40.*outside the model's input"),
    ("detection", make_targets("detection") / np.float32([64, 64, 64, 64, 1]), "fractions of the picture"),
    ("detection", make_targets("detection")[:, :, :4], r"\[12, 2, 4\]"),
    ("detection", make_targets("detection")[:-1], "11 targets for 12 items"),
    ("detection", put(make_targets("detection"), 6, np.inf), "item 46.*not finite"),
]


@pytest.mark.parametrize(("task", "targets", "problem"), CASES)
def test_targets_that_do_not_fit_are_named(task: str, targets: Array, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        check(task, targets)
    assert caught.value.hint


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "outputs",
    [
        {"y": np.zeros((N, 3, 4, 5), np.float32)},
        {"y": np.zeros(N, np.int64)},
        {"y": np.zeros((N, 5, 2, 2), np.complex64)},
        {"y": np.float32(1)},
        {},
    ],
)
def test_outputs_of_another_kind_are_refused_with_their_shapes(task: str, outputs: Outputs) -> None:
    with pytest.raises(ModelError) as caught:
        check(task, None, outputs)
    assert all(repr(name) in caught.value.message for name in outputs)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
def test_broken_outputs_are_wrong_answers_and_never_a_crash(task: str, value: float) -> None:
    """Guards judge them; the scores of such items are the worst there are, or at least finite."""
    loaded = load_task(task)
    outputs = {name: np.full_like(array, value) for name, array in make_outputs(task).items()}
    targets = make_targets(task)
    scores = loaded.score(outputs, targets)
    for scored in scores.metrics.values():
        assert np.isfinite(scored).all()
    for metric in labelled(loaded, scores):
        found = load_functional(metric.functional).value(scores.records[metric.record])
        assert not np.isnan(found)


def labelled(task: Task, scores: Scores) -> list[Metric]:
    """Metrics that the scores hold the records of."""
    return [metric for metric in task.metrics if metric.functional and metric.record in scores.records]
