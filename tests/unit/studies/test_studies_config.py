"""Study files: every mistake is named with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.core.errors import RequestError
from assay.core.precision import Precision, RangeMethod, Repair
from assay.core.requirements import Objective
from assay.studies.compose import compose_request
from assay.studies.config import DataSection, StudyFile, anchor, override, read_study_file
from assay.studies.template import STUDY_TEMPLATE

MINIMAL = """
model = "m.onnx"
output = "OUT"
task = "classification"
tolerance = "top1: 0.5pp"
[calibration]
path = "cal.npz"
[evaluation]
path = "eval.npz"
"""


def read(tmp_path: Path, text: str) -> StudyFile:
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    return read_study_file(path)


def test_the_template_is_a_valid_study(tmp_path: Path) -> None:
    request = compose_request(read(tmp_path, STUDY_TEMPLATE))
    assert request.precisions == (Precision.FP32, Precision.BF16, Precision.FP16, Precision.INT8)


def test_the_template_shows_every_key(tmp_path: Path) -> None:
    plain = "\n".join(line.removeprefix("# ") for line in STUDY_TEMPLATE.splitlines())
    assert all(name in plain for name in StudyFile.__struct_fields__ if name not in {"title", "maximize"})
    assert "maximize" in plain
    del tmp_path


@pytest.mark.parametrize(
    ("text", "named", "hint"),
    [
        ('toleranse = "top1: 1pp"\n', "'toleranse'", "'tolerance'"),
        ('[evaluation]\npath = "e.npz"\nitem = 3\n', "'evaluation.item'", "'items'"),
        ("[preprocess]\nmeen = 1\n", "'preprocess.meen'", "'mean'"),
        ('[calibration]\npath = "c"\n[calibration.preprocess]\nstdd = 1\n', "'calibration.preprocess.stdd'", "'std'"),
        ('batch = "many"\n', "'batch'", "mend"),
        ('[preprocess]\nlayout = "hwcn"\n', "'preprocess.layout'", "mend"),
        ("batch = \n", "not valid TOML", "line"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, named: str, hint: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(tmp_path, text)
    assert named in caught.value.message
    assert "study.toml" in caught.value.message
    assert hint in caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"nothing\.toml"):
        read_study_file(tmp_path / "nothing.toml")


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestError, match="not a text file"):
        read_study_file(path)


def test_paths_start_at_the_files_folder(tmp_path: Path) -> None:
    keys = anchor(read(tmp_path, MINIMAL.replace('"cal.npz"', '"package.module:items"')), tmp_path)
    assert keys.model == str(tmp_path / "m.onnx")
    assert keys.evaluation is not None
    assert keys.evaluation.path == str(tmp_path / "eval.npz")
    assert keys.calibration is not None
    assert keys.calibration.path == "package.module:items"


def test_flags_override_keys_and_keep_the_rest(tmp_path: Path) -> None:
    below = read(tmp_path, MINIMAL.replace('path = "eval.npz"', 'path = "eval.npz"\nitems = 7'))
    above = StudyFile(tolerance="top1: 2pp", evaluation=DataSection(path="other.npz"), maximize="throughput")
    keys = override(below, above)
    assert keys.tolerance == "top1: 2pp"
    assert keys.task == "classification"
    assert keys.evaluation == DataSection(path="other.npz", items=7)
    assert compose_request(keys).requirements.objective is Objective.THROUGHPUT


def test_an_objective_of_a_flag_replaces_the_files(tmp_path: Path) -> None:
    below = read(tmp_path, 'maximize = "throughput"\n' + MINIMAL)
    assert compose_request(override(below, StudyFile(minimize="size"))).requirements.objective is Objective.SIZE


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"minimize": "latency", "maximize": "throughput"}, "two objectives"),
        ({"minimize": "throughput"}, "maximized"),
        ({"minimize": "cost"}, "price"),
        ({"constraints": ("p50 <= 10ms", "p99 <= 5ms")}, "contradict"),
        ({"constraints": ("size <= 1MB", "size <= 2MB")}, "twice"),
        ({"constraints": ("throughput <= 5/s",)}, "lower bound"),
        ({"constraints": ("p99 <= 5 parsecs",)}, "parsecs"),
        ({"constraints": ("p98 <= 5ms",)}, "p98"),
        ({"tolerance": "half a point"}, "half a point"),
        ({"runtimes": ("onnxruntim",)}, "onnxruntim"),
        ({"runtimes": ("onnxruntime", "onnxruntime")}, "twice"),
        ({"precisions": ("int9",)}, "int9"),
        ({"ranges": ("minmax",)}, "minmax"),
        ({"confidence": 1.5}, "1.5"),
        ({"batch": 0}, "batch"),
        ({"threads": 10_000}, "10000"),
        ({"latency_seconds": 0.0}, "latency_seconds"),
        ({"trial_memory": "lots"}, "lots"),
        ({"trial_memory": "1MiB"}, "trial_memory"),
        ({"evaluation": None}, "evaluation"),
        ({"model": None}, "model"),
        ({"task": None}, "task"),
    ],
)
def test_a_contradiction_is_refused(tmp_path: Path, keys: dict[str, object], named: str) -> None:
    fields = {name: getattr(read(tmp_path, MINIMAL), name) for name in StudyFile.__struct_fields__}
    with pytest.raises(RequestError) as caught:
        compose_request(StudyFile(**{**fields, **keys}))  # type: ignore[arg-type]
    assert named in caught.value.message
    assert caught.value.hint


def test_a_lone_number_stands_for_every_channel(tmp_path: Path) -> None:
    request = compose_request(read(tmp_path, MINIMAL + "[preprocess]\nmean = 0.5\nstd = [0.1, 0.2]\nscale = 255\n"))
    assert request.evaluation.preprocess is not None
    assert request.evaluation.preprocess.mean == (0.5,)
    assert request.evaluation.preprocess.std == (0.1, 0.2)
    assert request.calibration is not None
    assert request.calibration.preprocess == request.evaluation.preprocess


def test_every_range_method_has_a_name(tmp_path: Path) -> None:
    names = ", ".join(f'"{method}"' for method in RangeMethod)
    request = compose_request(read(tmp_path, f"ranges = [{names}]\n{MINIMAL}"))
    assert request.ranges == tuple(RangeMethod)
    assert compose_request(read(tmp_path, MINIMAL)).ranges == (RangeMethod.MSE, RangeMethod.MIN_MAX)


@pytest.mark.parametrize(("key", "typo", "near"), [("repairs", "biass", "'bias'"), ("ranges", "entropie", "'entropy'")])
def test_a_misspelt_member_is_answered_with_the_nearest_name(tmp_path: Path, key: str, typo: str, near: str) -> None:
    keys = read(tmp_path, f'{key} = ["{typo}"]\n' + MINIMAL)
    with pytest.raises(RequestError) as caught:
        compose_request(keys)
    assert caught.value.hint == f"did you mean {near}?"


@pytest.mark.parametrize(
    ("named", "chosen"), [('["none"]', ()), ("[]", ()), ('["round", "bias"]', (Repair.BIAS, Repair.ROUND))]
)
def test_repairs_come_in_their_own_order_and_may_be_none(
    tmp_path: Path, named: str, chosen: tuple[Repair, ...]
) -> None:
    assert compose_request(read(tmp_path, f"repairs = {named}\n" + MINIMAL)).repairs == chosen
