"""The price file: what is read, and what is said of its mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.core.errors import RequestError
from assay.core.requirements import Objective
from assay.studies.compose import compose_requirements
from assay.studies.config import StudyFile
from assay.studies.prices import find_price, read_prices

GOOD = """
[[machine]]
name = "small"
price_per_hour = 0.1
currency = "USD"
cores = 2
source = "the price list"
date = 2026-03-01

[[machine]]
name = "large"
price_per_hour = 1
currency = "USD"
grid_g_per_kwh = 380
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_machines_are_read_in_order(tmp_path: Path) -> None:
    small, large = read_prices(write(tmp_path, GOOD))
    assert (small.name, small.price_per_hour, small.cores, small.date) == ("small", 0.1, 2, "2026-03-01")
    assert (large.price_per_hour, large.grid_g_per_kwh) == (1.0, 380.0)


def test_a_machine_is_found_by_name_or_because_it_is_alone(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert find_price(path, "large").name == "large"
    with pytest.raises(RequestError, match="none is named") as several:
        find_price(path, None)
    assert "small, large" in several.value.hint
    with pytest.raises(RequestError, match="no machine 'smal'") as near:
        find_price(path, "smal")
    assert "'small'" in near.value.hint
    alone = write(tmp_path, GOOD.partition("\n\n")[0])
    assert find_price(alone, None).name == "small"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "machine"),
        ("machine = []", "names no machine"),
        ("machine = 3", "machine"),
        ("[[machine", "not valid TOML"),
        ('[[machine]]\nname = "a"\ncurrency = "USD"', "price_per_hour"),
        ('[[machine]]\nname = "a"\nprice_per_hour = "1"\ncurrency = "USD"', "machine.*'price_per_hour'"),
        ('[[machine]]\nname = "a"\nprice_per_hour = 1\ncurrency = "USD"\nprize = 1', "prize"),
        ('[[machine]]\nname = "a"\nprice_per_hour = -1\ncurrency = "USD"', "not a positive number"),
        ('[[machine]]\nname = "a"\nprice_per_hour = 1\ncurrency = "USD"\n' * 2, "twice"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(RequestError, match=what) as told:
        read_prices(write(tmp_path, text))
    assert told.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot read the price file"):
        read_prices(tmp_path / "none.toml")


def test_a_study_takes_its_price_from_the_file(tmp_path: Path) -> None:
    path = str(write(tmp_path, GOOD))
    keys = StudyFile(tolerance="top1: 1pp", minimize="cost", prices=path, machine="large")
    requirements = compose_requirements(keys)
    assert requirements.objective is Objective.COST
    assert (requirements.price_per_hour, requirements.currency) == (1.0, "USD")
    with pytest.raises(RequestError, match="both"):
        compose_requirements(StudyFile(tolerance="top1: 1pp", prices=path, machine="large", price_per_hour=2.0))
