"""Limits of a process, and the mark that says who was running."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.core.errors import RequestError, RunFailed
from assay.measure.memory import read_available_bytes
from assay.studies.compose import parse_bytes
from assay.studies.isolation import Doing, Limits, describe_limit
from assay.studies.marking import Mark, Marker, read_mark
from assay.studies.timing_apart import Culprit, find_culprit


def test_a_limit_that_is_not_given_leaves_room() -> None:
    free = read_available_bytes()
    assert 0.5 * free < Limits(1.0).find_memory() < 0.95 * free
    assert Limits(1.0, 5).find_memory() == 5


@pytest.mark.parametrize(("size", "words"), [(4 << 30, "4 GiB"), (700 << 20, "700 MiB"), (int(1.5 * 2**30), "1.5 GiB")])
def test_a_limit_is_told_as_it_was_given(size: int, words: str) -> None:
    assert describe_limit(size) == words
    assert parse_bytes("trial_memory", words) == size


@pytest.mark.parametrize("text", ["4", "four GiB", "4 gigs", "-1GiB", ""])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="trial_memory"):
        parse_bytes("trial_memory", text)


def test_the_last_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mark"
    assert read_mark(path) is None
    with Marker(path) as marker:
        assert read_mark(path) is None
        marker.mark("running in rounds", "openvino.int8-with-a-long-name")
        marker.mark("opening", "a.fp32")
        assert read_mark(path) == Mark("opening", "a.fp32", 2)
    assert read_mark(path) == Mark("opening", "a.fp32", 2)


def test_who_was_running_is_to_blame() -> None:
    error = Doing("timing", "being timed", RunFailed).fail("died", "")
    assert find_culprit(Mark("opening", "a.fp32", 1), "died", error) == Culprit("a.fp32", "died; it was opening")
    with pytest.raises(RunFailed, match="timing: died"):
        find_culprit(None, "died", error)
