"""How the noise of a form in 16 bits is divided among its groups."""

from __future__ import annotations

import math

import pytest

from assay.studies.mixed_form import divide_noise


@pytest.mark.parametrize(
    ("parts", "divided"),
    [([3.0, 1.0], (0.75, 0.25)), ([0.0, 2.0], (0.0, 1.0)), ([0.0, 0.0], (0.5, 0.5)), ([math.inf, 1.0], (0.5, 0.5))],
)
def test_parts_add_up_to_the_whole(parts: list[float], divided: tuple[float, ...]) -> None:
    assert divide_noise(1.0, parts) == pytest.approx(divided)
    assert sum(divide_noise(8.0, parts)) == pytest.approx(8.0)
