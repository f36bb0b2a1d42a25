"""What the groups of a small model take, measured on the real runtimes and kept for later studies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec
import onnx_ir as ir
import pytest
from workspace_samples import make_attempt, open_space

from assay.calibrate.ranges import solve_ranges
from assay.core.errors import RunFailed
from assay.core.mixing import Boundary, CostTable, Mix, NodeTime
from assay.core.plan import Plan, Scheme
from assay.core.precision import Precision, RangeMethod
from assay.graph.groups import Grouping, find_groups
from assay.measure.group_times import Owners
from assay.studies import group_costs, profiling
from assay.studies.attempt import Attempt
from assay.studies.group_costs import Measured, level, measure_costs, tabulate
from assay.studies.group_layout import Layout, lay_out
from assay.studies.profiling_worker import Profile, join_rounds
from assay.studies.workspace import Workspace

Forms = tuple[Grouping, ir.Model, dict[Precision, Attempt]]
FP32, INT8 = Precision.FP32, Precision.INT8
LAYOUT = Layout(
    owners=Owners({"a": 0, "b": 1}, {"x_Q": (0,), "t_Q": (0, 1)}, {"norm"}, {"a": 1.0, "b": 1.0}, 2),
    boundaries=(Boundary(0, (1,), 1000),),
    weights=(3.0, 1.0),
    foreign=(50, 0),
    signatures=("s", "t"),
    rest="r",
)
FLOATS = Profile(10.0, (NodeTime("a", ("a",), 6.0), NodeTime("b", ("b",), 3.0), NodeTime("n", ("norm",), 1.0)))
INTEGERS = Profile(5.0, (NodeTime("a", ("a",), 2.0), NodeTime("b", ("b",), 1.0), NodeTime("n", ("norm", "x_Q"), 2.0)))
MIXES: tuple[Mix, Mix] = ((FP32, INT8), (INT8, FP32))


def predict(table: CostTable) -> dict[Mix, float]:
    mixes: list[Mix] = [(FP32, FP32), (INT8, INT8), *MIXES]
    return {mix: round(table.predict_ms(mix), 9) for mix in mixes}


def test_forms_are_predicted_as_they_were_measured() -> None:
    table = tabulate(LAYOUT, Measured({FP32: FLOATS, INT8: INTEGERS}, FP32))
    assert table.fixed_ms == 1.0
    assert table.crossing_ms == 0.0
    # the millisecond that the norm takes longer is the quantization of what the first group alone reads
    assert predict(table) == {(FP32, FP32): 10.0, (INT8, INT8): 5.0, MIXES[0]: 8.0, MIXES[1]: 7.0}


def test_what_mixed_forms_take_beyond_their_groups_is_the_price_of_conversions() -> None:
    mixed = tuple(zip(MIXES, (9.5, 9.5), strict=True))
    table = tabulate(LAYOUT, Measured({FP32: FLOATS, INT8: INTEGERS}, FP32, mixed))
    assert table.crossing_ms == pytest.approx(2.0 / 1000)
    found = predict(table)
    assert found[INT8, INT8] == 5.0
    assert found[MIXES[0]] + found[MIXES[1]] == pytest.approx(19.0)


def test_no_price_is_negative() -> None:
    table = tabulate(LAYOUT, Measured({FP32: FLOATS, INT8: INTEGERS}, FP32, ((MIXES[0], 1.0), (MIXES[1], 1.0))))
    assert table.crossing_ms == 0.0
    slow = Profile(40.0, FLOATS.nodes)
    for times in tabulate(LAYOUT, Measured({FP32: slow, INT8: INTEGERS}, FP32)).groups:
        assert min(times.values()) >= 0.0


def test_groups_that_are_alike_take_equally_long() -> None:
    alike = replace(LAYOUT, signatures=("s", "s"), foreign=(0, 0), weights=(1.0, 1.0))
    table = tabulate(alike, Measured({FP32: FLOATS, INT8: INTEGERS}, FP32))
    assert table.groups[0] == table.groups[1] == {FP32: 4.5, INT8: 2.0}
    assert predict(table)[FP32, FP32] == 10.0


def test_groups_share_the_time_of_what_cannot_be_profiled_by_size() -> None:
    table = tabulate(LAYOUT, Measured({FP32: Profile(8.0, ()), INT8: Profile(4.0, ())}, FP32))
    assert table.groups == ({FP32: 6.0, INT8: 3.0}, {FP32: 2.0, INT8: 1.0})
    assert table.fixed_ms == 0.0


def test_the_shortest_of_several_rounds_counts() -> None:
    rounds = [(NodeTime("a", ("x",), 3.0), NodeTime("b", (), 1.0)), (NodeTime("a", ("x",), 2.0),)]
    assert [node.milliseconds for node in join_rounds(rounds)] == [2.0, 1.0]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return open_space(tmp_path_factory.mktemp("costs"), batch=4)


def make_forms(space: Workspace, runtime: str) -> Forms:
    dialect = space.backends[runtime].dialects(space.target(runtime))[0]
    scheme = Scheme(dialect, space.subject.traits.placements[0], RangeMethod.MSE)
    assert space.calibrator is not None
    observed = space.calibrator.observe()
    grouping = find_groups(observed.model, scheme, solve_ranges(observed.calibration, scheme))
    plans = {FP32: Plan(FP32), INT8: Plan(INT8, scheme=scheme)}
    return (
        grouping,
        observed.model,
        {precision: make_attempt(space, runtime, plan) for precision, plan in plans.items()},
    )


@pytest.fixture(scope="module")
def forms_of(space: Workspace) -> Callable[[str], Forms]:
    """The groups and the forms of a runtime, built and probed once."""
    return cache(lambda runtime: make_forms(space, runtime))


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_costs_are_measured_once_for_all_studies(
    space: Workspace, forms_of: Callable[[str], Forms], runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    monkeypatch.setattr(profiling, "BUDGET_S", 0.3)
    grouping, model, forms = forms_of(runtime)
    artifacts = set(space.store.artifacts.iterdir())
    table = measure_costs(space, grouping, model, forms)
    assert set(space.store.artifacts.iterdir()) == artifacts  # what was built to learn from is gone
    assert len(table.groups) == len(grouping.groups) == 3
    assert all(set(times) == {FP32, INT8} and min(times.values()) > 0 for times in table.groups)
    assert min(table.fixed_ms, table.crossing_ms) >= 0
    assert {(boundary.writer, boundary.readers) for boundary in table.boundaries} >= {(0, (1,)), (1, (2,))}
    for precision, one in forms.items():
        assert one.probe is not None
        whole = table.predict_ms((precision,) * 3)
        assert one.probe.quick_ms / 20 < whole < one.probe.quick_ms * 20  # the machine may be busy now and then

    def refuse(*_: object) -> None:
        raise AssertionError("everything is known")

    monkeypatch.setattr(group_costs, "profile_artifacts", refuse)
    again = measure_costs(space, grouping, model, forms)
    assert again.boundaries == table.boundaries
    for before, after in zip(table.groups, again.groups, strict=True):
        assert after == pytest.approx(before, rel=0.05)


def test_a_runtime_that_fails_at_profiling_fails_no_study(
    space: Workspace, forms_of: Callable[[str], Forms], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RunFailed("onnxruntime: died while profiling")

    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    monkeypatch.setattr(group_costs, "profile_artifacts", fail)
    grouping, model, forms = forms_of("onnxruntime")
    table = measure_costs(space, grouping, model, forms)
    probe = forms[FP32].probe
    assert probe is not None
    assert table.predict_ms((FP32,) * 3) == pytest.approx(probe.quick_ms)
    assert not list(tmp_path.rglob("*.json"))  # guesses are not kept


def test_a_table_is_brought_to_the_level_of_the_quick_times(space: Workspace, forms_of: Callable[[str], Forms]) -> None:
    grouping, model, forms = forms_of("onnxruntime")
    layout = lay_out(grouping, model, space.sample)
    slow = tabulate(layout, Measured({FP32: Profile(800.0, ()), INT8: Profile(400.0, ())}, FP32))
    timed = {}
    for precision, quick_ms in ((FP32, 8.0), (INT8, 4.0)):
        probe = forms[precision].probe
        assert probe is not None
        timed[precision] = replace(forms[precision], probe=msgspec.structs.replace(probe, quick_ms=quick_ms))
    found = level(slow, timed)
    assert found.predict_ms((FP32,) * 3) == pytest.approx(8.0)
    assert found.predict_ms((INT8,) * 3) == pytest.approx(4.0)
