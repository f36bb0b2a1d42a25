"""Settings of a built folder: what was written is read, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.backends.settings import SETTINGS_FILE, BuiltSettings
from assay.core.errors import BuildFailed


class First(BuiltSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    threads: int
    rest: str = "fp32"


class Second(First, frozen=True, forbid_unknown_fields=True, kw_only=True):
    schema: int = 2


def test_what_was_written_is_read(tmp_path: Path) -> None:
    First(threads=3).write(tmp_path)
    assert First.read(tmp_path) == First(threads=3)
    assert (tmp_path / SETTINGS_FILE).read_text() == '{\n  "schema": 1,\n  "threads": 3,\n  "rest": "fp32"\n}\n'


def test_each_runtime_counts_its_own_schemas(tmp_path: Path) -> None:
    Second(threads=3).write(tmp_path)
    assert Second.read(tmp_path).threads == 3
    with pytest.raises(BuildFailed, match="schema 2, not 1") as caught:
        First.read(tmp_path)
    assert caught.value.hint == "build it again with this version"


@pytest.mark.parametrize("text", [None, "{", '{"schema": 1}', '{"threads": "3"}', '{"threads": 3, "typo": 1}'])
def test_damaged_settings_name_their_file(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / SETTINGS_FILE).write_text(text)
    with pytest.raises(BuildFailed, match=r"settings\.json cannot be read"):
        First.read(tmp_path)
