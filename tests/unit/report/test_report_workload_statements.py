"""Every example states what the table of workloads says of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
sys.path.append(str(ROOT / "bench"))
from workload_table.catalogue import Statement, list_examples, read_statement  # noqa: E402 - a folder of scripts

EXAMPLES = list_examples(ROOT / "examples")
"""Of the tree that is tested."""


@pytest.mark.parametrize("key", [example.key for example in EXAMPLES])
def test_an_example_states_itself(key: str) -> None:
    example = next(one for one in EXAMPLES if one.key == key)
    assert not example.problem
    assert all((example.statement.model, example.statement.data, example.statement.licence))
    assert example.statement.stated is None or 0 <= example.statement.stated.within < abs(
        example.statement.stated.value
    )


def test_keys_are_different() -> None:
    keys = [example.key for example in EXAMPLES]
    assert len(set(keys)) == len(keys)
    assert {"fashion", "imagenet"} <= set(keys)


BODY = 'title = "t"\nplace = 1\nmodel = "m"\ndata = "d"\nlicence = "l"\n'


def write(root: Path, text: str) -> Path:
    folder = root / "one"
    folder.mkdir()
    (folder / "study.toml").write_text("")
    (folder / "study-fast.toml").write_text("")
    (folder / "workload.toml").write_text(text)
    return folder / "workload.toml"


def test_a_second_study_file_says_what_differs(tmp_path: Path) -> None:
    write(tmp_path, BODY + '[study.study-fast]\ntitle = "fast"\nplace = 2\n')
    found = {example.study.stem: example.statement for example in list_examples(tmp_path)}
    assert found["study"].title == "t"
    assert (found["study-fast"].title, found["study-fast"].place, found["study-fast"].model) == ("fast", 2, "m")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BODY.replace("place", "plaice"), "plaice"),
        (BODY.replace('title = "t"\n', ""), "title"),
        (BODY + "[stated]\nmetric = 'top1'\n", "value"),
        (BODY + "[study.study-slow]\nplace = 3\n", "study-slow"),
        (BODY + "[study", "end of document"),
    ],
)
def test_a_statement_that_is_wrong_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=problem):
        read_statement(path)
    assert all(problem in example.problem for example in list_examples(tmp_path))


def test_what_stands_there_is_read(tmp_path: Path) -> None:
    assert read_statement(write(tmp_path, BODY)) == Statement("t", 1, "m", "d", "l")
