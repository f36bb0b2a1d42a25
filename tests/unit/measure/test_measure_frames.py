"""The rate of consecutive frames and the power while they run; control groups that may have children."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assay.core.errors import MeasurementError
from assay.measure.cgroup import find_memory_parents
from assay.measure.frames import estimate_frame_rate, estimate_power

MS = 1_000_000


def end(frames_ms: list[float]) -> list[int]:
    return [0, *(np.cumsum(frames_ms) * MS).astype(np.int64).tolist()]


def test_a_steady_stream_has_its_rate() -> None:
    rate = estimate_frame_rate(end([20.0] * 300), 0.95)
    assert (rate.value, rate.low, rate.high, rate.n) == (50, 50, 50, 30)


def test_one_late_frame_in_a_run_is_caught_up_and_many_are_not() -> None:
    frames = ([20.0] * 9 + [120.0]) * 40
    rate = estimate_frame_rate(end(frames), 0.95)
    assert rate.value == pytest.approx(10 / 0.3)
    rare = estimate_frame_rate(end([20.0] * 590 + [1000.0] * 10), 0.95)
    assert rare.value == 50
    assert rare.low == 50
    often = estimate_frame_rate(end(([20.0] * 40 + [1000.0] * 10) * 12), 0.95)
    assert often.low == pytest.approx(1)


def test_few_runs_give_no_lower_bound() -> None:
    assert estimate_frame_rate(end([20.0] * 280), 0.95).low is None
    slow = estimate_frame_rate(end([2000.0] * 5), 0.95)
    assert (slow.value, slow.low, slow.high) == (0.5, None, None)
    assert estimate_frame_rate(end([500.0] * 20), 0.95).high == 2


def test_no_frames_have_no_rate() -> None:
    for ends in ([], [0], [5, 5]):
        with pytest.raises(MeasurementError):
            estimate_frame_rate(ends, 0.95)


def test_power_is_the_median_over_windows() -> None:
    moments = np.arange(0, 5_000, 100)
    readings = [(int(moment) * MS, 4.0 * moment / 1000) for moment in moments]
    power = estimate_power(readings, 0.95)
    assert power is not None
    assert (power.value, power.n) == (pytest.approx(4), 16)
    assert estimate_power([(0, 1.0), (10**9, 1.0)], 0.95) is None
    assert estimate_power([], 0.95) is None


def test_only_groups_that_pass_memory_on_may_have_children(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/user.slice/app.slice/shell.scope\n")
    top = tmp_path / "sys/fs/cgroup"
    own = top / "user.slice/app.slice/shell.scope"
    own.mkdir(parents=True)
    for folder, controllers in (
        (own, ""),
        (own.parent, "cpu memory pids"),
        (own.parent.parent, "memory"),
        (top, "cpu"),
    ):
        (folder / "cgroup.subtree_control").write_text(controllers)
    assert list(find_memory_parents(tmp_path)) == [own.parent, own.parent.parent]
