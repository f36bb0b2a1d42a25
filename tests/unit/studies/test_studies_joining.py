"""Outputs of several calls put together, whatever their first axis is."""

from __future__ import annotations

import numpy as np

from assay.core.tensor import Array, Signature, TensorSpec
from assay.studies.joining import find_offsets, join_calls

SIGNATURE = Signature(
    inputs=(TensorSpec("x", "float32", ("n", 2)),),
    outputs=(
        TensorSpec("scores", "float32", ("n", 3)),
        TensorSpec("mean", "float32", ()),
        TensorSpec("table", "float32", (3, "n")),
        TensorSpec("shape", "int64", (2,)),
        TensorSpec("found", "float32", ("k", 4)),
        TensorSpec("names", "str", None),
    ),
)


def call(start: int, size: int, found: int) -> dict[str, Array]:
    """Outputs of one call, told apart by the place of its items."""
    scores = np.arange(start, start + size, dtype=np.float32)[:, np.newaxis] + np.arange(3, dtype=np.float32) / 8
    return {
        "scores": scores,
        "mean": np.float32(scores.mean()).reshape(()),
        "table": scores.T,
        "shape": np.array([size, 2]),
        "found": np.full((found, 4), start, np.float32),
        "names": np.array([f"item {start + i}" for i in range(size)]),
    }


def test_outputs_without_rows_stay_apart_by_call() -> None:
    calls = [call(0, 2, 3), call(2, 2, 0), call(4, 1, 1)]
    joined = join_calls(calls, [2, 2, 1], SIGNATURE)
    np.testing.assert_array_equal(joined["scores"][:, 0], np.arange(5))
    np.testing.assert_array_equal(joined["mean"], [one["mean"] for one in calls])
    np.testing.assert_array_equal(joined["shape"], [[2, 2], [2, 2], [1, 2]])
    assert joined["table"].shape == (3, 3, 2)
    np.testing.assert_array_equal(joined["table"][1], calls[1]["table"])
    np.testing.assert_array_equal(joined["table"][2, :, 1], 0)
    np.testing.assert_array_equal(joined["found"][:, 0], [0, 0, 0, 4])
    assert joined["names"].tolist() == [f"item {index}" for index in range(5)]


def test_only_rows_of_items_are_put_in_order() -> None:
    calls = [call(0, 2, 3), call(2, 2, 1)]
    ordered = join_calls(calls, [2, 2], SIGNATURE, np.array([2, 0, 3, 1]))
    np.testing.assert_array_equal(ordered["scores"][:, 0], [2, 0, 3, 1])
    np.testing.assert_array_equal(ordered["found"][:, 0], [0, 0, 0, 2])
    np.testing.assert_array_equal(ordered["mean"], [one["mean"] for one in calls])


def test_a_single_item_a_call_keeps_its_row_where_the_file_fixes_it() -> None:
    # Files often state the batch that they were exported with, though any is taken.
    fixed = Signature(inputs=SIGNATURE.inputs, outputs=(TensorSpec("scores", "float32", (1, 3)),))
    calls = [{"scores": call(start, 1, 0)["scores"]} for start in range(3)]
    assert join_calls(calls, [1, 1, 1], fixed)["scores"].shape == (3, 3)


def test_calls_of_one_item_are_put_in_its_place_with_all_that_they_gave() -> None:
    calls = [call(start, 1, found) for start, found in enumerate((3, 0, 2))]
    order = np.array([2, 0, 1])
    ordered = join_calls(calls, [1, 1, 1], SIGNATURE, order)
    offsets = find_offsets(calls, [1, 1, 1], SIGNATURE, order)
    assert {name: values.tolist() for name, values in offsets.items()} == {"found": [0, 2, 5, 5]}
    np.testing.assert_array_equal(ordered["found"][:, 0], [2, 2, 0, 0, 0])
    np.testing.assert_array_equal(ordered["mean"], [calls[place]["mean"] for place in order])
    np.testing.assert_array_equal(ordered["scores"][:, 0], [2, 0, 1])


def test_offsets_of_calls_of_several_items_are_those_of_the_calls() -> None:
    calls = [call(0, 2, 3), call(2, 2, 0), call(4, 1, 4)]
    assert find_offsets(calls, [2, 2, 1], SIGNATURE)["found"].tolist() == [0, 3, 3, 7]
    assert find_offsets([call(0, 2, 2)], [2], SIGNATURE) == {}
