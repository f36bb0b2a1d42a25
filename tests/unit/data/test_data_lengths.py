"""Items brought to the length of their bucket."""

import numpy as np
import pytest

from assay.core.errors import DataError, RequestError
from assay.core.session import Batch
from assay.core.tensor import Signature, TensorSpec
from assay.data.lengths import Fitter, Lengths, list_open, usual_buckets, widen

SIGNATURE = Signature(
    (
        TensorSpec("ids", "int64", ("n", "t")),
        TensorSpec("mask", "int64", ("n", "t")),
        TensorSpec("image", "float32", ("n", 3)),
    ),
    (),
)


def item(ids: list[int], mask: list[int]) -> Batch:
    feeds = {"ids": np.array([ids]), "mask": np.array([mask]), "image": np.ones((1, 3), np.float32)}
    return Batch(feeds, None, 0)


def locate(index: int) -> str:
    return f"item {index}"


def test_usual_buckets_double_up_to_the_longest() -> None:
    assert usual_buckets(100) == (16, 32, 64, 100)
    assert usual_buckets(16) == (16,)
    assert usual_buckets(7) == (7,)


def test_only_inputs_of_open_length_are_filled_up() -> None:
    assert list_open(SIGNATURE) == ("ids", "mask")
    found = Fitter(Lengths((4, 8), (("ids", 9.0),)), SIGNATURE).fit(item([1, 2, 3], [1, 1, 1]), locate)
    assert found["ids"].tolist() == [[1, 2, 3, 9]]
    assert found["mask"].tolist() == [[1, 1, 1, 0]]
    assert found["image"].shape == (1, 3)


def test_without_buckets_items_keep_their_length() -> None:
    assert Fitter(Lengths(), SIGNATURE).fit(item([1, 2, 3], [1, 1, 1]), locate)["ids"].shape == (1, 3)


def test_what_the_mask_says_was_filled_up_is_cut_to_the_bucket() -> None:
    stored = item([1, 2, 7, 7, 7, 7, 7, 7], [1, 1, 0, 0, 0, 0, 0, 0])
    found = Fitter(Lengths((4, 8), mask="mask"), SIGNATURE).fit(stored, locate)
    # what filled it up when it was stored stays, up to the bucket
    assert found["ids"].tolist() == [[1, 2, 7, 7]]
    assert found["mask"].tolist() == [[1, 1, 0, 0]]


def test_a_gap_in_the_mask_is_no_end() -> None:
    found = Fitter(Lengths((2, 8), mask="mask"), SIGNATURE).fit(item([1, 2, 3, 4], [1, 0, 1, 0]), locate)
    assert found["ids"].shape == (1, 8)


def test_a_stored_item_is_the_same_again() -> None:
    rule = Lengths((4, 8), (("ids", 7.0),), "mask")
    fitter = Fitter(rule, SIGNATURE)
    once = fitter.fit(item([1, 2, 3], [1, 1, 1]), locate)
    again = fitter.fit(Batch(widen(once, rule), None, 0), locate)
    assert widen(once, rule)["ids"].shape == (1, 8)
    for name, array in once.items():
        np.testing.assert_array_equal(again[name], array)


def test_too_long_and_empty_items_are_refused() -> None:
    fitter = Fitter(Lengths((2,), mask="mask"), SIGNATURE)
    with pytest.raises(DataError, match="item 0: input 'ids' has the length 3, and the longest bucket is 2"):
        fitter.fit(item([1, 2, 3], [1, 1, 1]), locate)
    with pytest.raises(DataError, match="the mask 'mask' is 0 throughout"):
        fitter.fit(item([1, 2], [0, 0]), locate)
    with pytest.raises(DataError, match="has the length 0"):
        Fitter(Lengths(), SIGNATURE).fit(item([], []), locate)


def test_a_declaration_that_does_not_fit_is_refused() -> None:
    with pytest.raises(RequestError, match=r"lengths\.buckets"):
        Lengths((8, 8))
    with pytest.raises(RequestError, match=r"lengths\.pad"):
        Lengths(pad=(("ids", float("nan")),))
    with pytest.raises(RequestError, match="names 'type'"):
        Fitter(Lengths((4,), (("type", 0.0),)), SIGNATURE)
    fixed = Signature((TensorSpec("ids", "int64", ("n", 16)),), ())
    with pytest.raises(RequestError, match="the model fixes the length"):
        Fitter(Lengths((4, 8)), fixed)
    # filled up to what the model fixes
    assert Fitter(Lengths((16,)), fixed).fit(Batch({"ids": np.ones((1, 3), np.int64)}, None, 0), locate)[
        "ids"
    ].shape == (1, 16)


def test_items_without_a_mask_cannot_be_stored_in_a_set() -> None:
    with pytest.raises(DataError, match="only where an input masks"):
        widen(item([1], [1]).feeds, Lengths((4,)))
