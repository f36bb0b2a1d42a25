"""A study whose INT8 forms strain the tolerance: some of their groups stay in floats, and it can be gone on with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from study_samples import call_assay, run_assay

from assay.core.mixing import MixedBudget
from assay.core.precision import Precision
from assay.studies.record import StudyRecord
from assay.studies.store import load_record

FASHION = Path(__file__).parents[2] / "examples" / "fashion"
PLANS = 2


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A study of the depthwise-separable network, with a tolerance that INT8 misses."""
    folder = tmp_path_factory.mktemp("mixed")
    for name, items in (("calibration", 64), ("evaluation", 1500)):
        with np.load(FASHION / f"{name}.npz") as archive:
            np.savez(folder / f"{name}.npz", **{key: archive[key][:items] for key in archive.files})
    (folder / "study.toml").write_text(
        f"""
model = "{FASHION / "separable.onnx"}"
task = "classification"
tolerance = "agreement: 0.3pp"
runtimes = ["onnxruntime"]
precisions = ["fp32", "int8"]
ranges = ["min-max"]
repairs = []
latency_seconds = 0.3
mixed_plans = {PLANS}
accept_unfit = true
accept_unresolvable = true
[calibration]
path = "{folder / "calibration.npz"}"
[evaluation]
path = "{folder / "evaluation.npz"}"
[preprocess]
scale = 255
mean = 0.2860
std = 0.3530
""",
        encoding="utf-8",
    )
    return ("study", str(folder / "study.toml"), "--output", str(folder / "STUDY"))


@pytest.fixture(scope="module")
def record(arguments: tuple[str, ...]) -> StudyRecord:
    """Of the study."""
    ran = run_assay(*arguments)
    assert ran.status in {0, 11}, ran.err
    return load_record(Path(arguments[-1]))


def test_groups_are_left_in_floats_where_int8_strains_the_tolerance(
    arguments: tuple[str, ...], record: StudyRecord
) -> None:
    trials = {trial.id: trial for trial in record.trials}
    assert record.mixed_budget == MixedBudget(plans=PLANS)
    (search,) = record.mixed
    assert search.groups > 5
    assert 0 < len(search.plans) <= PLANS
    base = trials[search.base]
    for plan in search.plans:
        assert 0 < plan.kept < search.groups
        assert plan.noise < search.noise
        trial = trials[plan.trial]
        assert trial.evidence is not None
        assert base.evidence is not None
        assert {precision for _, precision in trial.candidate.plan.overrides} == {Precision.FP32}
        shares = trial.evidence.audit.shares()
        assert shares[Precision.FP32] > base.evidence.audit.shares()[Precision.FP32]
        assert shares[Precision.INT8] > 0
        assert trial.evidence.quality is not None
        assert base.evidence.quality is not None
    assert min(_moved(trials[plan.trial]) for plan in search.plans) < _moved(base)
    kept = Path(arguments[-1]).glob(f"measurements/*/explanations/{search.base}.json")
    assert len(tuple(kept)) == 1


def test_a_larger_budget_goes_on_with_what_is_known(arguments: tuple[str, ...], record: StudyRecord) -> None:
    assert "nothing to do" in call_assay(*arguments).err
    assert load_record(Path(arguments[-1])) == record
    before = record.mixed[0]
    ran = call_assay(*arguments, "--mixed-plans", str(PLANS + 1))
    assert ran.status in {0, 11}, ran.err
    after = load_record(Path(arguments[-1])).mixed[0]
    assert after.plans[: len(before.plans)] == before.plans
    assert len(after.plans) >= len(before.plans)
    assert "measuring groups" not in ran.err
    for plan in before.plans:
        assert f"{plan.trial}: known from an earlier run" in ran.err
    none = call_assay(*arguments, "--mixed-plans", "0")
    assert none.status in {0, 11}, none.err
    without = load_record(Path(arguments[-1]))
    assert not without.mixed
    assert not [trial.id for trial in without.trials if trial.candidate.plan.overrides]


def _moved(trial: object) -> float:
    quality = trial.evidence.quality  # type: ignore[attr-defined] # a trial with evidence, as asserted above
    return float(1 - quality.agreement)


@pytest.mark.parametrize(
    ("flag", "value", "said"), [("--mixed-plans", "-1", "negative"), ("--mixed-seconds", "0", "not positive")]
)
def test_a_wrong_budget_is_refused(arguments: tuple[str, ...], flag: str, value: str, said: str) -> None:
    ran = call_assay(*arguments, flag, value)
    assert ran.status == 2
    assert said in ran.err
