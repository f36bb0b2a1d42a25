"""When a study judges its calibration items, and what it does about the verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from study_samples import write_model

from assay.backends.table import load_backend
from assay.core.errors import MeasurementError
from assay.core.estimate import Estimate
from assay.core.fitness import Fitness, Verdict
from assay.core.plan import FloatDialect, FloatScheme, IntegerDialect, Plan, Scheme, WeightScheme
from assay.core.precision import IntegerFormat, Placement, Precision, RangeMethod, WeightStyle
from assay.core.session import Dataset
from assay.data.open import open_dataset
from assay.data.source import DataSource
from assay.decide.propose import ModelTraits
from assay.studies.calibrating import Calibrator, Pool
from assay.studies.judging import (
    asks_only_calibrated,
    draw_sample,
    find_refusal,
    judge_study,
    needs_items,
    refuse_unfit,
)
from assay.studies.progress import Silent
from assay.studies.set_statistics import ObservedModel
from assay.studies.store import StudyStore
from assay.studies.subject import Subject, load_subject


def make_data(
    folder: Path, name: str, subject: Subject, images: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> Dataset:
    np.savez(folder / name, image=images)
    return open_dataset(DataSource(str(folder / name)), subject.signature)


def open_model(path: Path) -> tuple[Subject, ObservedModel]:
    subject = load_subject(path)
    return subject, ObservedModel(path.name, subject.prepared, load_backend("onnxruntime"), subject.fixed_batch)


def draw(seed: int, count: int, scale: float = 1.0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return (scale * np.random.default_rng(seed).normal(0, 1, (count, 3, 12, 12))).astype(np.float32)


def test_the_verdict_is_kept_and_read_again(tmp_path: Path) -> None:
    write_model(tmp_path / "model.onnx", np.random.default_rng(0))
    subject, model = open_model(tmp_path / "model.onnx")
    pool = Pool(make_data(tmp_path, "calibration.npz", subject, draw(1, 60, 30.0)), asked=None)
    store = StudyStore(tmp_path / "STUDY", "0" * 16)
    others = make_data(tmp_path, "others.npz", subject, draw(2, 80))
    fitness = judge_study(model, subject.traits, Calibrator(model, pool, store, Silent()), others)
    assert fitness is not None
    assert fitness.verdict is Verdict.UNFIT
    assert fitness.sample_items == 80
    again = judge_study(model, subject.traits, Calibrator(model, pool, store, Silent()), others)
    assert again == fitness
    with pytest.raises(MeasurementError, match="unfit") as caught:
        refuse_unfit(fitness, accepted=False)
    assert caught.value.exit_code == 4
    refuse_unfit(fitness, accepted=True)
    refuse_unfit(replace(fitness, verdict=Verdict.DOUBTFUL), accepted=False)


def test_a_model_without_arithmetic_is_not_judged(tmp_path: Path) -> None:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 12, 12])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 3, 12, 12])
    graph = helper.make_graph([helper.make_node("Tanh", ["image"], ["out"], name="tanh")], "plain", [image], [out])
    path = tmp_path / "plain.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    subject, model = open_model(path)
    pool = Pool(make_data(tmp_path, "calibration.npz", subject, draw(1, 40)), asked=None)
    calibrator = Calibrator(model, pool, StudyStore(tmp_path / "STUDY", "0" * 16), Silent())
    assert judge_study(model, subject.traits, calibrator, pool.dataset) is None
    refuse_unfit(None, accepted=False)


def test_a_sample_is_random_and_the_same_each_time(tmp_path: Path) -> None:
    write_model(tmp_path / "model.onnx", np.random.default_rng(0))
    subject, _ = open_model(tmp_path / "model.onnx")
    data = make_data(tmp_path, "items.npz", subject, draw(3, 50))
    assert draw_sample(data, 50) is data
    first, second = draw_sample(data, 20), draw_sample(data, 20)
    assert len(first) == 20
    assert first.fingerprint == second.fingerprint
    images = np.concatenate([batch.feeds["image"] for batch in first.batches(8)])
    assert not np.array_equal(images, draw(3, 50)[:20])


def test_calibration_settles_resumes_and_follows_what_is_asked(tmp_path: Path) -> None:
    write_model(tmp_path / "model.onnx", np.random.default_rng(0))
    subject, model = open_model(tmp_path / "model.onnx")
    data = make_data(tmp_path, "calibration.npz", subject, draw(1, 340))
    store = StudyStore(tmp_path / "STUDY", "0" * 16)
    calibrator = Calibrator(model, Pool(data, asked=None), store, Silent())
    observed = calibrator.observe()
    convergence = calibrator.convergence
    assert convergence is not None
    assert convergence.points
    assert observed.calibration.items == convergence.items <= 300
    assert convergence.converged or convergence.items == 300
    resumed = Calibrator(model, Pool(data, asked=None), store, Silent()).observe()
    assert resumed.calibration.data == observed.calibration.data
    assert {name: (one.low, one.high) for name, one in resumed.calibration.tensors.items()} == {
        name: (one.low, one.high) for name, one in observed.calibration.tensors.items()
    }
    asked = Calibrator(model, Pool(data, asked=30), StudyStore(tmp_path / "OTHER", "0" * 16), Silent())
    assert asked.observe().calibration.items == 30
    assert asked.convergence is None


def test_a_verdict_needs_no_bounds_to_refuse() -> None:
    nothing = Estimate(0.0, None, None, 0.95, 10, "1")
    fitness = Fitness(Verdict.UNFIT, nothing, 0.5, ("It is wrong.",), (), (), 10, 10, 10)
    with pytest.raises(MeasurementError, match="It is wrong"):
        refuse_unfit(fitness, accepted=False)


def test_only_unfit_items_that_nobody_accepts_are_refused() -> None:
    nothing = Estimate(0.0, None, None, 0.95, 10, "1")
    fitness = Fitness(Verdict.UNFIT, nothing, 0.5, ("It is wrong.", "It is odd."), (), (), 10, 10, 10)
    assert find_refusal(fitness, accepted=False).endswith("calibration items that are unfit. It is wrong.")
    assert find_refusal(fitness, accepted=True) == ""
    assert find_refusal(replace(fitness, verdict=Verdict.DOUBTFUL), accepted=False) == ""
    assert find_refusal(None, accepted=False) == ""


def test_integers_with_ranges_or_moved_channels_need_items_and_floats_none() -> None:
    scheme = Scheme(IntegerDialect(IntegerFormat.U8, symmetric=False), Placement.CHAIN, RangeMethod.MSE)
    stored = WeightScheme(WeightStyle.WEIGHTS)
    assert needs_items(Plan(Precision.INT8, scheme=scheme))
    assert needs_items(Plan(Precision.INT8, weights=replace(stored, smooth=True)))
    assert needs_items(Plan(Precision.FP8, floats=FloatScheme(FloatDialect(), RangeMethod.MSE)))
    assert not any(needs_items(plan) for plan in (Plan(Precision.FP16), Plan(Precision.INT8, weights=stored)))


def test_what_is_left_without_calibration_items() -> None:
    convolutions, products = ModelTraits(has_convolutions=True), ModelTraits(has_convolutions=True, has_products=True)
    integers = (Precision.FP32, Precision.INT8)
    assert asks_only_calibrated(integers, convolutions)
    assert not asks_only_calibrated(integers, products)
    assert asks_only_calibrated((*integers, Precision.FP8), convolutions)
    assert asks_only_calibrated((Precision.FP8,), products)
    assert not asks_only_calibrated((*integers, Precision.BF16), convolutions)
