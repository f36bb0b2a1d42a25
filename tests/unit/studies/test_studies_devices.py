"""Device profiles: a file's limits in a request, and what is wrong with a file."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from assay.core.errors import RequestError
from assay.studies.config import DataSection, StudyFile
from assay.studies.devices import apply_device, describe_device, read_device

BOARD = """
name = "board"
runtimes = ["onnxruntime"]
threads = 1
memory = "256MiB"
fps = 30
watts = 5.5
constraints = ["p99 <= 50ms"]
price_per_hour = 0.01
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "board.toml"
    path.write_text(text)
    return path


def test_a_profile_fills_what_the_keys_leave_open(tmp_path: Path) -> None:
    keys = apply_device(StudyFile(device=str(write(tmp_path, BOARD)), evaluation=DataSection(path="x")))
    assert keys.constraints == ("memory <= 256MiB", "fps >= 30", "watts <= 5.5 W", "p99 <= 50ms")
    assert (keys.runtimes, keys.threads, keys.price_per_hour) == (("onnxruntime",), 1, 0.01)
    assert keys.evaluation == DataSection(path="x")


def test_what_the_keys_say_stands(tmp_path: Path) -> None:
    device = str(write(tmp_path, BOARD))
    keys = apply_device(StudyFile(device=device, constraints=("fps >= 10",), threads=2, prices="prices.toml"))
    assert keys.constraints == ("fps >= 10", "memory <= 256MiB", "watts <= 5.5 W", "p99 <= 50ms")
    assert (keys.threads, keys.price_per_hour) == (2, None)


def test_a_profile_in_one_line(tmp_path: Path) -> None:
    profile = read_device(write(tmp_path, BOARD))
    assert describe_device(profile) == "board (memory <= 256MiB, fps >= 30, watts <= 5.5 W, p99 <= 50ms)"
    assert describe_device(read_device(write(tmp_path, 'name = "any"'))) == "any"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("threads = 1", "missing required field `name`"),
        ('name = "x"\nmemroy = "1GiB"', "key 'memroy' is unknown"),
        ('name = "x"\nmemory = 256', "Expected `str"),
        ('name = " "', "has no name"),
        ("name = ", "not valid TOML"),
    ],
)
def test_a_wrong_profile_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RequestError, match=message) as caught:
        read_device(path)
    assert str(path) in caught.value.message


def test_a_missing_profile_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot read the device profile"):
        read_device(tmp_path / "none.toml")


def test_another_processor_is_refused(tmp_path: Path) -> None:
    here = platform.machine()
    read_device(write(tmp_path, f'name = "x"\narchitecture = "{here}"'))
    other = "riscv64" if here != "riscv64" else "aarch64"
    with pytest.raises(RequestError, match=f"a device with {other}, and this machine is {here}"):
        read_device(write(tmp_path, f'name = "x"\narchitecture = "{other}"'))


def test_a_limit_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="memory <= much"):
        apply_device(StudyFile(device=str(write(tmp_path, 'name = "x"\nmemory = "much"'))))
