"""A session in a process of its own gives what one in this process gives, and says how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from faulty_runtime import MARKED, install_faulty
from onnx.parser import parse_model
from study_samples import write_model

from assay.backends.onnxruntime.adapter import OnnxRuntimeBackend
from assay.core.errors import BackendUnavailable, BuildFailed, RunFailed
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.target import Target
from assay.core.tensor import Feeds
from assay.studies.isolation import Limits
from assay.studies.remote_session import RemoteSession

TARGET = Target("onnxruntime")
LIMITS = Limits(60.0)
TYPED = """
<ir_version: 10, opset_import: ["" : 18]>
typed (float16[n, 2] half, int64[n] whole, bool[n] flag) => (float16[n, 2] h, int64[n] w, bool[n] f) {
  h = Identity(half)
  w = Neg(whole)
  f = Not(flag)
}
"""


def build(model: Path, folder: Path) -> Path:
    folder.mkdir()
    OnnxRuntimeBackend().build(model, folder, Plan(Precision.FP32), TARGET)
    return folder


@pytest.fixture
def built(tmp_path: Path) -> Path:
    write_model(tmp_path / "small.onnx", np.random.default_rng(0))
    return build(tmp_path / "small.onnx", tmp_path / "built")


def make_feeds(count: int) -> Iterator[Feeds]:
    rng = np.random.default_rng(1)
    for index in range(count):
        yield {"image": rng.normal(0, 1, (1 + index % 3, 3, 12, 12)).astype(np.float32)}


def test_it_gives_what_a_session_here_gives(built: Path) -> None:
    with OnnxRuntimeBackend().open(built, TARGET) as here, RemoteSession(built, TARGET, LIMITS, "scoring") as there:
        assert there.signature == here.signature
        wanted = list(here.stream(make_feeds(7)))
        for _ in range(2):
            for before, after in zip(wanted, there.stream(make_feeds(7)), strict=True):
                np.testing.assert_array_equal(before["logits"], after["logits"])
        feeds = next(make_feeds(1))
        np.testing.assert_array_equal(here.run(feeds)["logits"], there.run(feeds)["logits"])
        # The runtime's optimizer names and orders some nodes differently from one process to the next.
        ran, expected = (
            sorted((n.operator, n.precision, n.macs) for n in one.executed(feeds).nodes) for one in (there, here)
        )
        assert ran == expected


def test_every_type_and_empty_arrays_cross(tmp_path: Path) -> None:
    onnx.save(parse_model(TYPED), tmp_path / "typed.onnx")
    folder = build(tmp_path / "typed.onnx", tmp_path / "built")
    with RemoteSession(folder, TARGET, LIMITS, "scoring") as session:
        for count in (3, 0):
            half = np.arange(2 * count, dtype=np.float16).reshape(count, 2)
            # Not contiguous: every other element of a larger array.
            whole, flag = np.arange(2 * count)[::2], np.zeros(2 * count, np.bool_)[::2]
            outputs = session.run({"half": half, "whole": whole, "flag": flag})
            np.testing.assert_array_equal(outputs["h"], half)
            np.testing.assert_array_equal(outputs["w"], -whole)
            assert outputs["f"].dtype == np.bool_
            assert outputs["f"].all()


def test_a_refusal_is_the_runtimes_own(built: Path, tmp_path: Path) -> None:
    with RemoteSession(built, TARGET, LIMITS, "scoring") as session, pytest.raises(RunFailed, match="picture"):
        session.run({"picture": np.zeros((1, 3, 12, 12), np.float32)})
    (tmp_path / "empty").mkdir()
    with pytest.raises(BuildFailed):
        RemoteSession(tmp_path / "empty", TARGET, LIMITS, "scoring")


def test_an_error_of_the_one_who_feeds_is_his_own(built: Path) -> None:
    def break_off() -> Iterator[Feeds]:
        yield from make_feeds(2)
        raise ValueError("the data ended")

    with RemoteSession(built, TARGET, LIMITS, "scoring") as session:
        with pytest.raises(ValueError, match="the data ended"):
            list(session.stream(break_off()))
        assert not psutil.Process().children()


@pytest.mark.parametrize(
    ("fault", "limits", "words"),
    [
        ("segfault", LIMITS, r"died while scoring \(signal SIGSEGV\)"),
        ("hang", Limits(5.0), "hung: no answer in 5 s while scoring"),
        ("eat", Limits(60.0, 700 << 20), "took more than 700 MiB of memory while scoring"),
    ],
)
def test_how_it_ended_is_told(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, limits: Limits, words: str
) -> None:
    install_faulty(tmp_path / "site", monkeypatch)
    feeds = [dict(one) for one in make_feeds(3)]
    feeds[2]["image"] = np.full((1, 3, 12, 12), MARKED, np.float32)
    done: list[Feeds] = []
    with (
        RemoteSession(built, Target(f"{fault}-item"), limits, "scoring") as session,
        pytest.raises(RunFailed, match=words),
    ):
        done.extend(session.stream(feeds))
    assert not psutil.Process().children()


def test_a_runtime_whose_package_is_broken_is_not_available(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_faulty(tmp_path / "site", monkeypatch)
    with pytest.raises(BackendUnavailable, match="nowhere_to_be_found"):
        RemoteSession(built, Target("unimportable"), LIMITS, "scoring")
