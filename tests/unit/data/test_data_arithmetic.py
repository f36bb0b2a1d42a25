from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assay.core.errors import DataError, RequestError
from assay.core.session import Batch
from assay.core.tensor import Array, Signature, TensorSpec
from assay.data.open import open_dataset
from assay.data.source import Channels, DataSource, Layout, Preprocess

RNG = np.random.default_rng(7)
PIXELS = RNG.integers(0, 256, (6, 3, 5, 4), dtype=np.uint8)


def prepare(tmp_path: Path, stored: Array, preprocess: Preprocess, *inputs: TensorSpec) -> Batch:
    specs = inputs or (TensorSpec("image", "float32", ("n", 3, 5, 4)),)
    path = tmp_path / "data.npz"
    np.savez(path, image=stored, **{spec.name: np.ones((6, 2), np.float32) for spec in specs[1:]})
    dataset = open_dataset(DataSource(str(path), preprocess), Signature(specs, ()))
    return next(dataset.batches(6))


def test_pixels_are_normalised_in_the_order_of_training_pipelines(tmp_path: Path) -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    image = prepare(tmp_path, PIXELS, Preprocess(scale=255, mean=mean, std=std)).feeds["image"]
    expected = PIXELS.astype(np.float32) / np.float32(255)
    expected = (expected - np.array(mean, np.float32)[:, None, None]) / np.array(std, np.float32)[:, None, None]
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, expected)


def test_one_number_serves_all_channels(tmp_path: Path) -> None:
    image = prepare(tmp_path, PIXELS, Preprocess(mean=(127.0,), std=(128.0,))).feeds["image"]
    np.testing.assert_array_equal(image, (PIXELS.astype(np.float32) - 127) / 128)


def test_channels_last_store_becomes_channels_first(tmp_path: Path) -> None:
    stored = np.ascontiguousarray(PIXELS.transpose(0, 2, 3, 1))
    declared = Preprocess(stored_layout=Layout.NHWC, layout=Layout.NCHW, mean=(1.0, 2.0, 3.0))
    image = prepare(tmp_path, stored, declared).feeds["image"]
    np.testing.assert_array_equal(image, PIXELS.astype(np.float32) - np.array([1, 2, 3], np.float32)[:, None, None])
    assert image.flags.c_contiguous


def test_channels_first_store_becomes_channels_last(tmp_path: Path) -> None:
    declared = Preprocess(stored_layout=Layout.NCHW, layout=Layout.NHWC, mean=(1.0, 2.0, 3.0))
    image = prepare(tmp_path, PIXELS, declared, TensorSpec("image", "float32", ("n", 5, 4, 3))).feeds["image"]
    np.testing.assert_array_equal(image, PIXELS.transpose(0, 2, 3, 1) - np.array([1, 2, 3], np.float32))


def test_double_precision_models_get_double_arithmetic(tmp_path: Path) -> None:
    spec = TensorSpec("image", "float64", ("n", 3, 5, 4))
    image = prepare(tmp_path, PIXELS, Preprocess(scale=255), spec).feeds["image"]
    np.testing.assert_array_equal(image, PIXELS / 255)


def test_wide_floats_are_cast_where_declared(tmp_path: Path) -> None:
    image = prepare(tmp_path, PIXELS.astype(np.float64), Preprocess(dtype="float32")).feeds["image"]
    assert image.dtype == np.float32


def test_integers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    spec = TensorSpec("image", "int8", ("n", 3, 5, 4))
    with pytest.raises(DataError, match="integers that int8 cannot"):
        prepare(tmp_path, PIXELS, Preprocess(), spec)


def test_floats_never_become_integers(tmp_path: Path) -> None:
    spec = TensorSpec("image", "int64", ("n", 3, 5, 4))
    with pytest.raises(DataError, match="float32 cannot become int64"):
        prepare(tmp_path, PIXELS.astype(np.float32), Preprocess(), spec)


def test_overflow_of_half_precision_is_found(tmp_path: Path) -> None:
    spec = TensorSpec("image", "float16", ("n", 3, 5, 4))
    with pytest.raises(DataError, match="item 0: input 'image' holds inf"):
        prepare(tmp_path, PIXELS.astype(np.float32) + 70000, Preprocess(), spec)


def test_wrong_number_of_channels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"preprocess\.mean has 2 channels"):
        prepare(tmp_path, PIXELS, Preprocess(mean=(1.0, 2.0)))


def test_declared_type_other_than_the_models(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has the type float64, the model takes float32"):
        prepare(tmp_path, PIXELS, Preprocess(dtype="float64"))


def test_resize_of_arrays_is_refused(tmp_path: Path) -> None:
    for declared in (Preprocess(resize=3), Preprocess(crop=3), Preprocess(channels=Channels.BGR)):
        with pytest.raises(RequestError, match="for encoded images"):
            prepare(tmp_path, PIXELS, declared)


def test_one_input_of_several_is_prepared(tmp_path: Path) -> None:
    specs = (TensorSpec("image", "float32", ("n", 3, 5, 4)), TensorSpec("extra", "float32", ("n", 2)))
    batch = prepare(tmp_path, PIXELS, Preprocess(input="image", scale=255), *specs)
    assert batch.feeds["image"].max() <= 1
    assert batch.feeds["extra"].sum() == 12


def test_several_inputs_need_to_be_told_apart(tmp_path: Path) -> None:
    specs = (TensorSpec("image", "float32", ("n", 3, 5, 4)), TensorSpec("extra", "float32", ("n", 2)))
    with pytest.raises(RequestError, match=r"preprocess\.input"):
        prepare(tmp_path, PIXELS, Preprocess(scale=255), *specs)


def test_misspelt_input(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="did you mean 'image'"):
        prepare(tmp_path, PIXELS, Preprocess(input="imag"))
