from __future__ import annotations

import pytest

from assay.core.errors import RequestError
from assay.data.source import DataSource, Preprocess


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("resize", 0),
        ("resize", (224, 0)),
        ("resize", (1, 2, 3)),
        ("crop", -1),
        ("crop", ()),
        ("background", (0, 0, 256)),
        ("scale", 0.0),
        ("scale", float("nan")),
        ("mean", (float("inf"),)),
        ("std", (1.0, 0.0, 1.0)),
        ("dtype", "flaot32"),
        ("dtype", "object"),
        ("dtype", "U5"),
    ],
)
def test_impossible_preprocessing_names_its_key(key: str, value: object) -> None:
    with pytest.raises(RequestError, match=f"preprocess.{key} is"):
        Preprocess(**{key: value})  # type: ignore[arg-type] # the value of the case


def test_mean_and_std_of_different_lengths() -> None:
    with pytest.raises(RequestError, match=r"mean has 3 channels and preprocess\.std 2"):
        Preprocess(mean=(0.1, 0.2, 0.3), std=(1.0, 2.0))


def test_one_std_for_all_channels_is_fine() -> None:
    assert Preprocess(mean=(0.1, 0.2, 0.3), std=(2.0,)).arithmetic


def test_integer_type_after_arithmetic_is_refused() -> None:
    with pytest.raises(RequestError, match="cut off"):
        Preprocess(scale=255, dtype="uint8")


def test_integer_type_without_arithmetic_is_fine() -> None:
    assert not Preprocess(dtype="uint8").arithmetic


@pytest.mark.parametrize(
    "options",
    [{"path": ""}, {"path": "a.npz", "limit": 0}, {"path": "a.npz", "target": ""}, {"path": "a", "threads": 0}],
)
def test_impossible_source(options: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        DataSource(**options)  # type: ignore[arg-type] # the keywords of the case
