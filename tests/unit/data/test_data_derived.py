"""Inputs of a language model that are made up: which, and of what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assay.core.decoder import read_decoder
from assay.core.tensor import Signature, TensorSpec
from assay.data.derived import derive_inputs, find_derived, read_for
from assay.data.stored_names import list_stored

IDS = TensorSpec("input_ids", "int64", ("batch", "sequence"))
MASK = TensorSpec("attention_mask", "int64", ("batch", "total"))
PLACES = TensorSpec("position_ids", "int64", ("batch", "sequence"))
BEAMS = TensorSpec("beam_idx", "int32", ("batch",))
LOGITS = TensorSpec("logits", "float32", ("batch", "sequence", 50))


def cache(name: str, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, dtype, ("batch", 2, "past", 8))


DECODER = Signature(
    (IDS, MASK, PLACES, cache("past_key_values.0.key"), cache("past_key_values.0.value", "float16"), BEAMS),
    (LOGITS, cache("present.0.key"), cache("present.0.value")),
)
ROWS = np.array([[3, 4, 5, 6], [7, 8, 9, 0]])


def test_everything_is_made_of_the_ids() -> None:
    feeds = derive_inputs({"input_ids": ROWS}, DECODER)
    assert list(feeds) == ["input_ids", "attention_mask", "position_ids", "beam_idx", *CACHES]
    np.testing.assert_array_equal(feeds["attention_mask"], np.ones((2, 4)))
    np.testing.assert_array_equal(feeds["position_ids"], [[0, 1, 2, 3]] * 2)
    assert feeds["past_key_values.0.key"].shape == (2, 2, 0, 8)
    assert feeds["past_key_values.0.value"].dtype == np.float16
    assert feeds["beam_idx"].tolist() == [0, 0]
    assert feeds["beam_idx"].dtype == np.int32


CACHES = ("past_key_values.0.key", "past_key_values.0.value")


def test_what_the_data_has_is_taken() -> None:
    mask = np.array([[0, 0, 1, 1], [1, 1, 1, 0]])
    feeds = derive_inputs({"input_ids": ROWS, "attention_mask": mask}, DECODER)
    np.testing.assert_array_equal(feeds["attention_mask"], mask)
    np.testing.assert_array_equal(feeds["position_ids"], [[0, 0, 0, 1], [0, 1, 2, 2]])
    assert find_derived(DECODER, ["attention_mask"]).keys() == {"position_ids", "beam_idx", *CACHES}


def test_data_is_read_without_what_is_made_up() -> None:
    assert [spec.name for spec in read_for(DECODER, ["input_ids", "position_ids"]).inputs] == [
        "input_ids",
        "position_ids",
    ]


def test_a_model_without_token_ids_has_nothing_made_up() -> None:
    image = Signature((TensorSpec("x", "float32", ("n", 3, 8, 8)), MASK), ())
    assert not find_derived(image, [])
    assert read_for(image, []) == image
    assert derive_inputs({"x": np.zeros((1, 3, 8, 8), np.float32)}, image).keys() == {"x"}


def test_an_encoder_gets_its_mask_and_its_types() -> None:
    encoder = Signature((IDS, MASK, TensorSpec("token_type_ids", "int64", ("n", "t"))), ())
    feeds = derive_inputs({"input_ids": ROWS}, encoder)
    np.testing.assert_array_equal(feeds["token_type_ids"], np.zeros((2, 4)))


def test_a_decoder_is_read_with_its_caches() -> None:
    decoder = read_decoder(DECODER)
    assert decoder is not None
    assert [(one.past.name, one.present, one.axis) for one in decoder.caches] == [
        ("past_key_values.0.key", "present.0.key", 2),
        ("past_key_values.0.value", "present.0.value", 2),
    ]
    assert (decoder.logits, decoder.mask, decoder.positions, decoder.beams) == (
        "logits",
        "attention_mask",
        "position_ids",
        "beam_idx",
    )


@pytest.mark.parametrize(
    "outputs",
    [
        (LOGITS, cache("present_key_values.0.key"), cache("present_key_values.0.value")),
        (cache("new_key_cache_0"), cache("new_value_cache_0"), LOGITS),
    ],
)
def test_caches_find_their_outputs_under_other_names(outputs: tuple[TensorSpec, ...]) -> None:
    decoder = read_decoder(Signature(DECODER.inputs, outputs))
    assert decoder is not None
    assert [one.present for one in decoder.caches] == [spec.name for spec in outputs if spec is not LOGITS]


def test_no_decoder_without_a_cache_or_with_an_input_that_nobody_can_make_up() -> None:
    assert read_decoder(Signature((IDS, MASK), (LOGITS,))) is None
    strange = TensorSpec("image", "float32", ("batch", 3, 8, 8))
    assert read_decoder(Signature((*DECODER.inputs, strange), DECODER.outputs)) is None


def test_names_of_what_a_source_has(tmp_path: Path) -> None:
    path = tmp_path / "items.npz"
    np.savez(path, input_ids=ROWS, target=ROWS)
    assert list_stored(str(path)) == {"input_ids", "target"}
    assert list_stored(str(tmp_path / "missing.npz")) == frozenset()
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no table")
    assert list_stored(str(tmp_path / "broken.parquet")) == frozenset()
